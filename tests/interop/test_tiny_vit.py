"""TinyViT against timm's implementation: every parameter and statistic random, same features. Needs timm."""

import re

import pytest
import torch
from torch import nn

from mmirstd.models.backbones.tiny_vit import TinyViT

timm = pytest.importorskip('timm')
IMAGE = torch.randn(2, 3, 136, 203, generator=torch.Generator().manual_seed(1))
CLASSIFIER = {'merge_strides': (2, 2, 2), 'with_neck': False, 'out_indices': (0, 1, 2, 3)}
# With a classifier of 1000 classes; timm's table of results (tiny_vit_*_224.in1k).
MILLIONS = {'5m': 5.39, '11m': 11.00, '21m': 21.20}


def randomise(net, image=IMAGE):
    """Random parameters, batch-norm statistics measured with them (so that activations stay finite) and jittered."""
    generator = torch.Generator().manual_seed(0)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith('attention_biases'):
                p.normal_(generator=generator)
            elif p.ndim == 1:
                p.normal_(1 if name.endswith('weight') else 0, 0.2, generator=generator)
            else:
                p.normal_(0, p[0].numel() ** -0.5, generator=generator)
        for norm in norms:
            norm.momentum = 1.0
        net.train()
        net(image)
        for norm in norms:
            noise = torch.randn(norm.running_mean.shape, generator=generator)
            norm.running_mean += 0.1 * noise * norm.running_var.sqrt()
            norm.running_var *= 0.8 + 0.4 * torch.rand(norm.running_var.shape, generator=generator)
    return net.eval()


def create(arch):
    name = arch if '_' in arch else f'{arch}_224'
    return randomise(timm.create_model(f'tiny_vit_{name}', num_classes=1000))


def to_authors(state):
    """timm's keys to those of microsoft/Cream's ``TinyViT/models/tiny_vit.py``."""
    out = {}
    for key, value in state.items():
        key = re.sub(r'^patch_embed\.conv([12])', lambda m: f'patch_embed.seq.{2 * int(m[1]) - 2}', key)
        key = re.sub(r'^stages\.(\d)\.downsample', lambda m: f'layers.{int(m[1]) - 1}.downsample', key)
        key = re.sub(r'^stages', 'layers', key)
        key = re.sub(r'\.conv\.(weight)$', r'.c.\1', key)
        key = re.sub(r'^head\.norm', 'norm_head', key)
        key = re.sub(r'^head\.fc', 'head', key)
        out[key] = value
        if key.endswith('attention_biases'):
            out[f'{key.rpartition(".")[0]}.attention_bias_idxs'] = torch.zeros(4, 4, dtype=torch.long)
    return out


def ours(arch, state, tmp_path, **kwargs):
    path = tmp_path / 'tiny_vit.pth'
    torch.save(state, path)
    net = TinyViT(arch, **kwargs)
    net.load_pretrained(str(path))
    return net.eval()


def assert_same(outs, expected, tol=1e-4):
    assert len(outs) == len(expected)
    for out, ref in zip(outs, expected, strict=True):
        assert 0.1 < ref.std() < 100
        torch.testing.assert_close(out, ref, atol=tol, rtol=tol)


@pytest.mark.parametrize(
    ('arch', 'layout'), [('5m', 'timm'), ('5m', 'authors'), ('11m', 'timm'), ('21m', 'authors'), ('21m_384', 'timm')]
)
@torch.no_grad()
def test_same_output_as_timm(arch, layout, tmp_path):
    reference = create(arch)
    state = reference.state_dict()
    if layout == 'authors':
        state = {'model': {f'module.{k}': v for k, v in to_authors(state).items()}, 'epoch': 299}
    net = ours(arch, state, tmp_path, **CLASSIFIER)
    expected = reference.forward_intermediates(IMAGE, intermediates_only=True)
    assert_same(net(IMAGE), expected)
    if layout == 'timm':
        folded = net.switch_to_deploy()
        assert folded == 2 + 3 * 2 + 3 * 3 + 10
        assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
        assert_same(net(IMAGE), expected)
        # In float64 what remains of the difference is rounding alone.
        expected = reference.double().forward_intermediates(IMAGE.double(), intermediates_only=True)
        deployed = ours(arch, state, tmp_path, **CLASSIFIER).double()
        deployed.switch_to_deploy()
        assert_same(deployed(IMAGE.double()), expected, 1e-9)


@pytest.mark.parametrize('size', [(128, 128), (64, 96), (97, 130)])
@torch.no_grad()
def test_layout_of_mobile_sam(size, tmp_path):
    """timm's network with the last merging's stride 1, as in MobileSAM, at sizes that MobileSAM's own code refuses."""
    reference = create('5m')
    reference.stages[3].downsample.conv2.conv.stride = (1, 1)
    state = to_authors(reference.state_dict())
    conv1, conv2 = torch.randn(256, 320, 1, 1) / 18, torch.randn(256, 256, 3, 3) / 48
    norms = [(1 + 0.2 * torch.randn(256), 0.2 * torch.randn(256)) for _ in range(2)]
    for i, weights in enumerate(((conv1,), norms[0], (conv2,), norms[1])):
        state |= {f'neck.{i}.{name}': w for name, w in zip(('weight', 'bias'), weights, strict=False)}
    whole = {f'image_encoder.{k}': v for k, v in state.items()} | {'mask_decoder.x': torch.zeros(1)}
    net = ours('5m', whole, tmp_path, out_indices=(0, 1, 2), out_merged=True)

    def norm(x, weight, bias):
        x = x - x.mean(1, keepdim=True)
        return x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt() * weight[:, None, None] + bias[:, None, None]

    image = torch.randn(1, 3, *size)
    deep = reference.forward_features(image)
    neck = norm(nn.functional.conv2d(deep, conv1), *norms[0])
    neck = norm(nn.functional.conv2d(neck, conv2, padding=1), *norms[1])
    stages = reference.forward_intermediates(image, intermediates_only=True)
    merged = [reference.stages[i + 1].downsample(stages[i]) for i in range(3)]
    outs = net(image)
    assert outs[-1].shape[2:] == outs[1].shape[2:] == tuple(-(-s // 16) for s in size)
    assert_same(outs, [*merged, neck])


@torch.no_grad()
def test_checkpoint_of_another_window(tmp_path):
    """Attention biases are interpolated as timm's checkpoint filter does."""
    from timm.models.tiny_vit import checkpoint_filter_fn

    state = create('21m').state_dict()
    reference = timm.create_model('tiny_vit_21m_512', num_classes=1000).eval()
    reference.load_state_dict(checkpoint_filter_fn(dict(state), reference))
    net = ours('21m', state, tmp_path, **CLASSIFIER, window_sizes=(16, 16, 32, 16))
    assert net.stages[2].blocks[0].attn.attention_biases.shape == (12, 32 * 32)
    assert_same(net(IMAGE), reference.forward_intermediates(IMAGE, intermediates_only=True))


@pytest.mark.parametrize('arch', MILLIONS)
def test_parameters_as_published(arch):
    with torch.device('meta'):
        reference = timm.create_model(f'tiny_vit_{arch}_224', num_classes=1000)
        net = TinyViT(arch, **CLASSIFIER)
    whole = sum(p.numel() for p in reference.parameters())
    assert whole / 1e6 == pytest.approx(MILLIONS[arch], abs=0.006)
    assert sum(p.numel() for p in net.parameters()) == whole - sum(p.numel() for p in reference.head.parameters())
