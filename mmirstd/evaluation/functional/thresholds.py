"""Thresholds of a sweep, and which of them a probability is above."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import special

Spacing = Literal['uniform', 'logit']


def sweep_thresholds(number: int, spacing: Spacing = 'uniform', *, limit: float = 16.0) -> np.ndarray:
    """Ascending thresholds in (0, 1), symmetric about 0.5, which is one of them if `number` is odd.

    ``'uniform'`` gives k / (number + 1); ``'logit'`` gives the sigmoid of evenly spaced logits from -`limit` to
    `limit`, for networks whose output is nearly binary: between uniform thresholds most of their pixels are tied. The
    highest float32 below 1 has a logit of 16.6, but small probabilities reach far below: a `limit` of 30 brings the AUC
    of a pixel sweep nearer to that of the probabilities. A component sweep takes its time for the noise at low
    thresholds, and a `limit` of 9 spares it.
    """
    if number < 1:
        raise ValueError(f'number of thresholds must be at least 1, not {number!r}')
    if spacing == 'uniform':
        return np.arange(1, number + 1) / (number + 1)
    if spacing != 'logit':
        raise ValueError(f"spacing must be 'uniform' or 'logit', not {spacing!r}")
    if not 0 < limit <= 36:
        raise ValueError(f'limit must lie in (0, 36], beyond which float64 has 1, not {limit!r}')
    return special.expit(np.arange(1 - number, number, 2) * (limit / max(number - 1, 1)))


def checked_thresholds(thresholds: Sequence[float] | np.ndarray) -> np.ndarray:
    """Thresholds as float64 (K,); ValueError unless they ascend strictly in [0, 1)."""
    thresholds = np.asarray(thresholds, np.float64)
    if thresholds.ndim != 1 or not thresholds.size:
        raise ValueError(f'thresholds must be a sequence of at least one number, got shape {thresholds.shape}')
    if not (np.diff(thresholds) > 0).all() or not (thresholds[0] >= 0 and thresholds[-1] < 1):
        raise ValueError(f'thresholds must ascend strictly and lie in [0, 1), got {thresholds.tolist()[:5]}, ...')
    return thresholds


def above(bins: np.ndarray) -> np.ndarray:
    """(K,) numbers of pixels above each threshold from the numbers in K + 1 bins."""
    return bins[:0:-1].cumsum()[::-1]


def bin_numbers(prediction: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(H, W) intp: number of thresholds below each probability, after rounding them to its type."""
    thresholds = thresholds.astype(prediction.dtype)
    if prediction.dtype == np.float16:
        prediction, thresholds = prediction.astype(np.float32), thresholds.astype(np.float32)
    bins, exact = _bin_table(thresholds.tobytes(), prediction.dtype.str)
    prediction = np.ascontiguousarray(prediction + prediction.dtype.type(0))  # + 0 makes -0 positive
    shift = 8 * prediction.itemsize - 16
    key = prediction.view(f'u{prediction.itemsize}') >> shift
    found = bins[key]
    rest = ~exact[key]
    if rest.any():
        found[rest] = np.searchsorted(thresholds, prediction[rest], side='left')
    return found


@lru_cache(maxsize=8)
def _bin_table(thresholds: bytes, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """By the upper 16 bits of a probability: the bin of the lowest such number, and whether it is that of all.

    Numbers that are not negative have the order of their bits.
    """
    kind = np.dtype(dtype)
    shift = 8 * kind.itemsize - 16
    unsigned = np.dtype(f'u{kind.itemsize}')
    last = int(np.ones(1, kind).view(unsigned)[0]) >> shift
    low = np.arange(last + 1, dtype=unsigned) << unsigned.type(shift)
    high = low | unsigned.type((1 << shift) - 1)
    edges = np.frombuffer(thresholds, kind)
    bins, top = (np.searchsorted(edges, numbers.view(kind), side='left') for numbers in (low, high))
    return bins, bins == top
