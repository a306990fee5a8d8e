"""SAMViT and its layers: windows, relative positions in all their forms, low-rank updates."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from mmirstd.checkpoints.convert.sam import convert_sam_vit_state_dict
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.models.backbones.sam_vit import ARCHS, SAMViT
from mmirstd.models.backbones.tiny_vit import TinyViT
from mmirstd.models.layers import relative_position
from mmirstd.models.layers.low_rank import LowRankLinear
from mmirstd.models.layers.relative_position import relative_attention, relative_embeddings, resize_table
from mmirstd.models.layers.windows import join_windows, split_windows
from mmirstd.registry import MODELS

# A window that pads, position embeddings for 4 x 4 patches.
SMALL = {'arch': 'tiny', 'img_size': 64, 'window_size': 3, 'neck_channels': 16}


def randomise(net):
    generator = torch.Generator().manual_seed(0)
    for name, p in net.named_parameters():
        std = 0.5 if 'pos' in name else 0.2 if p.ndim == 1 else p[0].numel() ** -0.5
        p.data.normal_(float(bool(re.search(r'(norm\d|neck\.[13])\.weight', name))), std, generator=generator)
    return net


def small(**kwargs):
    return randomise(SAMViT(**SMALL | kwargs))


def saved_numbers(function):
    """What a function keeps for the backward pass, and its result."""
    sizes = {}

    def pack(t):
        sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = function()
    return sum(sizes.values()), out


@pytest.mark.parametrize('size', [(6, 6), (7, 5), (2, 9), (1, 1)])
def test_windows(size):
    x = torch.randn(2, *size, 5)
    windows = split_windows(x, 3)
    rows, columns = -(-size[0] // 3), -(-size[1] // 3)
    assert windows.shape == (2 * rows * columns, 3, 3, 5)
    padded = torch.zeros(2, 3 * rows, 3 * columns, 5)
    padded[:, : size[0], : size[1]] = x
    for b in range(2):
        for i in range(rows):
            for j in range(columns):
                part = padded[b, 3 * i : 3 * i + 3, 3 * j : 3 * j + 3]
                assert torch.equal(windows[(b * rows + i) * columns + j], part)
    assert torch.equal(join_windows(windows, x.shape[:3]), x)


def test_relative_embeddings():
    table = torch.randn(7, 2)
    out = relative_embeddings(table, 4)
    for i in range(4):
        for k in range(4):
            assert torch.equal(out[i, k], table[i - k + 3])
    assert resize_table(table, 7) is table
    # A linear table stays linear.
    line = torch.arange(9.0)[:, None]
    torch.testing.assert_close(resize_table(line, 3), torch.tensor([[1.0], [4.0], [7.0]]))


@pytest.mark.parametrize('grad', [False, True])
@pytest.mark.parametrize('max_bias', [1, 300, 2000, 2**24])
@pytest.mark.parametrize('size', [(5, 3), (1, 4), (3, 7)])
def test_relative_attention(size, max_bias, grad, monkeypatch):
    """One mask, parts of it, and further channels against the plain sum over every pair."""
    monkeypatch.setattr(relative_position, 'MAX_BIAS', max_bias)
    torch.manual_seed(0)
    height, width = size
    count, channels = height * width, 6
    q, k, v = (torch.randn(2, 3, count, channels, dtype=torch.float64, requires_grad=grad) for _ in range(3))
    rows, columns = (torch.randn(2 * n - 1, channels, dtype=torch.float64, requires_grad=grad) for n in size)
    inputs = (q, k, v, rows, columns)
    logits = q @ k.transpose(2, 3) / channels**0.5
    bias = torch.stack([
        (q[:, :, i] * (rows[i // width - j // width + height - 1] + columns[i % width - j % width + width - 1])).sum(-1)
        for i in range(count)
        for j in range(count)
    ], -1)  # fmt: skip
    expected = (logits + bias.unflatten(-1, (count, count))).softmax(-1) @ v
    got = relative_attention(*inputs, size)
    torch.testing.assert_close(got, expected)
    if grad:
        weight = torch.randn_like(got)
        for a, b in zip(
            torch.autograd.grad((got * weight).sum(), inputs),
            torch.autograd.grad((expected * weight).sum(), inputs),
            strict=True,
        ):
            torch.testing.assert_close(a, b)


def test_relative_attention_keeps_no_bias(monkeypatch):
    """With gradients, memory grows with the number of positions, not with its square."""
    monkeypatch.setattr(relative_position, 'MAX_BIAS', 2**12)
    kept = []
    for side in (8, 16, 32):
        q, k, v = (torch.randn(1, 1, side * side, 8, requires_grad=True) for _ in range(3))
        table = torch.randn(2 * side - 1, 8, requires_grad=True)
        kept.append(saved_numbers(lambda: relative_attention(q, k, v, table, table, (side, side)))[0])  # noqa: B023
    # Positions grow fourfold, and the further channels twofold.
    assert kept[1] < 8 * kept[0]
    assert kept[2] < 8 * kept[1] < 4 * 32**4


@pytest.mark.parametrize('size', [(64, 64), (32, 32), (80, 48), (61, 97), (7, 16), (128, 128)])
@pytest.mark.parametrize('in_channels', [1, 3])
def test_any_size(size, in_channels):
    net = small(in_channels=in_channels, out_indices=(1, 2)).eval()
    image = torch.randn(2, in_channels, *size)
    with torch.no_grad():
        outs = net(image)
    grid = tuple(-(-s // 16) for s in size)
    assert [tuple(x.shape) for x in outs] == [(2, c, *grid) for c in (32, 32, 16)]
    assert net.out_channels == (32, 32, 16)
    assert net.out_strides == (16, 16, 16)
    for x in outs:
        assert x.isfinite().all()
    # Padding to whole patches is that with zeros.
    whole = torch.zeros(2, in_channels, *(16 * g for g in grid))
    whole[..., : size[0], : size[1]] = image
    with torch.no_grad():
        for a, b in zip(outs, net(whole), strict=True):
            torch.testing.assert_close(a, b)


def test_forms_agree_in_the_network(monkeypatch):
    net = small(with_cp=True).double()
    image = torch.randn(1, 3, 96, 96, dtype=torch.float64)
    grads = []
    for max_bias in (2**24, 10):
        monkeypatch.setattr(relative_position, 'MAX_BIAS', max_bias)
        (out,) = net(image)
        grads.append(torch.autograd.grad(out.square().mean(), list(net.parameters())))
        with torch.no_grad():
            torch.testing.assert_close(net(image)[0], out)
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-7)


def test_windows_are_windows():
    """A windowed layer sees no other window; a global one sees everything."""
    net = small(with_neck=False, out_indices=(0, 1), window_size=2).eval()
    image = torch.randn(1, 3, 64, 64)
    other = image.clone()
    other[..., 48:, 48:] += 1
    with torch.no_grad():
        changed = [(a - b).abs().amax(1)[0] > 0 for a, b in zip(net(image), net(other), strict=True)]
    assert changed[0][2:, 2:].all()
    assert changed[0].sum() == 4
    assert changed[1].all()


def test_unneeded_layers_are_not_built():
    net = small(with_neck=False, out_indices=(1,))
    assert len(net.blocks) == 2
    assert net.neck is None
    assert net.out_channels == (32,)
    full = small(out_indices=(1,))
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(net(image)[0], full(image)[0])


def test_activation_checkpointing_changes_nothing():
    image = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    kept, grads = [], []
    for with_cp in (False, True):
        net = small(with_cp=with_cp, drop_path_rate=0.4).double().train()
        torch.manual_seed(1)
        numbers, (out,) = saved_numbers(lambda: net(image))  # noqa: B023
        kept.append(numbers)
        grads.append(torch.autograd.grad(out.square().mean(), list(net.parameters())))
    assert kept[1] < kept[0] / 2
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    net = small(out_indices=(0,), lora_rank=2)
    image = torch.randn(2, 3, 64, 64)
    expected = net(image)
    with torch.autocast('cpu', dtype):
        outs = net(image)
    for a, b in zip(outs, expected, strict=True):
        torch.testing.assert_close(a.float(), b, atol=0.1, rtol=0.1)
    outs[1].float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.requires_grad)


@pytest.mark.parametrize('frozen', [-1, 0, 2, 4])
def test_frozen_stages(frozen):
    net = small(frozen_stages=frozen)
    for mode in (True, False, True):
        net.train(mode)
    parts = [net.patch_embed, *net.blocks, net.neck]
    for i, part in enumerate(parts):
        assert all(p.requires_grad == (i > frozen) for p in part.parameters())
        assert part.training == (i > frozen)
    assert net.pos_embed.requires_grad == (frozen < 0)
    net(torch.randn(1, 3, 32, 32))[0].square().mean().backward()
    assert all((p.grad is not None) == p.requires_grad for p in net.parameters())


def test_frozen():
    net = small(frozen=True).train()
    assert not any(p.requires_grad for p in net.parameters())
    assert not any(m.training for m in net.children())
    assert not net(torch.randn(1, 3, 32, 32))[0].requires_grad


def test_low_rank_linear():
    torch.manual_seed(0)
    layer = LowRankLinear(6, 12, rank=2, alpha=5.0, num_parts=3, parts=(0, 2)).double()
    plain = nn.Linear(6, 12).double()
    layer.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(4, 7, 6, dtype=torch.float64)
    assert torch.equal(layer(x), plain(x))
    nn.init.normal_(layer.lora_b)
    a, b = layer.lora_a, layer.lora_b
    expected = list(plain(x).chunk(3, -1))
    for i, part in enumerate((0, 2)):
        expected[part] = expected[part] + 5.0 / 2 * (x @ a[i].T @ b[i].T)
    torch.testing.assert_close(layer(x), torch.cat(expected, -1))
    assert {n for n, p in layer.named_parameters() if p.requires_grad} == {'lora_a', 'lora_b'}
    out = layer(x)
    grads = torch.autograd.grad(out.square().sum(), (a, b))
    assert all(g.abs().min() > 0 for g in grads)

    before = layer.weight.clone()
    assert layer.switch_to_deploy() == 1
    torch.testing.assert_close(layer(x), out)
    assert torch.equal(layer.weight[4:8], before[4:8])
    assert layer.state_dict().keys() == {'weight', 'bias'}
    assert layer.switch_to_deploy() == 0
    assert copy.deepcopy(layer)(x).equal(layer(x))
    for bad in ({'rank': 0}, {'rank': 1, 'num_parts': 5}, {'rank': 1, 'parts': (1,)}, {'rank': 1, 'parts': ()}):
        with pytest.raises(ValueError, match='go together'):
            LowRankLinear(6, 12, **bad)


def test_low_rank_adaptation():
    net = small(lora_rank=2, lora_alpha=4.0, frozen_stages=1, with_cp=True, drop_path_rate=0.2).train()
    learned = {name for name, p in net.named_parameters() if p.requires_grad}
    factors = {f'blocks.{i}.attn.qkv.lora_{f}' for i in (1, 2, 3) for f in 'ab'}
    assert learned == factors | {f'neck.{k}' for k in net.neck.state_dict()}
    # Only what `frozen_stages` names is in eval mode.
    assert [b.training for b in net.blocks] == [False, True, True, True]
    image = torch.randn(2, 3, 64, 64)
    net(image)[0].square().mean().backward()
    for name, p in net.named_parameters():
        assert (p.grad is not None and p.grad.abs().max() > 0) == (name in learned)

    net.eval()
    with torch.no_grad():
        expected = net(image)[0]
        shut = copy.deepcopy(net)
        assert shut.switch_to_deploy() == 3
        torch.testing.assert_close(shut(image)[0], expected, atol=1e-5, rtol=1e-5)
        again = SAMViT(**SMALL, lora_rank=2, deploy=True).eval()
        again.load_state_dict(shut.state_dict())
        assert torch.equal(again(image)[0], shut(image)[0])
    shut.train()
    assert not any(p.requires_grad for p in shut.blocks.parameters())
    assert all(p.requires_grad for p in again.parameters())

    net = small(lora_rank=2, frozen=True, lora_targets='qkv')
    assert {n.rpartition('.')[2] for n, p in net.named_parameters() if p.requires_grad} == {'lora_a', 'lora_b'}
    assert net.blocks[0].attn.qkv.lora_b.shape == (3, 32, 2)


def test_low_rank_share():
    with torch.device('meta'):
        net = SAMViT('b', lora_rank=4, frozen=True)
    learned = [p for p in net.parameters() if p.requires_grad]
    # Rank 4, query and value of 12 layers: A and B of 768 columns each.
    assert sum(p.numel() for p in learned) == 12 * 2 * 2 * 4 * 768 == 147456
    assert sum(p.numel() for p in net.parameters()) == 89_670_912 + 147456


@pytest.mark.parametrize('lora_rank', [0, 2])
def test_pretrained(lora_rank, tmp_path):
    reference = small(out_indices=(0,), lora_rank=lora_rank).eval()
    path = tmp_path / 'sam.pth'
    state = {f'backbone.{k}': v for k, v in reference.state_dict().items()} | {'decode_head.x': torch.zeros(1)}
    torch.save({'state_dict': state, 'meta': {}}, path)
    init_cfg = {'type': 'Pretrained', 'checkpoint': str(path), 'prefix': 'backbone'}
    net = SAMViT(**SMALL, out_indices=(0,), lora_rank=lora_rank, init_cfg=init_cfg)
    net.init_weights()
    image = torch.randn(1, 3, 48, 64)
    for a, b in zip(net.eval()(image), reference(image), strict=True):
        assert torch.equal(a, b)
    # Early layers alone; and a gray image.
    early = SAMViT(**SMALL, with_neck=False, out_indices=(0,), in_channels=1, lora_rank=lora_rank, init_cfg=init_cfg)
    early.init_weights()
    gray = image[:, :1]
    expected = reference(gray.expand(-1, 3, -1, -1))[0]
    torch.testing.assert_close(early.eval()(gray)[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('kwargs', [{'img_size': 32}, {'img_size': 96, 'antialias': False}, {'window_size': 5}])
def test_checkpoint_of_another_size(kwargs, tmp_path):
    """Tables interpolated when loaded are those that are interpolated at every image."""
    reference = small(antialias=kwargs.get('antialias', True))
    path = tmp_path / 'sam.pth'
    torch.save(reference.state_dict(), path)
    net = SAMViT(**SMALL | kwargs)
    net.load_pretrained(str(path))
    size, window = net.pos_embed.shape[1], kwargs.get('window_size', 3)
    assert size == kwargs.get('img_size', 64) // 16
    assert [len(b.attn.rel_pos_w) for b in net.blocks] == [2 * window - 1, 2 * size - 1] * 2
    for block in reference.blocks:
        block.window_size = block.window_size and window
    image = torch.randn(1, 3, 16 * size, 16 * size)
    torch.testing.assert_close(net(image)[0], reference(image)[0], atol=1e-5, rtol=1e-5)


def test_other_initializers_come_first(tmp_path):
    path = tmp_path / 'sam.pth'
    reference = small()
    torch.save(reference.state_dict(), path)
    cfg = [
        {'type': 'Constant', 'layer': 'Linear', 'val': 0},
        {'type': 'Pretrained', 'checkpoint': str(path)},
    ]
    net = SAMViT(**SMALL, init_cfg=cfg)
    net.init_weights()
    assert torch.equal(parameters_to_vector(net.parameters()), parameters_to_vector(reference.parameters()))
    assert net.init_cfg == cfg
    zero = SAMViT(**SMALL, init_cfg=cfg[:1])
    zero.init_weights()
    assert not zero.blocks[0].attn.qkv.weight.any()
    assert zero.pos_embed.any()


def test_pretrained_errors(tmp_path):
    state = small().state_dict()
    path = tmp_path / 'sam.pth'

    def error(content, **kwargs):
        torch.save(content, path)
        with pytest.raises(CheckpointError) as caught:
            SAMViT(**SMALL | kwargs).load_pretrained(str(path))
        assert 'sam.pth' in str(caught.value)
        return str(caught.value)

    assert 'surplus' in error(state | {'surplus': torch.zeros(1)})
    assert 'blocks.0.attn.qkv.extra' in error(state | {'blocks.0.attn.qkv.extra': torch.zeros(1)})
    assert 'neck.0.weight' in error({k: v for k, v in state.items() if k != 'neck.0.weight'})
    assert "not an image encoder of SAM's" in error({'stem.0.conv.weight': torch.zeros(1)})
    whole = {f'image_encoder.{k}': v for k, v in state.items()}
    assert 'critic.x' in error(whole | {'critic.x': torch.zeros(1)})
    assert 'two layouts' in error(state | {'blocks.0.mlp.fc1.weight': torch.zeros(1)})
    assert 'another shape' in error(state, neck_channels=8)
    assert 'another shape' in error(state, arch=ARCHS['tiny'] | {'num_heads': 4})
    assert 'blocks.4' in error(state, arch=ARCHS['tiny'] | {'depth': 5})
    assert 'another shape' in error(state, in_channels=4)
    deeper = SAMViT(**SMALL | {'arch': ARCHS['tiny'] | {'depth': 5}}).state_dict()
    assert 'blocks.4' in error(deeper)
    assert 'blocks.4' in error(deeper, with_neck=False, out_indices=(1,))


def test_layouts():
    """The keys of mmpretrain and timm by hand; tests/interop has the real models."""
    state = small().state_dict()

    def mmpretrain(key):
        key = key.replace('patch_embed.proj', 'patch_embed.projection').replace('neck', 'channel_reduction')
        key = key.replace('blocks', 'layers').replace('norm', 'ln')
        return key.replace('mlp.lin1', 'ffn.layers.0.0').replace('mlp.lin2', 'ffn.layers.1')

    for rename in (mmpretrain, lambda key: key.replace('mlp.lin', 'mlp.fc')):
        other = {f'module.{rename(k)}': v for k, v in state.items()} | {'head.fc.weight': torch.zeros(1)}
        converted, dropped = convert_sam_vit_state_dict(other)
        assert dropped == ['head.fc.weight']
        assert converted.keys() == state.keys()
        assert all(converted[k] is v for k, v in state.items())


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'arch': 'x'}, 'unknown SAMViT arch'),
        ({'arch': {'embed_dims': 8}}, 'has the keys'),
        ({'arch': ARCHS['tiny'] | {'num_heads': 3}}, 'num_heads must divide'),
        ({'arch': ARCHS['tiny'] | {'global_layers': (4,)}}, 'be layers'),
        ({'out_indices': (4,)}, r'out of 0\.\.3'),
        ({'out_indices': (2, 1)}, 'ascending'),
        ({'with_neck': False}, 'returns nothing'),
        ({'img_size': 100}, 'multiple of patch_size'),
        ({'window_size': 0}, 'window_size=0'),
        ({'frozen_stages': 5}, r'-1\.\.4'),
        ({'lora_rank': -1}, 'lora_rank'),
        ({'lora_rank': 1, 'lora_targets': 'x'}, 'lora_targets'),
        ({'lora_rank': 1, 'lora_targets': ''}, 'go together'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SAMViT(**SMALL | kwargs)


def test_converter(call, tmp_path, capsys):
    source, target = tmp_path / 'in.pth', tmp_path / 'out.pth'
    nets = {
        'SAMViT, 65 tensors; left out 2': SAMViT('tiny', img_size=64),
        'TinyViT, 298 tensors; left out 2': TinyViT(),
    }
    for line, net in nets.items():
        state = net.state_dict()
        others = {'mask_decoder.x': torch.zeros(1), 'prompt_encoder.x': torch.zeros(1)}
        torch.save({f'image_encoder.{k}': v for k, v in state.items()} | others, source)
        assert call('convert', 'sam', source, target, '--overwrite') is None
        assert line in capsys.readouterr().out
        content = torch.load(target, weights_only=True)
        assert content['meta'] == {'model': type(net).__name__, 'arguments': {}}
        assert all(torch.equal(content['state_dict'][k], v) for k, v in state.items())
        twin = SAMViT('tiny', img_size=64) if isinstance(net, SAMViT) else TinyViT()
        twin.load_pretrained(str(target))
    torch.save({'x': torch.zeros(1)}, source)
    assert 'neither' in call('convert', 'sam', source, target, '--overwrite')
    assert call('convert', 'sma', source, target, '--overwrite') == 2
    assert 'sma: no checkpoints of this kind are known; there are abcnet, acm, adgfnet, ' in capsys.readouterr().err


def test_registered():
    net = MODELS.build({'type': 'mmirstd.SAMViT', **SMALL, 'out_indices': [1]})
    assert isinstance(net, SAMViT)
