"""Attention with few tokens on one side, and deformable attention, each against a plain form of itself."""

import copy

import pytest
import torch
from perturbation import randomize
from torch import nn

from mmirstd.models.layers import (
    Attention,
    DeformableAttention,
    DeformableConv2d,
    DeformableLayer,
    QueryInteraction,
    deformable_conv2d,
    to_sequence,
)


@pytest.mark.parametrize('downsample_rate', [1, 2])
@pytest.mark.parametrize(('tokens', 'folds'), [(3, True), (9, False)])
def test_attention_with_few_tokens_is_attention(downsample_rate, tokens, folds, monkeypatch):
    attention = randomize(Attention(32, 4, downsample_rate)).double()
    few, many = torch.randn(2, tokens, 32).double(), torch.randn(2, 50, 32).double()
    values, few_values = torch.randn(2, 50, 32).double(), torch.randn(2, tokens, 32).double()
    expected = attention(few, many, values), attention(many, few, few_values)
    if folds:  # 12 scores a position are less than 16 or 32 channels: the plain form is not called
        monkeypatch.setattr(Attention, 'forward', None)
    torch.testing.assert_close(attention.few_queries(few, many, values), expected[0])
    torch.testing.assert_close(attention.few_keys(many, few, few_values), expected[1])


@pytest.mark.parametrize('call', ['few_queries', 'few_keys'])
def test_dropout_of_attention_with_few_tokens(call):
    """Its mean over many draws is the attention without dropout, and every parameter gets a gradient."""
    torch.manual_seed(0)
    attention = randomize(Attention(16, 2, dropout=0.2)).double()
    few, many = torch.randn(1, 2, 16).double(), torch.randn(1, 40, 16).double()
    q, k = (few, many) if call == 'few_queries' else (many, few)
    expected = attention(q, k, k)
    attention.train()
    draws = torch.stack([getattr(attention, call)(q, k, k) for _ in range(2000)])
    assert draws.std(0).min() > 0
    torch.testing.assert_close(draws.mean(0), expected, atol=0.1, rtol=0)
    draws.sum().backward()
    assert all(p.grad is not None for p in attention.parameters())


def test_query_interaction_starts_as_torchs_attention_does():
    torch.manual_seed(0)
    ours, theirs = QueryInteraction(64, 4, 128).query_to_feature, nn.MultiheadAttention(64, 4)
    assert ours.k_proj.weight.std().item() == pytest.approx(theirs.in_proj_weight.std().item(), rel=0.05)
    assert not ours.v_proj.bias.any()
    assert not theirs.in_proj_bias.any()


def plain_deformable(module, query, reference, maps):
    """Zhu et al., Eq. 3, point by point, reading the four neighbors of each."""
    batch, count, width = query.shape
    heads, levels, points = module.num_heads, module.num_levels, module.num_points
    offsets = module.sampling_offsets(query).view(batch, count, heads, levels, points, 2)
    weights = module.attention_weights(query).view(batch, count, heads, -1).softmax(-1)
    weights = weights.view(batch, count, heads, levels, points)
    values = [module.value_proj(m.permute(0, 2, 3, 1)).unflatten(3, (heads, -1)) for m in maps]
    out = torch.zeros(batch, count, heads, width // heads, dtype=query.dtype)
    for b, n, h, level, k in torch.cartesian_prod(*(torch.arange(s) for s in weights.shape)).tolist():
        height, wide = maps[level].shape[2:]
        size = torch.tensor([wide, height], dtype=query.dtype)
        x, y = (reference[n] * size + offsets[b, n, h, level, k] - 0.5).tolist()
        for column in (int(x // 1), int(x // 1) + 1):
            for row in (int(y // 1), int(y // 1) + 1):
                if 0 <= column < wide and 0 <= row < height:
                    share = (1 - abs(x - column)) * (1 - abs(y - row)) * weights[b, n, h, level, k]
                    out[b, n, h] += share * values[level][b, row, column, h]
    return module.output_proj(out.flatten(2))


def test_deformable_attention_is_its_equation():
    torch.manual_seed(0)
    module = randomize(DeformableAttention(8, 2, num_heads=2, num_points=3)).double()
    maps = [torch.randn(2, 8, 6, 5).double(), torch.randn(2, 8, 3, 4).double()]
    query, reference = torch.randn(2, 7, 8).double(), torch.rand(7, 2).double()
    with torch.no_grad():
        torch.testing.assert_close(module(query, reference, maps), plain_deformable(module, query, reference, maps))


def test_deformable_attention_starts_looking_around():
    module = DeformableAttention(8, 2, num_heads=4, num_points=2)
    offsets = module.sampling_offsets.bias.view(4, 2, 2, 2)
    expected = [[1, 0], [0, 1], [-1, 0], [0, -1]]
    for level in range(2):
        torch.testing.assert_close(offsets[:, level, 0], torch.tensor(expected).float())
        torch.testing.assert_close(offsets[:, level, 1], 2 * offsets[:, level, 0])
    with pytest.raises(ValueError, match='embed_dims=8 is not a multiple of num_heads=3'):
        DeformableAttention(8, 2, num_heads=3)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_deformable_points_do_not_lose_pixels_in_half_precision(dtype):
    """A map that rises by 1 a pixel, read at each pixel's own center: half-precision points would miss by 0.1."""
    module = DeformableAttention(4, 1, num_heads=1, num_points=1).requires_grad_(False)
    for layer in (module.value_proj, module.output_proj):
        layer.weight.copy_(torch.eye(4))
    module.sampling_offsets.bias.zero_()
    ramp = torch.arange(200.0).expand(1, 4, 1, 200) % 8
    reference = torch.stack(((torch.arange(200) + 0.5) / 200, torch.full((200,), 0.5)), dim=1)
    out = module.to(dtype)(torch.zeros(1, 200, 4, dtype=dtype), reference, [ramp.to(dtype)])
    torch.testing.assert_close(out[0].float(), ramp[0, :, 0].t(), atol=0.02, rtol=0)


def test_gradients_at_batch_one():
    """Batch norm's backward on a CPU goes wrong on transposed gradients of one image: two halves must agree with it."""
    torch.manual_seed(0)
    norm, layer = nn.BatchNorm2d(4), DeformableLayer(4, 2, num_heads=2, feedforward_channels=8)
    x = torch.randn(1, 4, 6, 6)
    gradients = []
    for module in (norm, copy.deepcopy(norm).double()):
        dtype = module.weight.dtype
        maps = (module(x.to(dtype)), torch.zeros(1, 4, 3, 3, dtype=dtype))
        inside = copy.deepcopy(layer).to(dtype)
        out = inside(maps, [torch.zeros(1, n, 4, dtype=dtype) for n in (36, 9)])
        (out[0] * torch.arange(36).view(6, 6)).sum().backward()
        gradients.append(module.weight.grad.double())
    torch.testing.assert_close(*gradients, atol=1e-3, rtol=1e-4)
    assert to_sequence(x).is_contiguous()


@pytest.mark.parametrize('kernel_size', [(3, 3), (1, 5)])
def test_deformable_convolution_that_moves_no_point_is_a_convolution(kernel_size):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 7, 9, dtype=torch.float64)
    conv = DeformableConv2d(3, 4, kernel_size).double()
    padding = (kernel_size[0] // 2, kernel_size[1] // 2)
    torch.testing.assert_close(conv(x), nn.functional.conv2d(x, conv.weight / 2, conv.bias, padding=padding))


def test_deformable_convolution_moves_points_down_and_right():
    x = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    x[0, 0, 3, 4] = 1
    weight = torch.tensor([[[[1.0, 10.0, 100.0]]]], dtype=torch.float64)
    offset = torch.zeros(1, 6, 6, 6, dtype=torch.float64)
    offset[:, 2], offset[:, 3] = 1.25, 2.0  # the second point: a row and a quarter down, two columns to the right
    out = deformable_conv2d(x, offset, torch.ones(1, 3, 6, 6, dtype=torch.float64), weight, None)
    expected = torch.zeros_like(x)
    expected[0, 0, 3, 5], expected[0, 0, 3, 3] = 1, 100
    expected[0, 0, 2, 2] += 7.5
    expected[0, 0, 1, 2] += 2.5
    torch.testing.assert_close(out, expected)


def test_deformable_convolution_has_the_gradients_of_its_values():
    torch.manual_seed(0)
    shapes = (1, 2, 4, 5), (1, 6, 4, 5), (1, 3, 4, 5), (2, 2, 3, 1), (2,)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(deformable_conv2d, inputs)


def test_deformable_convolution_refuses_even_kernels():
    with pytest.raises(ValueError, match='must be odd'):
        DeformableConv2d(3, 4, (2, 3))
