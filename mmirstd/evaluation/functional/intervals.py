"""How far metrics would move with other images of the same kind: percentile bootstrap over images.

A resample draws as many images as there are, with replacement, adds their counts up and computes every metric from the
sums; the interval of a metric lies between two quantiles of its values. Images are taken as independent: frames of one
sequence are not, and their intervals are too narrow. So are those of fewer than about 30 images. The interval says
nothing of another training run. B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np

from mmirstd.evaluation.functional.counts import Counts
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.evaluation.functional.protocols import Protocol, ProtocolLike, get_protocol

_DRAWS_AT_ONCE = 2**21


class Interval(NamedTuple):
    """Bounds of a metric, in its unit."""

    low: float
    high: float


def bootstrap_intervals(
    counts: Sequence[Counts],
    protocol: ProtocolLike = 'exact',
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile interval at confidence `level` of every metric.

    Resamples in which a metric is not defined are left out of its interval; nan if there are no others.

    Args:
        counts: Of each image, by this protocol.
        protocol: What :func:`get_protocol` takes.
        level: Confidence in (0, 1).
        resamples: How many.
        seed: Of the draws; sets of equally many images are resampled alike with the same seed.

    Raises:
        ValueError: If there is no image, the counts are of sets, or a number is not allowed.
    """
    return _intervals([counts], get_protocol(protocol), level, resamples, seed)


def bootstrap_differences(
    counts: Sequence[Counts],
    others: Sequence[Counts],
    protocol: ProtocolLike = 'exact',
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of the first metric minus the second, of two predictions of the same images in the same order.

    Both are resampled alike, so that what makes an image hard for both does not blur the difference: one without 0 in
    its interval is more than chance of the images. Arguments as in :func:`bootstrap_intervals`.
    """
    if len(counts) != len(others):
        raise ValueError(f'the predictions must be of the same images, got {len(counts)} and {len(others)}')
    return _intervals([counts, others], get_protocol(protocol), level, resamples, seed)


def resampled_metrics(
    counts: Sequence[Counts], protocol: ProtocolLike = 'exact', *, resamples: int = 10_000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Every metric of each resample, (resamples,) float64; nan where it is not defined."""
    return _distribution([counts], get_protocol(protocol), resamples, seed)


def _intervals(
    predictions: Sequence[Sequence[Counts]], protocol: Protocol, level: float, resamples: int, seed: int
) -> dict[str, Interval]:
    if not 0 < level < 1:
        raise ValueError(f'level must lie in (0, 1), not {level!r}')
    found = {}
    for name, values in _distribution(predictions, protocol, resamples, seed).items():
        defined = values[~np.isnan(values)]
        bounds = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]).tolist() if defined.size else [math.nan] * 2
        found[name] = Interval(*bounds)
    return found


def _distribution(
    predictions: Sequence[Sequence[Counts]], protocol: Protocol, resamples: int, seed: int
) -> dict[str, np.ndarray]:
    """Every metric of the resamples of one prediction, or how much more it is than that of a second one."""
    images = len(predictions[0])
    if not images:
        raise ValueError('there is no image to resample')
    if any(c.images != 1 for counts in predictions for c in counts):
        raise ValueError('resampling needs the counts of single images, not of sets')
    if resamples < 1:
        raise ValueError(f'resamples must be at least 1, not {resamples!r}')
    from scipy import stats  # takes half a second to import

    tables = [_Table(counts, protocol) for counts in predictions]

    def statistic(indices: np.ndarray, axis: int = -1) -> np.ndarray:
        """(metrics, resamples) from drawn images (resamples, images)."""
        drawn = indices.reshape(-1, images)
        shifted = drawn + images * np.arange(len(drawn))[:, None]
        weights = np.bincount(shifted.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
        first, *second = (table.metrics(weights) for table in tables)
        return first - second[0] if second else first

    # SciPy refuses to resample one image: every resample is that image.
    if images == 1:
        values = np.repeat(statistic(np.zeros((1, 1), np.int64)), resamples, axis=1)
    else:
        with warnings.catch_warnings():  # of undefined metrics, which the intervals leave out
            warnings.simplefilter('ignore', stats.DegenerateDataWarning)
            values = stats.bootstrap(
                (np.arange(images),),
                statistic,
                n_resamples=resamples,
                batch=max(1, _DRAWS_AT_ONCE // images),
                vectorized=True,
                method='percentile',
                random_state=np.random.default_rng(seed),
            ).bootstrap_distribution
    return dict(zip(tables[0].names, values, strict=True))


class _Table:
    """The counts of N images as columns, and the metrics of weighted sums of them."""

    def __init__(self, counts: Sequence[Counts], protocol: Protocol) -> None:
        self.protocol = protocol
        self.last_pixels = counts[-1].last_pixels
        self.fields = [f.name for f in fields(Counts)]
        columns = [np.array([getattr(c, name) for c in counts], np.float64) for name in self.fields]
        self.curves = [column.ndim == 2 for column in columns]
        columns = [column.reshape(len(counts), -1) for column in columns]
        self.columns, self.ends = np.concatenate(columns, axis=1), np.cumsum([c.shape[1] for c in columns])[:-1]
        self.names = list(compute_metrics(counts[0], protocol))

    def metrics(self, weights: np.ndarray) -> np.ndarray:
        """(metrics, R) of R sets with weights (R, N) of the images.

        The last image, where a protocol takes the pixels of all from it, stays the last one of the set.
        """
        sums = np.split(weights @ self.columns, self.ends, axis=1)
        parts = zip(self.fields, sums, self.curves, strict=True)
        counts = {name: values if curve else values[:, 0] for name, values, curve in parts}
        counts['last_pixels'] = self.last_pixels
        return np.stack(list(compute_metrics(Counts(**counts), self.protocol).values()))
