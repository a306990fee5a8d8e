import copy
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmirstd.models.layers import (
    MLP,
    Attention,
    FourierPosition,
    LayerNorm2d,
    QueryFeatures,
    QueryInteraction,
    TwoWayTransformer,
    require_queries,
    sine_position,
)
from mmirstd.models.layers.resizing import adaptive_mean


def randomise(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def as_torch_attention(ours):
    """The same attention as torch's own, which takes equal inner and outer widths alone."""
    dims = ours.q_proj.in_features
    theirs = nn.MultiheadAttention(dims, ours.num_heads, batch_first=True, dtype=ours.q_proj.weight.dtype)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in (ours.q_proj, ours.k_proj, ours.v_proj)]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in (ours.q_proj, ours.k_proj, ours.v_proj)]))
        theirs.out_proj.load_state_dict(ours.out_proj.state_dict())
    return lambda q, k, v: theirs(q, k, v, need_weights=False)[0]


def plain_attention(ours, q, k, v):
    """Softmax attention head by head in numpy, float64."""
    weight = {n: p.detach().double().numpy() for n, p in ours.named_parameters()}
    q, k, v = (
        x.detach().double().numpy() @ weight[f'{n}_proj.weight'].T + weight[f'{n}_proj.bias']
        for n, x in zip('qkv', (q, k, v), strict=True)
    )
    out = np.empty_like(q)
    width = q.shape[-1] // ours.num_heads
    for head in range(ours.num_heads):
        part = slice(head * width, (head + 1) * width)
        score = np.einsum('bnc,bmc->bnm', q[..., part], k[..., part]) / math.sqrt(width)
        score = np.exp(score - score.max(-1, keepdims=True))
        out[..., part] = np.einsum('bnm,bmc->bnc', score / score.sum(-1, keepdims=True), v[..., part])
    return torch.from_numpy(out @ weight['out_proj.weight'].T + weight['out_proj.bias'])


@pytest.mark.parametrize('downsample_rate', [1, 2, 4])
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_attention_is_softmax_attention(downsample_rate, dtype, tolerance):
    attention = randomise(Attention(32, 4, downsample_rate)).to(dtype)
    q, k, v = (torch.randn(3, n, 32, dtype=dtype) for n in (5, 77, 77))
    expected = plain_attention(attention, q, k, v)
    torch.testing.assert_close(attention(q, k, v).double(), expected, atol=tolerance, rtol=tolerance)


def test_attention_refuses_indivisible_widths():
    with pytest.raises(ValueError, match='num_heads=5'):
        Attention(32, 5)


def plain_two_way(model, image, image_pe, tokens):
    """SAM's two-way transformer with torch's attention (downsample_rate 1), written from the figure."""
    x, pe, first = image.flatten(2).transpose(1, 2), image_pe, tokens
    for i, layer in enumerate(model.layers):
        attend = as_torch_attention(layer.self_attn)
        tokens = attend(tokens, tokens, tokens) if i == 0 else tokens + attend(tokens + first, tokens + first, tokens)
        tokens = layer.norm1(tokens)
        tokens = layer.norm2(tokens + as_torch_attention(layer.cross_attn_token_to_image)(tokens + first, x + pe, x))
        hidden = (tokens @ layer.mlp['lin1'].weight.T + layer.mlp['lin1'].bias).clamp(min=0)
        tokens = layer.norm3(tokens + hidden @ layer.mlp['lin2'].weight.T + layer.mlp['lin2'].bias)
        x = layer.norm4(x + as_torch_attention(layer.cross_attn_image_to_token)(x + pe, tokens + first, tokens))
    last = as_torch_attention(model.final_attn_token_to_image)(tokens + first, x + pe, x)
    return model.norm_final_attn(tokens + last), x.transpose(1, 2).reshape(image.shape)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
@pytest.mark.parametrize('size', [(8, 8), (7, 13)])
def test_two_way_transformer_equals_torch_attention(dtype, tolerance, size):
    torch.manual_seed(0)
    model = randomise(TwoWayTransformer(3, 32, 4, 64, downsample_rate=1)).to(dtype)
    image = torch.randn(2, 32, *size, dtype=dtype)
    pe = torch.randn(1, size[0] * size[1], 32, dtype=dtype)
    tokens = torch.randn(2, 6, 32, dtype=dtype)
    for got, expected in zip(model(image, pe, tokens), plain_two_way(model, image, pe, tokens), strict=True):
        torch.testing.assert_close(got, expected, atol=tolerance, rtol=tolerance)


def test_query_interaction_follows_the_paper():
    """Queries attend to features, feed-forward, self-attention, then features attend to queries."""
    torch.manual_seed(0)
    model = randomise(QueryInteraction(16, 4, 24)).double().eval()
    queries, pos = torch.randn(2, 3, 16).double(), torch.randn(1, 3, 16).double()
    feature, feature_pos = torch.randn(2, 16, 5, 9).double(), torch.randn(1, 45, 16).double()
    x = feature.flatten(2).transpose(1, 2)
    q = queries + as_torch_attention(model.query_to_feature)(queries + pos, x + feature_pos, x)
    q = model.norms[0](q)
    q = model.norms[1](q + model.ffn(q))
    q = model.norms[2](q + as_torch_attention(model.query_self)(q + pos, q + pos, q))
    x = model.norms[3](x + as_torch_attention(model.feature_to_query)(x + feature_pos, q + pos, q))
    got_queries, got_feature = model(queries, pos, feature, feature_pos)
    torch.testing.assert_close(got_queries, q)
    torch.testing.assert_close(got_feature, x.transpose(1, 2).reshape(feature.shape))


@pytest.mark.parametrize(('height', 'width', 'channels'), [(4, 4, 8), (5, 11, 16), (1, 7, 4)])
def test_sine_position_closed_form(height, width, channels):
    encoding = sine_position(height, width, channels)
    assert encoding.shape == (1, height * width, channels)
    half = channels // 2
    for y in range(height):
        for x in range(width):
            for c in range(half):
                frequency = 10000 ** (-2 * (c // 2) / half)
                wave = math.cos if c % 2 else math.sin
                for offset, value, n in ((0, y, height), (half, x, width)):
                    angle = 2 * math.pi * (value + 1) / (n + 1e-6) * frequency
                    assert encoding[0, y * width + x, offset + c].item() == pytest.approx(wave(angle), abs=1e-5)


def test_fourier_position_closed_form():
    position = FourierPosition(12, scale=1.5)
    encoding = position(3, 5)[0].view(3, 5, 12)
    matrix = position.positional_encoding_gaussian_matrix.double().numpy()
    for y in range(3):
        for x in range(5):
            point = 2 * np.array([(x + 0.5) / 5, (y + 0.5) / 3]) - 1
            angle = 2 * np.pi * point @ matrix
            expected = np.concatenate([np.sin(angle), np.cos(angle)])
            np.testing.assert_allclose(encoding[y, x].numpy(), expected, atol=1e-5)
    assert set(position.state_dict()) == {'positional_encoding_gaussian_matrix'}


@pytest.mark.parametrize(
    ('make', 'message'), [(lambda: sine_position(2, 2, 6), 'multiple of 4'), (lambda: FourierPosition(5), 'even')]
)
def test_position_encodings_refuse_bad_widths(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_layer_norm_2d_and_mlp():
    x = torch.randn(2, 6, 5, 3, dtype=torch.float64)
    norm = randomise(LayerNorm2d(6)).double()
    expected = (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + norm.eps).sqrt()
    expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)
    mlp = MLP(6, 10, 4, 3)
    assert [tuple(layer.weight.shape) for layer in mlp.layers] == [(10, 6), (10, 10), (4, 10)]
    reference = nn.Sequential(mlp.layers[0], nn.ReLU(), mlp.layers[1], nn.ReLU(), mlp.layers[2])
    y = torch.randn(3, 6)
    torch.testing.assert_close(mlp(y), reference(y))


def test_query_features_are_a_tuple_with_attributes():
    maps = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 2)]
    features = QueryFeatures(maps, queries=torch.ones(1, 3, 2), neck_mask=torch.ones(1, 1, 4, 4))
    assert isinstance(features, tuple)
    assert len(features) == 2
    assert features[1] is maps[1]
    for twin in (copy.deepcopy(features), pickle.loads(pickle.dumps(features))):
        assert torch.equal(twin.queries, features.queries)
        assert torch.equal(twin.neck_mask, features.neck_mask)
        assert twin.early_mask is None
        assert torch.equal(twin[0], maps[0])
    assert require_queries(features, 'X') is features.queries
    with pytest.raises(ValueError, match=r'X takes its queries from the features.*plain tuple'):
        require_queries(tuple(maps), 'X')


class Pools(nn.Module):
    def forward(self, x):
        return tuple(adaptive_mean(x, parts) for parts in (1, 2, 3, 6))


def test_adaptive_means_of_open_sizes_are_those_of_torch():
    dims = {2: torch.export.Dim('height', min=6, max=64), 3: torch.export.Dim('width', min=6, max=64)}
    x = torch.rand(2, 3, 20, 13, dtype=torch.float64)
    exported = torch.export.export(Pools(), (x,), dynamic_shapes=(dims,)).module()
    for size in ((20, 13), (6, 7), (31, 64), (48, 48)):
        x = torch.rand(2, 3, *size, dtype=torch.float64)
        for means, parts in zip(exported(x), (1, 2, 3, 6), strict=True):
            torch.testing.assert_close(means, F.adaptive_avg_pool2d(x, parts), rtol=1e-12, atol=1e-12)
