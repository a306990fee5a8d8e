"""Parts of a network: which are found, what their means are over, and what stands in their place."""

from typing import NamedTuple

import pytest
import torch
from torch import nn

from mmirstd.apis.model_parts import list_parts, map_tensors, trace_outputs
from mmirstd.models.layers import QueryFeatures
from mmirstd.utils.errors import ArgumentError


class Exchange(nn.Module):
    """It is entered by another method than forward, as SimIR's sparse queries are."""

    def __init__(self):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, 4, 8))
        self.project = nn.Linear(8, 8)

    def meet(self, x):
        return x + self.project(self.queries).mean(1)[:, :, None, None]


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1))
        self.neck = nn.Module()
        self.neck.exchange = Exchange()
        self.neck.last = nn.Linear(8, 8)  # of maps (B, H, W, C)
        self.neck.rows = nn.Linear(8, 8)  # of pixels in rows (B, N, C)
        self.neck.idle = nn.Linear(8, 8)
        self.decode_head = nn.Conv2d(8, 1, 1)
        self.decode_head_token = nn.Embedding(2, 8)
        self.auxiliary_head = nn.Embedding(2, 8)

    def forward(self, image):
        x = self.neck.exchange.meet(self.backbone(image))
        x = x + self.neck.last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = x + self.neck.rows(x.flatten(2).transpose(1, 2)).transpose(1, 2).view_as(x)
        x = x * self.decode_head_token.weight.sum(0)[:, None, None]
        return self.decode_head(x)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network().requires_grad_(False)


def parts_of(model, size=(8, 8), **kwargs):
    images = [torch.randn(1, 3, *s) for s in (size, (2 * size[0], size[1]), (size[0], 2 * size[1]))]
    traced = trace_outputs(model, [lambda x=x: model(x) for x in images])
    return {part.name: part for part in list_parts(model, traced, **kwargs)}


def test_parts_that_run_are_found_and_their_means_are_over_space_or_tokens(network):
    found = parts_of(network)
    assert {name: (part.type, part.mean_over) for name, part in found.items()} == {
        'backbone.0': ('Conv2d', 'space'),
        'backbone.2': ('Conv2d', 'space'),
        'neck.exchange.queries': ('Parameter', 'tokens'),
        'neck.exchange.project': ('Linear', 'tokens'),
        'neck.last': ('Linear', 'space'),
        'neck.rows': ('Linear', 'space'),
        'decode_head': ('Conv2d', 'space'),
        'decode_head_token.weight': ('Parameter', 'tokens'),
    }
    assert found['neck.last'].axes[0, 4].axes == (1, 2)
    assert found['neck.rows'].axes[0, 3].axes == (1,)
    assert 'backbone' in parts_of(network, depth=1)
    assert 'backbone.0' not in parts_of(network, depth=1)


def test_patterns_choose_parts_of_any_level(network):
    assert list(parts_of(network, depth=1, patterns=['backbone', '*.project'])) == ['backbone', 'neck.exchange.project']
    with pytest.raises(ArgumentError, match=r'--parts neck\.idle: no part that runs .*; did you mean neck\.'):
        parts_of(network, patterns=['neck.l*', 'neck.idle'])


@pytest.mark.parametrize('size', [(8, 8), (5, 12)])
def test_zero_and_mean_stand_in_place_of_an_output(network, size):
    found = parts_of(network, size)
    image = torch.randn(2, 3, *size)
    before = network(image)
    outputs = {}
    for name in ('neck.last', 'neck.rows', 'neck.exchange.project'):
        network.get_submodule(name).register_forward_hook(lambda m, _, out, name=name: outputs.update({name: out}))
    with found['backbone.2'].replaced('zero'):
        rest = network.neck.exchange.meet(torch.zeros(2, 8, *size))
        network(image)
        torch.testing.assert_close(outputs['neck.last'], network.neck.last(rest.permute(0, 2, 3, 1)))
    for name, axes in (('neck.last', (1, 2)), ('neck.rows', (1,)), ('neck.exchange.project', (1,))):
        plain = network.get_submodule(name).forward
        with found[name].replaced('mean'):
            x = torch.randn(2, *size, 8) if name == 'neck.last' else torch.randn(2, 7, 8)
            torch.testing.assert_close(
                network.get_submodule(name).forward(x), plain(x).mean(axes, keepdim=True).expand_as(x)
            )
            assert not torch.equal(network(image), before) or name == 'neck.exchange.project'  # it is averaged anyhow
    assert torch.equal(network(image), before)


def test_parameters_are_replaced_and_come_back(network):
    queries = network.neck.exchange.queries
    saved = queries.clone()
    part = parts_of(network)['neck.exchange.queries']
    with part.replaced('mean'):
        torch.testing.assert_close(queries, saved.mean(1, keepdim=True).expand_as(saved))

    def fail():
        with part.replaced('zero'):
            assert not queries.any()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(queries, saved)


class Pair(NamedTuple):
    first: torch.Tensor
    second: int


def test_tensors_are_found_in_whatever_a_module_returns():
    x = torch.ones(2)
    features = QueryFeatures([x, x], queries=x, neck_mask=x)
    nested = {'a': [features, Pair(x, 3)], 'b': (None, torch.tensor(1), x)}
    seen = []
    new = map_tensors(lambda t: seen.append(t) or t * 0, nested)
    assert len(seen) == 6
    assert isinstance(new['a'][0], QueryFeatures)
    assert not new['a'][0].queries.any()
    assert new['a'][0].early_mask is None
    assert new['a'][1].second == 3
    assert new['b'][1] == 1
    assert features[0].all()
