"""Weights that PyTorch would convert on their way into a model, and so lose, are refused."""

import pytest
import torch
from torch import nn

from mmirstd.checkpoints.fitting import load_fitting, load_strict
from mmirstd.checkpoints.state_dict import CheckpointError


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


@pytest.mark.parametrize('load', [load_strict, load_fitting])
@pytest.mark.parametrize(
    ('change', 'kind'),
    [
        (lambda v: v.to(torch.int8), 'int8'),
        (lambda v: v > 0, 'bool'),
        (lambda v: v.to(torch.complex64), 'complex64'),
        (lambda v: v.to_sparse(), 'sparse_coo'),
        (lambda v: v.to('meta'), 'without values'),
    ],
)
def test_numbers_of_another_kind(model, load, change, kind):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=rf'a\.pth: 1 of its tensors are no such weights .* \(0\.weight {kind}\)'):
        load(model, before | {'0.weight': change(before['0.weight'])}, 'a.pth')
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_fit(model, dtype):
    weights = {k: v.to(dtype) if v.is_floating_point() else v for k, v in model.state_dict().items()}
    weights['0.weight'] = torch.full((3, 2), 0.5, dtype=dtype)
    load_strict(model, weights, 'a.pth')
    assert model[0].weight.dtype == torch.float32
    assert (model[0].weight == 0.5).all()
