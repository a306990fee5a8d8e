"""Random masks and predictions, some of which nearly agree."""

import numpy as np


def random_mask(rng, shape):
    """Blobs, noise, stripes, or nothing, often touching the border."""
    kind = rng.integers(6)
    if kind == 0:
        return np.zeros(shape, bool)
    if kind == 1:
        return rng.random(shape) < rng.choice([0.02, 0.2, 0.5, 1.0])
    mask = np.zeros(shape, bool)
    for _ in range(rng.integers(1, 8)):
        row, col = rng.integers(-1, shape[0] + 1), rng.integers(-1, shape[1] + 1)
        height, width = rng.integers(1, 5, 2)
        mask[max(row, 0) : max(row + height, 0), max(col, 0) : max(col + width, 0)] = True
    return mask & (rng.random(shape) < 0.9) if kind == 2 else mask


def random_pair(rng):
    shape = tuple(rng.integers(1, 24, 2))
    gt = random_mask(rng, shape)
    kind = rng.integers(4)
    if kind == 0:
        pred = random_mask(rng, shape)
    elif kind == 1:
        pred = np.roll(gt, rng.integers(-3, 4, 2), (0, 1))
    elif kind == 2:
        pred = gt ^ (rng.random(shape) < 0.05)
    else:
        pred = np.roll(gt, rng.integers(-3, 4, 2), (0, 1)) | random_mask(rng, shape)
    return pred, gt
