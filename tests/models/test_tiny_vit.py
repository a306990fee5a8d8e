import copy

import pytest
import torch
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import nn

from mmirstd.checkpoints.convert.sam import convert_tiny_vit_state_dict
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.models.backbones.query_encoder import split_stages
from mmirstd.models.backbones.tiny_vit import ARCHS, MBConv, TinyViT, TinyViTBlock, WindowAttention
from mmirstd.registry import MODELS

TINY = {'embed_dims': (8, 12, 16, 20), 'depths': (1, 1, 2, 1), 'num_heads': (1, 2, 4, 5), 'window_sizes': (1, 2, 3, 2)}
SMALL = {'arch': TINY, 'neck_channels': 16}
TRUNK = {'with_neck': False, 'out_indices': (0, 1, 2, 3)}


def randomise(net):
    """Random parameters; batch-norm statistics are measured, so that activations stay of order 1, and jittered."""
    generator = torch.Generator().manual_seed(0)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.ndim == 1:
                p.normal_(float(name.endswith('weight')), 0.2, generator=generator)
            else:
                p.normal_(0, 1 if 'biases' in name else p[0].numel() ** -0.5, generator=generator)
        for norm in norms:
            norm.momentum = 1.0
        net.train()(torch.randn(4, net.in_channels, 64, 64, generator=generator))
        for norm in norms:
            norm.momentum = 0.1
            noise = torch.randn(norm.running_mean.shape, generator=generator)
            norm.running_mean += 0.1 * noise * norm.running_var.sqrt()
            norm.running_var *= 0.8 + 0.4 * torch.rand(norm.running_var.shape, generator=generator)
    return net.eval()


def small(**kwargs):
    return randomise(TinyViT(**SMALL | kwargs))


@pytest.mark.parametrize('deploy', [False, True])
@pytest.mark.parametrize('size', [(64, 64), (32, 96), (45, 83), (3, 17)])
@pytest.mark.parametrize(
    ('strides', 'factors'), [((2, 2, 1), (4, 8, 16, 16)), ((2, 2, 2), (4, 8, 16, 32)), ((1, 2, 1), (4, 4, 8, 8))]
)
def test_any_size(strides, factors, size, deploy):
    net = TinyViT(**SMALL, in_channels=1, merge_strides=strides, out_indices=(0, 1, 2, 3), deploy=deploy).eval()
    assert net.out_strides == (*factors, factors[-1])
    assert net.out_channels == (8, 12, 16, 20, 16)
    with torch.no_grad():
        outs = net(torch.randn(2, 1, *size))
    for x, channels, stride in zip(outs, net.out_channels, net.out_strides, strict=True):
        assert x.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))
        assert x.isfinite().all()


def test_mobile_sam_is_the_default():
    with torch.device('meta'):
        net = TinyViT(out_indices=(1,), out_merged=True)
        outs = net(torch.empty(1, 3, 1024, 1024))
    assert [tuple(x.shape) for x in outs] == [(1, 160, 64, 64), (1, 256, 64, 64)]
    assert net.out_channels == (160, 256)
    assert net.out_strides == (16, 16)
    # tests/interop/test_mobile_sam.py: that of the published file, without its classifier.
    assert sum(p.numel() for p in net.parameters()) == 5_743_892


# Millions of parameters with a classifier of 1000 classes, from TinyViT's paper (Table 1: 5.4, 11, 21 M).
@pytest.mark.parametrize(('arch', 'millions'), [('5m', 5.39), ('11m', 11.00), ('21m', 21.20)])
def test_published_parameters(arch, millions):
    with torch.device('meta'):
        net = TinyViT(arch, **TRUNK, merge_strides=(2, 2, 2))
    dim = ARCHS[arch]['embed_dims'][-1]
    classifier = 1000 * (dim + 1) + 2 * dim
    assert (sum(p.numel() for p in net.parameters()) + classifier) / 1e6 == pytest.approx(millions, abs=0.006)


def test_merged_outputs():
    net = small(out_indices=(0, 1, 2), out_merged=True)
    plain = small(out_indices=(0, 1, 2))
    assert net.out_channels == (12, 16, 20, 16)
    assert net.out_strides == (8, 16, 16, 16)
    image = torch.randn(1, 3, 64, 48)
    with torch.no_grad():
        merged, stages = net(image), plain(image)
        for i in range(3):
            torch.testing.assert_close(merged[i], plain.stages[i + 1].downsample(stages[i]))
        assert torch.equal(merged[3], stages[3])
    # Without the neck, of the stage after the last one only the merging is built.
    early = small(with_neck=False, out_indices=(1,), out_merged=True)
    assert [[name for name, _ in s.named_children()] for s in early.stages] == [
        ['blocks'],
        ['downsample', 'blocks'],
        ['downsample'],
    ]
    with torch.no_grad():
        assert torch.equal(early.train()(image)[0], copy.deepcopy(net).train()(image)[1])


def test_unneeded_stages_are_not_built():
    net = TinyViT(**SMALL, with_neck=False, out_indices=(0, 1))
    assert len(net.stages) == 2
    assert net.neck is None
    # Every parameter has a gradient: distributed training needs that.
    for other in (net, TinyViT(**SMALL, with_neck=False, out_indices=(0,), out_merged=True), TinyViT(**SMALL)):
        sum(x.square().mean() for x in other.train()(torch.randn(2, 3, 32, 32))).backward()
        assert all(p.grad is not None for p in other.parameters())


def test_stage_by_stage():
    net = small(out_indices=(0, 1, 2, 3))
    stem, stages = split_stages(net)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        x = stem(image)
        for stage, out in zip(stages, net(image), strict=False):
            x = stage(x)
            assert torch.equal(x, out)


def test_window_attention():
    """Against the plain sum: heads one by one, and a bias by the distances |dy| and |dx|."""
    torch.manual_seed(0)
    attn = WindowAttention(12, 3, 4).double()
    for p in attn.parameters():
        nn.init.normal_(p, std=0.5)
    x = torch.randn(2, 16, 12, dtype=torch.float64)
    y = nn.functional.layer_norm(x, (12,), attn.norm.weight, attn.norm.bias) @ attn.qkv.weight.T + attn.qkv.bias
    bias = torch.empty(3, 16, 16, dtype=torch.float64)
    for i in range(16):
        for j in range(16):
            bias[:, i, j] = attn.attention_biases[:, abs(i // 4 - j // 4) * 4 + abs(i % 4 - j % 4)]
    heads = []
    for h in range(3):
        q, k, v = y[..., 12 * h : 12 * h + 12].chunk(3, -1)
        heads.append((q @ k.mT / 2 + bias[h]).softmax(-1) @ v)
    expected = torch.cat(heads, -1) @ attn.proj.weight.T + attn.proj.bias
    torch.testing.assert_close(attn(x), expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_deploy_equals_training_form(dtype):
    net = small(out_indices=(0, 1, 2, 3)).to(dtype)
    image = torch.randn(3, 3, 50, 71, dtype=dtype)
    expected = net(image)
    before = copy.deepcopy(net)
    blocks, convs = (sum(isinstance(m, kind) for m in net.modules()) for kind in (TinyViTBlock, MBConv))
    assert net.switch_to_deploy() == 2 + 3 * 3 + 3 * convs + blocks
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    tol = 1e-4 if dtype == torch.float32 else 1e-10
    for out, ref in zip(net(image), expected, strict=True):
        assert 0.1 < ref.std() < 100
        torch.testing.assert_close(out, ref, atol=tol, rtol=tol)
    assert net.switch_to_deploy() == 0

    again = TinyViT(**SMALL, out_indices=(0, 1, 2, 3), deploy=True).to(dtype).eval()
    again.load_state_dict(net.state_dict())
    for out, ref in zip(again(image), net(image), strict=True):
        assert torch.equal(out, ref)
    with pytest.raises(RuntimeError, match='eval'):
        before.train().switch_to_deploy()


@pytest.mark.parametrize('batch', [1, 2])
def test_gradients(batch):
    """Against float64 and differences: at batch 1, strides can go wrong between batch and layer norm."""
    net = small(out_indices=(1,)).train()
    image = torch.randn(batch, 3, 64, 64)
    grads = []
    for dtype in (torch.float32, torch.float64):
        twin = copy.deepcopy(net).to(dtype)
        loss = sum(x.square().mean() for x in twin(image.to(dtype)))
        grads.append([g.double() for g in torch.autograd.grad(loss, list(twin.parameters()))])
    scale = max(g.abs().max() for g in grads[1])
    for (name, _), a, b in zip(net.named_parameters(), *grads, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5 * scale, rtol=1e-2, msg=name)
    # And that of one weight of some layers against the difference of two losses.
    net = copy.deepcopy(net).double()

    def loss(name, step=0.0):
        twin = copy.deepcopy(net)
        p = twin.get_parameter(name)
        p.data.view(-1)[3] += step
        return sum(x.square().mean() for x in twin(image.double())), p

    for name in ('stem.0.conv.weight', 'stages.1.blocks.0.local_conv.conv.weight', 'stages.2.downsample.conv1.bn.bias'):
        slope = (loss(name, 1e-5)[0] - loss(name, -1e-5)[0]).item() / 2e-5
        (grad,) = torch.autograd.grad(*loss(name))
        assert grad.view(-1)[3].item() == pytest.approx(slope, rel=1e-4, abs=1e-8), name


def test_activation_checkpointing_changes_nothing():
    image = torch.randn(3, 3, 40, 56, dtype=torch.float64)
    plain = small(drop_path_rate=0.4).double().train()
    saving = small(drop_path_rate=0.4, with_cp=True).double().train()
    saving.load_state_dict(plain.state_dict())
    kept = []
    for net in (plain, saving):
        torch.manual_seed(1)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            loss = sum(out.square().mean() for out in net(image))
        kept.append(sum(sizes))
        loss.backward()
    assert kept[1] < kept[0] / 2
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-12, rtol=1e-9, msg=name)
    # Recomputation leaves the running statistics alone.
    for (name, a), b in zip(plain.named_buffers(), saving.buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def test_drop_path():
    net = TinyViT(**SMALL, drop_path_rate=0.4)
    rates = [m.drop_path.drop_prob for m in net.modules() if isinstance(m, MBConv | TinyViTBlock)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    early = TinyViT(**SMALL, drop_path_rate=0.4, with_neck=False, out_indices=(1,))
    assert [m.drop_path.drop_prob for m in early.modules() if isinstance(m, MBConv | TinyViTBlock)] == rates[:2]


def test_autocast():
    net = small(out_indices=(1,))
    image = torch.randn(2, 3, 64, 64)
    expected = net(image)
    with torch.autocast('cpu', torch.bfloat16):
        outs = net(image)
    for a, b in zip(outs, expected, strict=True):
        assert (a.float() - b).std() < 0.05 * b.std()
    sum(x.float().square().mean() for x in outs).backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize('frozen', [-1, 0, 2, 4])
def test_frozen_stages(frozen):
    net = small(frozen_stages=frozen)
    for mode in (True, False, True):
        net.train(mode)
    parts = [net.stem, *net.stages]
    for i, part in enumerate(parts):
        is_frozen = i <= frozen
        assert all(p.requires_grad != is_frozen for p in part.parameters())
        assert all(m.training != is_frozen for m in part.modules())
    assert net.neck.training
    stats = copy.deepcopy(dict(net.named_buffers()))
    net(torch.randn(2, 3, 32, 32))[0].square().mean().backward()
    assert all((p.grad is not None) == p.requires_grad for p in net.parameters())
    for name, b in net.named_buffers():
        index = 0 if name.startswith('stem') else 1 + int(name.split('.')[1])
        if 'num_batches' in name:
            assert (b > stats[name]) == (index > frozen)


def test_frozen_and_norm_eval():
    net = small(frozen=True).train()
    assert not any(p.requires_grad for p in net.parameters())
    assert not any(m.training for m in net.children())
    net = small(norm_eval=True).train()
    for m in net.modules():
        assert m.training != isinstance(m, nn.BatchNorm2d)


def authors_layout(state):
    """Our keys to those of TinyViT's authors, with a classifier and the indices that some of their files hold."""
    out = {'norm_head.weight': torch.zeros(1), 'head.bias': torch.zeros(1)}
    for key, value in state.items():
        parts = key.split('.')
        if parts[0] == 'stem':
            parts[:1] = ['patch_embed', 'seq']
        elif parts[0] == 'stages':
            parts[0] = 'layers'
            if parts[2] == 'downsample':
                parts[1] = str(int(parts[1]) - 1)
        name = '.'.join(parts).replace('.conv.', '.c.')
        out[name] = value
        if name.endswith('attention_biases'):
            out[name.replace('attention_biases', 'attention_bias_idxs')] = torch.zeros(1, dtype=torch.long)
    return out


@pytest.mark.parametrize('layout', ['ours', 'authors', 'MobileSAM', 'in a segmentor'])
def test_pretrained(layout, tmp_path):
    reference = small(out_indices=(1,))
    state, prefix = reference.state_dict(), None
    if layout == 'authors':
        state = {'model': {f'module.{k}': v for k, v in authors_layout(state).items()}}
    elif layout == 'MobileSAM':
        state = {f'image_encoder.{k}': v for k, v in authors_layout(state).items()}
        state |= {'prompt_encoder.x': torch.zeros(1), 'mask_decoder.x': torch.zeros(1)}
    elif layout == 'in a segmentor':
        state, prefix = {f'backbone.{k}': v for k, v in state.items()} | {'decode_head.x': torch.zeros(1)}, 'backbone'
    path = tmp_path / 'tiny_vit.pth'
    torch.save(state, path)
    init_cfg = {'type': 'Pretrained', 'checkpoint': str(path), 'prefix': prefix}

    net = TinyViT(**SMALL, out_indices=(1,), init_cfg=init_cfg)
    net.init_weights()
    image = torch.randn(2, 3, 33, 64)
    for a, b in zip(net.eval()(image), reference(image), strict=True):
        assert torch.equal(a, b)
    early = TinyViT(**SMALL, out_indices=(1,), with_neck=False, in_channels=1, init_cfg=init_cfg)
    early.init_weights()
    gray = image[:, :1]
    expected = reference(gray.expand(-1, 3, -1, -1))[0]
    torch.testing.assert_close(early.eval()(gray)[0], expected, atol=1e-5, rtol=1e-4)


def test_other_windows(tmp_path):
    """Biases of another window are interpolated: a constant stays one, and the largest distances stay apart."""
    reference = small()
    table = torch.linspace(-1, 1, 9).view(3, 3)
    biases = reference.stages[2].blocks[0].attn.attention_biases
    biases.data[:] = (table + table.T).flatten()
    biases.data[1] = 0.7
    path = tmp_path / 'tiny_vit.pth'
    torch.save(reference.state_dict(), path)
    net = TinyViT(**SMALL, window_sizes=(1, 2, 6, 4))
    net.load_pretrained(str(path))
    got = net.stages[2].blocks[0].attn.attention_biases
    assert got.shape == (4, 36)
    torch.testing.assert_close(got[1], torch.full((36,), 0.7))
    wide = got[0].view(6, 6)
    torch.testing.assert_close(wide, wide.T)
    assert (wide.diff(dim=0) > -0.05).all()
    # The same map, seen through windows that need no filling.
    assert net.stages[1].blocks[0].attn.attention_biases.shape == (2, 4)


def test_pretrained_errors(tmp_path):
    state = small().state_dict()
    path = tmp_path / 'tiny_vit.pth'

    def error(content, **kwargs):
        torch.save(content, path)
        with pytest.raises(CheckpointError) as caught:
            TinyViT(**SMALL | kwargs).load_pretrained(str(path))
        assert 'tiny_vit.pth' in str(caught.value)
        return str(caught.value)

    assert 'surplus' in error(state | {'surplus': torch.zeros(1)})
    assert 'stages.0.downsample' in error(state | {'stages.0.downsample.conv1.conv.weight': torch.zeros(1)})
    assert 'stages.4' in error(state | {'stages.4.downsample.conv1.conv.weight': torch.zeros(1)})
    assert 'stem.0.bn.bias' in error({k: v for k, v in state.items() if k != 'stem.0.bn.bias'})
    assert 'neck.0.weight' in error({k: v for k, v in state.items() if not k.startswith('neck')})
    assert 'not a TinyViT' in error({'features.0.weight': torch.zeros(1)})
    whole = {f'image_encoder.{k}': v for k, v in authors_layout(state).items()}
    assert 'critic.x' in error(whole | {'critic.x': torch.zeros(1)})
    assert 'layers.1.blocks.0.extra' in error(authors_layout(state) | {'layers.1.blocks.0.extra': torch.zeros(1)})
    assert 'another shape' in error(state, arch=TINY | {'embed_dims': (8, 12, 16, 40)})
    assert 'another shape' in error(state, arch=TINY | {'num_heads': (1, 2, 2, 5)})
    assert 'stages.2.blocks.2' in error(state, arch=TINY | {'depths': (1, 1, 3, 1)})
    biases = 'stages.1.blocks.0.attn.attention_biases'
    assert biases in error(state | {biases: torch.zeros(2, 5)})


def test_key_conversion():
    state = small().state_dict()
    converted, dropped = convert_tiny_vit_state_dict(authors_layout(state))
    assert converted.keys() == state.keys()
    assert all(converted[key] is value for key, value in state.items())
    assert len(dropped) == 2 + 4
    timm = {
        'patch_embed.conv1.conv.weight': 'stem.0.conv.weight',
        'patch_embed.conv2.bn.running_var': 'stem.2.bn.running_var',
        'stages.0.blocks.1.conv3.bn.weight': 'stages.0.blocks.1.conv3.bn.weight',
        'stages.2.downsample.conv2.conv.weight': 'stages.2.downsample.conv2.conv.weight',
        'stages.3.blocks.0.mlp.fc1.bias': 'stages.3.blocks.0.mlp.fc1.bias',
    }
    converted, dropped = convert_tiny_vit_state_dict({k: torch.zeros(1) for k in [*timm, 'head.fc.weight']})
    assert list(converted) == list(timm.values())
    assert dropped == ['head.fc.weight']


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'arch': 'x'}, 'unknown TinyViT arch'),
        ({'arch': {'embed_dims': (8,)}}, 'has the keys'),
        ({'arch': TINY | {'depths': (1,)}}, 'equal lengths'),
        ({'arch': TINY | {'num_heads': (1, 5, 4, 5)}}, r'not so in stages \[1\]'),
        ({'window_sizes': (2, 2)}, 'window_sizes must be 4'),
        ({'window_sizes': (2, 2, 2, 0)}, 'positive'),
        ({'merge_strides': (2, 2)}, 'merge_strides must be 3'),
        ({'merge_strides': (2, 2, 4)}, 'out of 1 and 2'),
        ({'out_indices': (4,)}, r'out of 0\.\.3'),
        ({'out_indices': (3,), 'out_merged': True}, r'out of 0\.\.2'),
        ({'with_neck': False}, 'returns nothing'),
        ({'frozen_stages': 5}, r'-1\.\.4'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TinyViT(**SMALL | kwargs)


def test_in_a_segmentor():
    assert isinstance(MODELS.build({'type': 'mmirstd.TinyViT', **SMALL}), TinyViT)
    head = {'num_classes': 2, 'out_channels': 1, 'threshold': 0.5, 'channels': 8}
    loss = {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True, 'avg_non_ignore': True}
    segmentor = MMSEG_MODELS.build(
        {
            'type': 'mmseg.EncoderDecoder',
            'backbone': {'type': 'mmirstd.TinyViT', **SMALL, **TRUNK, 'merge_strides': (2, 2, 2)},
            'decode_head': {
                'type': 'mmseg.UPerHead',
                'in_channels': list(TINY['embed_dims']),
                'in_index': [0, 1, 2, 3],
                'loss_decode': loss,
                **head,
            },
            'test_cfg': {'mode': 'whole'},
        }
    )
    assert segmentor.eval()(torch.randn(1, 3, 64, 64)).shape == (1, 1, 16, 16)
