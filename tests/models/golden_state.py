"""Weights and inputs that a rule makes, so that a published network and its port can be given the same without a file.

The rule: every tensor of a state dict is drawn by NumPy's PCG64 seeded with the CRC-32 of its published name, in
float64. Running variances are uniform in [0.5, 1.5], other statistics, norm weights and biases are normal with standard
deviation 0.3 (norm weights around 1), and weights of more than one axis are normal with variance 2 / fan-in.
Embeddings, which are no projections, are standard normal: they have no `weight` in their names, or these end in
`query...weight` or `embed...weight`.
"""

import re
import zlib

import numpy as np
import pytest
import torch


def drawn(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The tensor of a published name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith('num_batches_tracked'):
        return torch.tensor(1)
    if name.endswith('running_var'):
        return torch.from_numpy(rng.uniform(0.5, 1.5, shape))
    if len(shape) > 1 and ('weight' not in name or re.search(r'(query|embed)\w*\.weight$', name)):
        return torch.from_numpy(rng.normal(size=shape))
    if len(shape) > 1:
        return torch.from_numpy(rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape))
    return torch.from_numpy(rng.normal(1.0 if name.endswith('weight') else 0.0, 0.3, shape))


def image(seed: int, *shape: int) -> torch.Tensor:
    """A random input of a shape."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def golden_difference(x: torch.Tensor, expected: dict) -> float:
    """The distance of a map from the values of a golden file, over their norm; the shapes must be the same."""
    assert list(x.shape) == expected['shape']
    x = x.detach().double().flatten()
    values = torch.tensor(expected['values'], dtype=torch.float64)
    assert x.mean().item() == pytest.approx(expected['mean'], abs=1e-4 * expected['std'])
    assert x.std().item() == pytest.approx(expected['std'], rel=1e-4)
    return ((x[:: max(1, len(x) // 50)] - values).norm() / values.norm()).item()
