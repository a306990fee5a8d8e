"""How far figures would move with other images of the same kind: percentile bootstrap over images.

A resample draws as many images as there are, with replacement, adds their counts up and computes every figure from the
sums; the interval of a figure lies between two quantiles of its values. Images are taken as independent: frames of one
sequence are not, and their intervals are too narrow. So are those of fewer than about 30 images. The interval says
nothing of another training run. B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np

from mmirstd.evaluation.functional.counts import ProtocolCounts
from mmirstd.evaluation.functional.exact import Counts, EmptyPolicy
from mmirstd.evaluation.functional.protocols import Protocol
from mmirstd.evaluation.functional.sweeps import ratios, summarise_arrays

_DRAWS_AT_ONCE = 2**21


class Interval(NamedTuple):
    """Bounds of a figure, in its unit."""

    low: float
    high: float


def resampled_figures(
    counts: Sequence[Counts] | Sequence[ProtocolCounts],
    protocol: Protocol | None = None,
    *,
    resamples: int = 10_000,
    seed: int = 0,
    empty: EmptyPolicy = 'skip',
) -> dict[str, np.ndarray]:
    """Every figure of each resample, (resamples,) float64; nan where it is not defined.

    Args:
        counts: Of each image, all :class:`Counts`, or all :class:`ProtocolCounts` of one protocol.
        protocol: That of the :class:`ProtocolCounts`; None for :class:`Counts`.
        resamples: How many.
        seed: Sets of equally many images are resampled alike with the same seed, image by image.
        empty: For :class:`Counts`, as in :func:`summarise`; a protocol has its own rule.

    Raises:
        ValueError: If there is no image, or the counts are not what `protocol` needs.
    """
    counts = list(counts)
    kind = Counts if protocol is None else ProtocolCounts
    if not counts:
        raise ValueError('there is no image to resample')
    wrong = [type(c).__name__ for c in counts if type(c) is not kind]
    if wrong:
        given = 'without a protocol' if protocol is None else f'with protocol {protocol.name}'
        raise ValueError(f'{given} the counts must be {kind.__name__}, got {wrong[0]}')
    if any(c.images != 1 for c in counts):
        raise ValueError('resampling needs the counts of single images, not of sets')
    if resamples < 1:
        raise ValueError(f'resamples must be at least 1, not {resamples!r}')
    names = [f.name for f in fields(kind)]
    columns = [np.array([getattr(c, name) for c in counts], np.float64).reshape(len(counts), -1) for name in names]
    sums = np.concatenate([weights @ np.concatenate(columns, 1) for weights in _weights(len(counts), resamples, seed)])
    ends = np.cumsum([column.shape[1] for column in columns])
    resampled = dict(zip(names, np.split(sums, ends[:-1], axis=1), strict=True))
    if protocol is None:
        return summarise_arrays({name: values[:, 0] for name, values in resampled.items()}, empty=empty)
    return _protocol_figures(resampled, protocol, counts[-1].last_pixels)


def bootstrap_intervals(
    counts: Sequence[Counts] | Sequence[ProtocolCounts],
    protocol: Protocol | None = None,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    empty: EmptyPolicy = 'skip',
) -> dict[str, Interval]:
    """Percentile interval at confidence `level` of every figure; arguments as in :func:`resampled_figures`.

    Resamples in which a figure is not defined are left out of its interval; nan if there are no others.
    """
    figures = resampled_figures(counts, protocol, resamples=resamples, seed=seed, empty=empty)
    return {name: _interval(values, level) for name, values in figures.items()}


def bootstrap_differences(
    counts: Sequence[Counts] | Sequence[ProtocolCounts],
    others: Sequence[Counts] | Sequence[ProtocolCounts],
    protocol: Protocol | None = None,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    empty: EmptyPolicy = 'skip',
) -> dict[str, Interval]:
    """Intervals of the first figure minus the second, of two predictions of the same images in the same order.

    Both are resampled alike, so that what makes an image hard for both does not blur the difference: one without 0 in
    its interval is more than chance of the images.
    """
    if len(counts) != len(others):
        raise ValueError(f'the predictions must be of the same images, got {len(counts)} and {len(others)}')
    options = {'resamples': resamples, 'seed': seed, 'empty': empty}
    first, second = (resampled_figures(c, protocol, **options) for c in (counts, others))
    return {name: _interval(first[name] - second[name], level) for name in first}


def _weights(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is in each resample, (some resamples, images) float64."""
    rng = np.random.default_rng(seed)
    step = max(1, _DRAWS_AT_ONCE // images)
    for start in range(0, resamples, step):
        number = min(step, resamples - start)
        drawn = rng.integers(images, size=(number, images)) + images * np.arange(number)[:, None]
        yield np.bincount(drawn.ravel(), minlength=number * images).reshape(number, images).astype(np.float64)


def _interval(values: np.ndarray, level: float) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f'level must lie in (0, 1), not {level!r}')
    defined = values[~np.isnan(values)]
    if not defined.size:
        return Interval(math.nan, math.nan)
    return Interval(*np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]).tolist())


def _protocol_figures(counts: Mapping[str, np.ndarray], p: Protocol, last_pixels: int) -> dict[str, np.ndarray]:
    """:func:`protocol_figures` of R sets at once, from (R, 1) and (R, bins + 1) counts.

    The last image, where a protocol takes the pixels of all from it, stays the last one of the set.
    """
    c = {name: values[:, 0] if values.shape[1] == 1 else values for name, values in counts.items()}
    if p.niou_empty == 'skip':
        niou = ratios(c['iou_sum'], c['images'] - c['empty_images'])
    else:
        niou = ratios(c['iou_sum'] + p.niou_empty * c['empty_images'], c['images'])
    precision = ratios(c['tp'], c['tp'] + c['fp'] + p.ratio_eps)
    recall = ratios(c['tp'], c['tp'] + c['fn'] + p.ratio_eps)
    if p.ratio_eps or p.f1_eps:
        f1 = ratios(2 * recall * precision, recall + precision + p.f1_eps)
    else:
        f1 = ratios(2 * c['tp'], 2 * c['tp'] + c['fp'] + c['fn'])
    figures = {
        'IoU': ratios(c['inter'], c['union'] + p.iou_eps),
        'nIoU': niou,
        'Pd': ratios(c['detected'], c['targets']),
        'Fa': ratios(
            c['false_area'] * 1e6, last_pixels * c['fa_images'] if p.fa_denominator == 'last' else c['fa_pixels']
        ),
        'precision': precision,
        'recall': recall,
        'F1': f1,
    }
    if p.auc_bins is not None:
        x = ratios(c['auc_false'], c['auc_false'][:, :1])
        y = ratios(c['auc_detected'], c['targets'][:, None])
        figures['AUC'] = ((x[:, :-1] - x[:, 1:]) * (y[:, :-1] + y[:, 1:]) / 2).sum(1)
    return figures
