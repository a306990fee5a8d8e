import copy
import re
from argparse import Namespace

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmirstd.checkpoints.convert.repvit import convert_repvit_state_dict, repvit_arch
from mmirstd.checkpoints.state_dict import CheckpointError, unwrap_state_dict
from mmirstd.models.backbones.repvit import ARCHS, FFN, RepViT, RepViTBlock, RepViTDownsample, SqueezeExcite
from mmirstd.registry import MODELS

TINY = {'embed_dims': (8, 16, 24, 32), 'depths': (2, 3, 4, 2)}


def randomise(net, image=None):
    """Random parameters; batch-norm statistics are measured, so that activations stay of order 1, and jittered."""
    generator = torch.Generator().manual_seed(0)
    for name, p in net.named_parameters():
        if p.ndim == 1:
            p.data.uniform_(0.5, 1.5, generator=generator) if name.endswith('bn.weight') else p.data.normal_(
                0, 0.2, generator=generator
            )
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    image = torch.randn(4, net.in_channels, 64, 64, generator=generator) if image is None else image
    with torch.no_grad():
        net.train()(image)
    for norm in norms:
        norm.momentum = 0.1
        noise = torch.randn(norm.running_mean.shape, generator=generator)
        norm.running_mean += 0.1 * noise * norm.running_var.sqrt()
        norm.running_var *= 0.8 + 0.4 * torch.rand(norm.running_var.shape, generator=generator)
    return net.eval()


def pretrained(path, **kwargs):
    net = RepViT(init_cfg={'type': 'Pretrained', 'checkpoint': str(path)}, **kwargs)
    net.init_weights()
    return net.eval()


def authors_layout(state, depths):
    """Our keys to those of THU-MIG/RepViT, with a classifier and its distillation twin."""
    starts = [1 + sum(depths[:i]) for i in range(len(depths))]
    down = {
        'spatial.conv': 'token_mixer.0.c',
        'spatial.bn': 'token_mixer.0.bn',
        'channel.conv': 'token_mixer.2.c',
        'channel.bn': 'token_mixer.2.bn',
    }
    keep = {
        'token_mixer.conv.conv': 'token_mixer.0.conv.c',
        'token_mixer.conv.bn': 'token_mixer.0.conv.bn',
        'token_mixer.conv1': 'token_mixer.0.conv1',
        'token_mixer.bn': 'token_mixer.0.bn',
        'se.fc1': 'token_mixer.1.fc1',
        'se.fc2': 'token_mixer.1.fc2',
    }
    ffn = {
        f'channel_mixer.conv{i}.{a}': f'channel_mixer.m.{2 * i - 2}.{b}'
        for i in (1, 2)
        for a, b in (('conv', 'c'), ('bn', 'bn'))
    }
    names = down | keep | ffn
    out = {}
    for key, value in state.items():
        if m := re.fullmatch(r'stem\.(\d)\.(conv|bn)\.(\w+)', key):
            out[f'features.0.{m[1]}.{"c" if m[2] == "conv" else "bn"}.{m[3]}'] = value
        else:
            m = re.fullmatch(r'stages\.(\d)\.(\d+)\.(.+)\.(\w+)', key)
            out[f'features.{starts[int(m[1])] + int(m[2])}.{names[m[3]]}.{m[4]}'] = value
    for head in ('classifier', 'classifier_dist'):
        out[f'classifier.{head}.l.weight'] = torch.randn(10, 32)
    return out


# Se placement and widths, read off the authors' tables (k, t, c, SE, HS, s).
@pytest.mark.parametrize(
    ('arch', 'dims', 'se'),
    [
        ('m0_6', (40, 80, 160, 320), ('10', '.10', '.101010100', '.1')),
        ('m0_9', (48, 96, 192, 384), ('100', '.100', '.101010101010100', '.10')),
        ('m1_0', (56, 112, 224, 448), ('100', '.100', '.101010101010100', '.10')),
        ('m1_1', (64, 128, 256, 512), ('100', '.100', '.1010101010100', '.10')),
        ('m1_5', (64, 128, 256, 512), ('10100', '.10100', '.' + '10' * 12 + '0', '.1010')),
        ('m2_3', (80, 160, 320, 640), ('1010100', '.1010100', '.' + '10' * 17 + '0', '.10')),
    ],
)
def test_published_layouts(arch, dims, se):
    net = RepViT(arch)
    assert net.embed_dims == net.out_channels == dims
    for stage, expected in zip(net.stages, se, strict=True):
        found = ''.join(
            '.' if isinstance(b, RepViTDownsample) else '01'[isinstance(b.se, SqueezeExcite)] for b in stage
        )
        assert found == expected


# Millions of parameters and billions of multiply-adds at 224 with a 1000-class classifier, THU-MIG/RepViT's README.
@pytest.mark.parametrize(
    ('arch', 'params', 'macs'),
    [('m0_9', 5.1, 0.8), ('m1_0', 6.8, 1.1), ('m1_1', 8.2, 1.3), ('m1_5', 14.0, 2.3), ('m2_3', 22.9, 4.5)],
)
def test_published_costs(arch, params, macs):
    net = RepViT(arch, deploy=True).to('meta')
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net(torch.empty(1, 3, 224, 224, device='meta'))
    classifier = 1000 * (net.embed_dims[-1] + 1)
    assert round((sum(p.numel() for p in net.parameters()) + classifier) / 1e6, 1) == pytest.approx(params, abs=0.051)
    assert round(counter.get_total_flops() / 2e9, 1) == macs


def test_squeeze_widths():
    assert SqueezeExcite(40).fc1.out_channels == 8  # M0.6; a plain 0.9 rule would make it 16
    assert SqueezeExcite(48).fc1.out_channels == 16
    assert SqueezeExcite(8).fc1.out_channels == 8
    assert SqueezeExcite(320).fc1.out_channels == 80


@pytest.mark.parametrize('deploy', [False, True])
@pytest.mark.parametrize(('strides', 'stride'), [((2, 2), 4), ((1, 2), 2), ((2, 1), 2), ((1, 1), 1)])
def test_shapes(strides, stride, deploy):
    net = RepViT(TINY, in_channels=1, stem_strides=strides, deploy=deploy).eval()
    assert net.out_strides == tuple(stride * 2**i for i in range(4))
    for height, width in ((64, 64), (37, 51), (5, 1), (1, 1)):
        outs = net(torch.randn(2, 1, height, width))
        for i, out in enumerate(outs):
            s = stride * 2**i
            assert out.shape == (2, TINY['embed_dims'][i], -(-height // s), -(-width // s))


def test_stage_by_stage_and_out_indices():
    net = randomise(RepViT(TINY))
    image = torch.randn(2, 3, 45, 64)
    outs = net(image)
    x = net.stem(image)
    for stage, out in zip(net.stages, outs, strict=True):
        x = stage(x)
        assert torch.equal(x, out)

    some = RepViT(TINY, out_indices=(0, 2)).eval()
    assert len(some.stages) == 3
    assert some.out_channels == (8, 24)
    assert some.out_strides == (4, 16)
    some.load_state_dict({k: v for k, v in net.state_dict().items() if k in some.state_dict()})
    for a, b in zip(some(image), (outs[0], outs[2]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'arch': 'm9'}, 'unknown RepViT arch'),
        ({'arch': {'embed_dims': (8, 16)}}, 'keys'),
        ({'arch': {'embed_dims': (8, 16), 'depths': (2,)}}, 'equal lengths'),
        ({'arch': {'embed_dims': (7, 16), 'depths': (2, 2)}}, 'even'),
        ({'out_indices': (0, 4)}, 'out_indices'),
        ({'out_indices': (2, 1)}, 'out_indices'),
        ({'out_indices': ()}, 'out_indices'),
        ({'stem_strides': (4, 1)}, 'stem_strides'),
        ({'stem_strides': (2,)}, 'stem_strides'),
        ({'frozen_stages': 3, 'out_indices': (0, 1)}, 'frozen_stages'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        RepViT(**{'arch': TINY, **kwargs})


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_deploy_equals_training_form(dtype):
    net = randomise(RepViT(TINY)).to(dtype)
    image = torch.randn(3, 3, 50, 71, dtype=dtype)
    expected = net(image)
    before = copy.deepcopy(net)
    folded = net.switch_to_deploy()
    blocks = list(net.stages.modules())
    plain, down = (sum(isinstance(m, kind) for m in blocks) for kind in (RepViTBlock, RepViTDownsample))
    assert folded == 2 + 3 * plain + 4 * down
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    tol = 1e-4 if dtype == torch.float32 else 1e-10
    for out, ref in zip(net(image), expected, strict=True):
        assert 0.1 < ref.std() < 100
        torch.testing.assert_close(out, ref, atol=tol, rtol=tol)
    assert net.switch_to_deploy() == 0

    again = RepViT(TINY, deploy=True).to(dtype).eval()
    again.load_state_dict(net.state_dict())
    for other in (again, copy.deepcopy(net)):
        for out, ref in zip(other(image), net(image), strict=True):
            assert torch.equal(out, ref)
    # The copy made before is untouched.
    assert torch.equal(before(image)[-1], expected[-1])
    with pytest.raises(RuntimeError, match='eval'):
        before.train().switch_to_deploy()


def test_deploy_of_a_published_variant():
    net = RepViT('m0_9').double()
    image = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    randomise(net, image)
    expected = net(image)
    net.switch_to_deploy()
    for out, ref in zip(net(image), expected, strict=True):
        torch.testing.assert_close(out, ref, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize('frozen', [-1, 0, 2, 4])
def test_frozen_stages(frozen):
    net = RepViT(TINY, frozen_stages=frozen).train()
    parts = [net.stem, *net.stages]
    for i, part in enumerate(parts):
        is_frozen = i <= frozen
        assert all(p.requires_grad != is_frozen for p in part.parameters())
        assert all(m.training != is_frozen for m in part.modules())
    stats = copy.deepcopy(dict(net.named_buffers()))
    outs = net(torch.randn(2, 3, 32, 32))
    if frozen < 4:
        sum(out.square().mean() for out in outs).backward()
        assert next(parts[frozen + 1].parameters()).grad is not None
    changed = {
        name.split('.')[0] + name.split('.')[1] * name.startswith('stages')
        for name, b in net.named_buffers()
        if not torch.equal(b, stats[name])
    }
    assert changed == {'stem', 'stages0', 'stages1', 'stages2', 'stages3'} - ({'stem'} if frozen >= 0 else set()) - {
        f'stages{i}' for i in range(frozen)
    }
    net.eval()
    net.train()
    assert net.stem.training == (frozen < 0)


def test_norm_eval():
    net = RepViT(TINY, norm_eval=True).train()
    assert net.training
    for m in net.modules():
        assert m.training != isinstance(m, nn.BatchNorm2d)


def test_drop_path():
    net = RepViT(TINY, drop_path_rate=0.3)
    rates = [m.drop_path.drop_prob for m in net.modules() if isinstance(m, FFN)]
    assert rates == pytest.approx([0.03 * i for i in range(11)])
    # The rates of early stages do not depend on which late ones are built.
    early = RepViT(TINY, drop_path_rate=0.3, out_indices=(0,))
    assert [m.drop_path.drop_prob for m in early.modules() if isinstance(m, FFN)] == rates[:2]

    block = randomise(RepViT({'embed_dims': (8,), 'depths': (1,)}, drop_path_rate=0.0, out_indices=(0,))).stages[0][0]
    block.channel_mixer.drop_path.drop_prob = 0.5
    x = torch.randn(64, 8, 4, 4)
    kept = block(x)
    mixed = block.se(block.token_mixer(x))
    block.channel_mixer.drop_path.train()
    torch.manual_seed(0)
    dropped = block(x)
    is_dropped = (dropped - mixed).abs().amax((1, 2, 3)) == 0
    assert 10 < is_dropped.sum() < 54
    torch.testing.assert_close((dropped - mixed)[~is_dropped], 2 * (kept - mixed)[~is_dropped], atol=1e-5, rtol=1e-4)


def test_activation_checkpointing_changes_nothing():
    plain = randomise(RepViT(TINY, drop_path_rate=0.4)).double().train()
    saving = RepViT(TINY, drop_path_rate=0.4, with_cp=True).double().train()
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(3, 3, 40, 56, dtype=torch.float64)
    kept = []
    for net in (plain, saving):
        torch.manual_seed(1)
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            loss = sum(out.square().mean() for out in net(image))
        kept.append(sum(sizes))
        loss.backward()
    assert kept[1] < kept[0] / 3
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=1e-12, rtol=1e-9, msg=name)
    # Recomputation leaves the running statistics alone.
    for (name, a), b in zip(plain.named_buffers(), saving.buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=name)
    with torch.no_grad():
        saving(image)


def test_initialization():
    net = RepViT(TINY)
    net.init_weights()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            assert torch.equal(m.bias, torch.zeros_like(m.bias))
    # Every FFN starts as the identity, as the authors' does.
    ffn = net.stages[1][1].channel_mixer.eval()
    x = torch.randn(1, 16, 4, 4)
    assert torch.equal(ffn(x), x)
    assert (net.stem[0].bn.weight == 1).all()

    net = RepViT(TINY, init_cfg=[{'type': 'Constant', 'layer': 'Conv2d', 'val': 0.5}])
    net.init_weights()
    assert (net.stem[0].conv.weight == 0.5).all()


@pytest.mark.parametrize('layout', ['ours', 'ours in a segmentor', 'authors', 'authors with DDP'])
def test_pretrained(layout, tmp_path):
    reference = randomise(RepViT(TINY))
    path = tmp_path / 'checkpoint.pth'
    state, prefix = reference.state_dict(), None
    content = {'meta': {}, 'state_dict': state, 'message_hub': {'loss': HistoryBuffer([1.0], [1])}}
    if layout == 'ours in a segmentor':
        content['state_dict'] = {f'backbone.{k}': v for k, v in state.items()} | {'decode_head.x': torch.zeros(1)}
        prefix = 'backbone'
    elif layout.startswith('authors'):
        state = authors_layout(state, TINY['depths'])
        ddp = 'module.' if 'DDP' in layout else ''
        content = {'model': {ddp + k: v for k, v in state.items()}, 'args': Namespace(lr=1), 'epoch': 299}
    torch.save(content, path)

    net = RepViT(arch=TINY, init_cfg={'type': 'Pretrained', 'checkpoint': str(path), 'prefix': prefix})
    net.init_weights()
    assert net.is_init
    image = torch.randn(2, 3, 33, 64)
    for a, b in zip(net.eval()(image), reference(image), strict=True):
        assert torch.equal(a, b)
    net.init_weights()  # a second call warns and loads nothing

    # Early stages alone, then with other initializers for what the checkpoint overwrites.
    cfg = [
        {'type': 'Constant', 'layer': 'Conv2d', 'val': 0},
        {'type': 'Pretrained', 'checkpoint': str(path), 'prefix': prefix},
    ]
    early = RepViT(arch=TINY, out_indices=(1,), init_cfg=cfg)
    early.init_weights()
    assert torch.equal(early.eval()(image)[0], reference(image)[1])
    assert early.init_cfg == cfg


def test_pretrained_inside_a_segmentor(tmp_path):
    reference = randomise(RepViT(TINY))
    path = tmp_path / 'repvit.pth'
    torch.save({'model': authors_layout(reference.state_dict(), TINY['depths'])}, path)
    segmentor = MMSEG_MODELS.build(
        {
            'type': 'mmseg.EncoderDecoder',
            'backbone': {
                'type': 'mmirstd.RepViT',
                'arch': TINY,
                'init_cfg': {'type': 'Pretrained', 'checkpoint': str(path)},
            },
            'decode_head': {
                'type': 'mmseg.UPerHead',
                'in_channels': [8, 16, 24, 32],
                'in_index': [0, 1, 2, 3],
                'channels': 8,
                'num_classes': 2,
                'out_channels': 1,
                'threshold': 0.5,
                'loss_decode': {'type': 'mmseg.CrossEntropyLoss', 'use_sigmoid': True, 'avg_non_ignore': True},
            },
            'test_cfg': {'mode': 'whole'},
        }
    )
    segmentor.init_weights()
    assert torch.equal(segmentor.backbone.stem[2].conv.weight, reference.stem[2].conv.weight)
    segmentor.eval()
    assert segmentor(torch.randn(1, 3, 64, 64)).shape == (1, 1, 16, 16)


def test_grey_stem_from_rgb(tmp_path):
    reference = randomise(RepViT(TINY))
    path = tmp_path / 'repvit.pth'
    torch.save(reference.state_dict(), path)
    gray = pretrained(path, arch=TINY, in_channels=1)
    image = torch.randn(2, 1, 40, 40)
    for a, b in zip(gray(image), reference(image.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    # One channel into one channel is taken as it is.
    torch.save(gray.state_dict(), path)
    assert torch.equal(pretrained(path, arch=TINY, in_channels=1).stem[0].conv.weight, gray.stem[0].conv.weight)


def test_pretrained_errors(tmp_path):
    state = RepViT(TINY).state_dict()
    path = tmp_path / 'repvit.pth'

    def error(content, **kwargs):
        torch.save(content, path)
        with pytest.raises(CheckpointError) as caught:
            pretrained(path, **{'arch': TINY, **kwargs})
        assert 'repvit.pth' in str(caught.value)
        return str(caught.value)

    assert 'stem.0.conv.weight' in error(
        {k: v for k, v in state.items() if k != 'stem.0.bn.bias'} | {'stem.0.conv.weight': torch.zeros(1)}
    )
    assert 'stem.0.bn.bias' in error({k: v for k, v in state.items() if k != 'stem.0.bn.bias'})
    assert 'surplus' in error(state | {'surplus': torch.zeros(1)})
    assert 'not a RepViT' in error({'layer1.0.weight': torch.zeros(1)})
    assert 'epoch' in error({'epoch': 3})
    assert 'another shape' in error(state, arch={**TINY, 'embed_dims': (16, 32, 48, 64)})
    assert 'stages.3' in error(state, arch={**TINY, 'depths': (2, 3, 4, 3)})
    assert 'another shape' in error(state, in_channels=4)

    authors = authors_layout(state, TINY['depths'])
    assert 'features.1.extra' in error({'model': authors | {'features.1.extra': torch.zeros(1)}})
    assert 'features.x' in error({'model': authors | {'features.x': torch.zeros(1)}})
    assert 'first version' in error({'model': authors | {'features.1.token_mixer.0.conv1.c.weight': torch.zeros(1)}})
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r'no weights below the prefix .body\.'):
        RepViT(TINY).load_pretrained(str(path), prefix='body')
    with pytest.raises(CheckpointError, match='no checkpoint file'):
        RepViT(TINY).load_pretrained(str(tmp_path / 'none.pth'))


def test_conversion_of_timm_keys():
    """By name alone; with values against timm itself in tests/interop."""
    mixer = [
        'token_mixer.conv.c.weight',
        'token_mixer.conv.bn.weight',
        'token_mixer.conv1.bias',
        'token_mixer.bn.weight',
    ]
    ffn = ['conv1.c.weight', 'conv1.bn.bias', 'conv2.c.weight']
    keys = ['stem.conv1.c.weight', 'stem.conv2.bn.weight', 'head.head.l.weight', 'head.head_dist.bn.bias']
    keys += [f'stages.0.blocks.0.{k}' for k in mixer] + [f'stages.0.blocks.0.channel_mixer.{k}' for k in ffn]
    keys += ['stages.0.blocks.0.se.fc1.weight', 'stages.1.blocks.0.se.fc2.bias']
    keys += [f'stages.1.downsample.pre_block.{k}' for k in mixer]
    keys += [f'stages.1.downsample.ffn.{k}' for k in ffn]
    keys += ['stages.1.downsample.spatial_downsample.c.weight', 'stages.1.downsample.channel_downsample.bn.bias']
    state, dropped = convert_repvit_state_dict({k: torch.zeros(1) for k in keys})
    assert dropped == ['head.head.l.weight', 'head.head_dist.bn.bias']
    own = RepViT(TINY).state_dict()
    assert set(state) <= set(own)
    assert len(state) == len(keys) - 2
    assert {
        'stages.0.1.token_mixer.conv.conv.weight',
        'stages.1.0.spatial.conv.weight',
        'stages.1.1.se.fc2.bias',
    } <= set(state)
    for bad in ('stages.1.downsample.foo', 'stages.4.downsample.pre_block.token_mixer.bn.bias', 'norm.weight'):
        with pytest.raises(ValueError, match=re.escape(bad)):
            convert_repvit_state_dict({k: torch.zeros(1) for k in [*keys, bad]})


def test_unwrap():
    weights = {'a.b': torch.zeros(1)}
    for content in (weights, {'state_dict': weights}, {'model': weights, 'epoch': 1}):
        assert unwrap_state_dict(content) == weights
    assert list(unwrap_state_dict(weights, 'a')) == list(unwrap_state_dict(weights, 'a.')) == ['b']
    with pytest.raises(ValueError, match='no weights'):
        unwrap_state_dict({})


def test_converter(call, tmp_path, capsys):
    net = RepViT('m0_6')
    torch.save({'model': authors_layout(net.state_dict(), ARCHS['m0_6']['depths'])}, tmp_path / 'in.pth')
    assert call('convert', 'repvit', 'in.pth', 'out.pth') is None
    assert capsys.readouterr().out.startswith(f'out.pth: RepViT(arch={ARCHS["m0_6"]}), ')
    content = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert repvit_arch(content['state_dict']) == content['meta']['arguments']['arch'] == ARCHS['m0_6']
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in content['state_dict'].items())
    pretrained(tmp_path / 'out.pth', arch='m0_6')

    torch.save({'x': torch.zeros(1)}, tmp_path / 'in.pth')
    assert call('convert', 'repvit', 'in.pth', 'out.pth').startswith('error: out.pth exists')
    assert 'not a RepViT' in call('convert', 'repvit', 'in.pth', 'out.pth', '--overwrite')


def test_registered():
    net = MODELS.build({'type': 'mmirstd.RepViT', 'arch': TINY, 'out_indices': [0, 1]})
    assert isinstance(net, RepViT)
