"""RepViT against timm's implementation: same weights, same features. Needs timm (extra ``interop``)."""

import re

import pytest
import torch
from torch import nn

from mmirstd.models.backbones.repvit import ARCHS, RepViT

timm = pytest.importorskip('timm')
# The first version's M1 to M3.
FIRST = {'m1': ARCHS['m0_9'], 'm2': ARCHS['m1_1'], 'm3': {**ARCHS['m1_1'], 'depths': (5, 6, 20, 3)}}
IMAGE = torch.randn(4, 3, 97, 126, generator=torch.Generator().manual_seed(1))


def randomise(net):
    """Random parameters, batch-norm statistics measured with them (so that activations stay finite) and jittered."""
    torch.manual_seed(0)
    for name, p in net.named_parameters():
        if p.ndim == 1:
            p.data.uniform_(0.5, 1.5) if name.endswith('bn.weight') else p.data.normal_(0, 0.2)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        net.train()(IMAGE)
    for norm in norms:
        norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn_like(norm.running_mean)
        norm.running_var *= 0.9 + 0.2 * torch.rand_like(norm.running_var)
    return net.eval()


def create(arch, **kwargs):
    if arch == 'm0_6':  # not in timm under a name
        from timm.models.repvit import RepVit

        return randomise(RepVit(embed_dim=(40, 80, 160, 320), depth=(1, 1, 8, 1), distillation=True, **kwargs))
    return randomise(timm.create_model(f'repvit_{arch}', pretrained=False, **kwargs))


def to_authors(state, depths):
    """timm's keys to those of THU-MIG/RepViT's ``model/repvit.py``."""
    starts = [1 + sum(depths[:i]) for i in range(len(depths))]
    out = {}
    for key, value in state.items():
        if m := re.match(r'stem\.conv(\d)\.(.+)', key):
            name = f'features.0.{2 * int(m[1]) - 2}.{m[2]}'
        elif m := re.match(r'head\.head(_dist)?\.(.+)', key):
            name = f'classifier.classifier{m[1] or ""}.{m[2]}'
        else:
            m = re.match(r'stages\.(\d)\.(blocks\.(\d+)|downsample(\.pre_block)?)\.(.+)', key)
            stage, rest = int(m[1]), m[5]
            n = starts[stage] + int(m[3]) + (stage > 0) if m[3] else starts[stage] - bool(m[4])
            rest = re.sub(r'^spatial_downsample', 'token_mixer.0', rest)
            rest = re.sub(r'^channel_downsample', 'token_mixer.2', rest)
            rest = re.sub(r'^token_mixer\.(?=conv|bn)', 'token_mixer.0.', rest)
            rest = re.sub(r'^se\.', 'token_mixer.1.', rest)
            rest = re.sub(r'^(ffn|channel_mixer)\.conv1', 'channel_mixer.m.0', rest)
            rest = re.sub(r'^(ffn|channel_mixer)\.conv2', 'channel_mixer.m.2', rest)
            name = f'features.{n}.{rest}'
        out[name] = value
    return out


@pytest.mark.parametrize('layout', ['timm', 'authors'])
@pytest.mark.parametrize('arch', [*ARCHS, *FIRST])
def test_same_output_as_timm(arch, layout, tmp_path):
    reference = create(arch)
    state = reference.state_dict()
    path = tmp_path / 'repvit.pth'
    if layout == 'authors':
        state = to_authors(state, (ARCHS | FIRST)[arch]['depths'])
        assert any(key.startswith('classifier.classifier_dist.') for key in state)
        torch.save({'model': state, 'epoch': 299}, path)
    else:
        torch.save(state, path)
    net = RepViT(
        FIRST.get(arch, arch), branch_norm=arch in FIRST, init_cfg={'type': 'Pretrained', 'checkpoint': str(path)}
    )
    net.init_weights()
    net.eval()

    with torch.no_grad():
        expected = reference.forward_features(IMAGE)
        outs = net(IMAGE)
        torch.testing.assert_close(outs[-1], expected, atol=1e-4, rtol=1e-4)
        # Ours end a stage after timm's `pre_block`, as the authors' segmentation code does.
        for i, out in enumerate(outs[:-1]):
            before = reference.forward_intermediates(IMAGE, intermediates_only=True)[i]
            pre_block = reference.stages[i + 1].downsample.pre_block
            torch.testing.assert_close(out, pre_block(before), atol=1e-4, rtol=1e-4)
        assert 0.1 < expected.std() < 1000

        # In float64: float32 rounding grows over the up to 54 blocks of a random network.
        net.double().switch_to_deploy()
        expected = reference.double().forward_features(IMAGE.double())
        torch.testing.assert_close(net(IMAGE.double())[-1], expected, atol=1e-8, rtol=1e-8)


def test_parameters_with_classifier_as_published():
    """THU-MIG/RepViT's table counts the deployed network with one fused classifier."""
    for arch, millions in {'m0_9': 5.1, 'm1_0': 6.8, 'm1_1': 8.2, 'm1_5': 14.0, 'm2_3': 22.9}.items():
        reference = create(arch)
        reference.fuse()
        net = RepViT(arch).eval()
        net.switch_to_deploy()
        fused = sum(p.numel() for p in reference.parameters())
        head = sum(p.numel() for p in reference.head.parameters())
        assert sum(p.numel() for p in net.parameters()) == fused - head
        assert round(fused / 1e6, 1) == pytest.approx(millions, abs=0.11)


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    state = create('m0_9').state_dict()
    path = tmp_path / 'model.safetensors'
    safetensors.save_file(state, path)
    net = RepViT('m0_9', init_cfg={'type': 'Pretrained', 'checkpoint': str(path)})
    net.init_weights()
    torch.testing.assert_close(net.stem[0].conv.weight, state['stem.conv1.c.weight'])
