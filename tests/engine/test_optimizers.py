"""MuonAdamW against torch's own optimizers."""

import pytest
import torch
from mmengine.registry import OPTIMIZERS
from torch import nn

from mmirstd.engine.optimizers import MuonAdamW, orthogonalize


@pytest.mark.parametrize('shape', [(6, 20), (20, 6), (8, 8)])
def test_singular_values_come_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert values.min() > 0.6
    assert values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.cosine_similarity(orthogonalize(matrix).flatten(), (u @ v).flatten(), 0) > 0.97


def train(optimizer, model, steps=3):
    for i in range(steps):
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(i))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return dict(model.named_parameters())


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 1, 1))


def test_what_is_no_matrix_is_trained_by_adamw():
    """With gradients that do not depend on the matrices' weights, all else moves as by AdamW."""
    ours, theirs = network(), network()
    for model in (ours, theirs):
        model[0].requires_grad_(False)
    kwargs = dict(lr=0.01, weight_decay=0.1)
    got = train(MuonAdamW(ours.parameters(), **kwargs), ours)
    for name, expected in train(torch.optim.AdamW(theirs.parameters(), **kwargs), theirs).items():
        torch.testing.assert_close(got[name], expected)


@pytest.mark.skipif(not hasattr(torch.optim, 'Muon'), reason='torch.optim.Muon came with torch 2.9')
@pytest.mark.parametrize('shape', [(6, 20), (20, 6)])
def test_matrices_are_trained_as_by_torch(shape):
    torch.manual_seed(0)
    start, gradients = torch.randn(shape), torch.randn(3, *shape)
    ours, theirs = (nn.Parameter(start.clone()) for _ in range(2))
    for optimizer, p in (
        (MuonAdamW([ours], lr=0.01, weight_decay=0.1), ours),
        (torch.optim.Muon([theirs], lr=0.01, weight_decay=0.1, adjust_lr_fn='match_rms_adamw'), theirs),
    ):
        for gradient in gradients:
            p.grad = gradient.clone()
            optimizer.step()
    got, expected = ((p.detach() - start).flatten() for p in (ours, theirs))
    # torch's iterations are in bfloat16
    assert torch.cosine_similarity(got, expected, 0) > 0.999
    assert got.norm() / expected.norm() == pytest.approx(1, abs=0.005)


def test_a_state_continues():
    whole, halves = network(), network()
    train(MuonAdamW(whole.parameters(), lr=0.01), whole, 4)
    optimizer = MuonAdamW(halves.parameters(), lr=0.01)
    train(optimizer, halves, 2)
    state = optimizer.state_dict()
    optimizer = MuonAdamW(halves.parameters(), lr=0.01)
    optimizer.load_state_dict(state)
    for i in (2, 3):
        x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(i))
        optimizer.zero_grad()
        halves(x).square().mean().backward()
        optimizer.step()
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert halves[0].weight.grad is not None  # the gradients are there for whoever logs them


def test_it_is_built_by_name():
    optimizer = OPTIMIZERS.build(dict(type='mmirstd.MuonAdamW', params=network().parameters(), lr=0.1))
    assert isinstance(optimizer, MuonAdamW)
    with pytest.raises(ValueError, match=r'momentum must lie in \[0, 1\), got 1'):
        MuonAdamW(network().parameters(), momentum=1)
    for option in ('maximize', 'fused', 'capturable', 'differentiable', 'amsgrad'):
        with pytest.raises(ValueError, match=f'MuonAdamW: {option} is of AdamW alone'):
            MuonAdamW(network().parameters(), **{option: True})
