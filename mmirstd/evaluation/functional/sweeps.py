"""Pixel and component figures at many thresholds in one pass over a set (numpy and scipy only).

:func:`pixel_sweep` and :func:`component_sweep` take one image, :func:`sum_sweeps` joins images, the sum gives curves.

Definitions. K ascending thresholds t in [0, 1) are given; a pixel with probability p is positive at t where p > t. A
threshold is first rounded to the type of the prediction (float16, float32 or float64), as numpy does with the Python
number in ``prediction > 0.1``. Bin 0 holds the pixels that are positive at no threshold, bin K those positive at all.
Counts at the given thresholds are exact. Areas (AUC, average precision) are exact for scores that were replaced by
their bin: probabilities between the same two thresholds are tied. "No pixel is positive" and "all are" are points of
each pixel curve. A mask is bool, labels 0 and 1, or the values 0 to 255 of a file, from 128 on target, as in ``exact``.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from scipy import special

from mmirstd.evaluation.functional.component_steps import component_steps
from mmirstd.evaluation.functional.exact import Counts, EmptyPolicy
from mmirstd.ops.components import Connectivity, label_components

Spacing = Literal['uniform', 'logit']
Sweep = TypeVar('Sweep', 'PixelSweep', 'ComponentSweep')


class Curve(NamedTuple):
    """Points (N,) from the highest threshold, 1 (no pixel is positive), to the lowest, -inf (all are)."""

    thresholds: np.ndarray
    x: np.ndarray
    y: np.ndarray


class Hindsight(NamedTuple):
    """A threshold chosen on the very images it is scored on, so that `value` is a bound and not a result."""

    threshold: float
    value: float


class OperatingPoint(NamedTuple):
    """A threshold with its Pd and its Fa, in false pixels per million."""

    threshold: float
    pd: float
    fa: float


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


@dataclass(frozen=True, eq=False)
class PixelSweep:
    """Numbers of target pixels and of other pixels in each of K + 1 bins, see the module; ``a + b`` joins two sets."""

    thresholds: np.ndarray
    target_bins: np.ndarray
    background_bins: np.ndarray
    images: int = 1

    def __add__(self, other: 'PixelSweep') -> 'PixelSweep':
        return sum_sweeps((self, other))

    @property
    def tp(self) -> np.ndarray:
        """(K,) target pixels above each threshold."""
        return _above(self.target_bins)

    @property
    def fp(self) -> np.ndarray:
        """(K,) other pixels above each threshold."""
        return _above(self.background_bins)

    @property
    def target_pixels(self) -> int:
        """All target pixels of the set."""
        return int(self.target_bins.sum())

    @property
    def background_pixels(self) -> int:
        """All other pixels of the set, ignored ones excepted."""
        return int(self.background_bins.sum())

    def figures(self) -> dict[str, np.ndarray]:
        """IoU, precision, recall (which is TPR), F1 and FPR, (K,) each; nan where a denominator is zero."""
        tp, fp = self.tp, self.fp
        fn = self.target_pixels - tp
        return {
            'IoU': ratios(tp, tp + fp + fn),
            'precision': ratios(tp, tp + fp),
            'recall': ratios(tp, tp + fn),
            'F1': ratios(2 * tp, 2 * tp + fp + fn),
            'FPR': ratios(fp, self.background_pixels),
        }

    def roc(self) -> Curve:
        """False positive rate (x) and true positive rate (y), K + 2 points; nan without target or background."""
        tp, fp = self._points()
        return Curve(self._ends(), ratios(fp, self.background_pixels), ratios(tp, self.target_pixels))

    def pr(self) -> Curve:
        """Recall (x) and precision (y), K + 2 points; the precision of no prediction is nan."""
        tp, fp = self._points()
        return Curve(self._ends(), ratios(tp, self.target_pixels), ratios(tp, tp + fp))

    def auc(self, max_fpr: float = 1.0) -> float:
        """Area under the ROC curve up to a false positive rate, divided by that rate; straight lines join the points.

        A perfect prediction has 1 for every `max_fpr`, chance has `max_fpr` / 2.
        """
        if not 0 < max_fpr <= 1:
            raise ValueError(f'max_fpr must lie in (0, 1], not {max_fpr!r}')
        _, x, y = self.roc()
        if np.isnan(x).any() or np.isnan(y).any():
            return math.nan
        stop = int(np.searchsorted(x, max_fpr, side='right'))
        if stop < len(x):
            end = y[stop - 1] + (y[stop] - y[stop - 1]) * (max_fpr - x[stop - 1]) / (x[stop] - x[stop - 1])
            x, y = np.append(x[:stop], max_fpr), np.append(y[:stop], end)
        return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2 / max_fpr)

    @property
    def average_precision(self) -> float:
        """Sum over the points of :meth:`pr` of precision times gain of recall, not interpolated; nan without target."""
        _, recall, precision = self.pr()
        gain = np.diff(recall, prepend=0)
        return math.nan if np.isnan(recall).any() else float((gain * np.where(gain > 0, precision, 0)).sum())

    def best_in_hindsight(self, figure: str = 'IoU') -> Hindsight:
        """The threshold with the highest IoU, precision, recall or F1; among equals the one nearest to 0.5."""
        return _best(self.thresholds, self.figures(), figure, ('IoU', 'precision', 'recall', 'F1'))

    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        return tuple(np.append(0, bins[::-1].cumsum()) for bins in (self.target_bins, self.background_bins))

    def _ends(self) -> np.ndarray:
        return np.concatenate([[1.0], self.thresholds[::-1], [-math.inf]])


@dataclass(frozen=True, eq=False)
class ComponentSweep:
    """The :class:`Counts` of a set at each of K thresholds; ``a + b`` joins two sets.

    What depends on the threshold is an array (K,), the rest a number; the names are those of :class:`Counts`.
    """

    thresholds: np.ndarray
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    detected: np.ndarray
    components: np.ndarray
    false_components: np.ndarray
    false_pixels: np.ndarray
    empty_images: np.ndarray
    iou_sum: np.ndarray
    pixels: int
    targets: int
    images: int
    target_images: int

    def __add__(self, other: 'ComponentSweep') -> 'ComponentSweep':
        return sum_sweeps((self, other))

    def counts(self, k: int) -> Counts:
        """The counts at threshold number `k`, equal to those of :func:`image_counts` added up."""
        values = ((f.name, getattr(self, f.name)) for f in fields(Counts))
        return Counts(**{name: v[k].item() if isinstance(v, np.ndarray) else v for name, v in values})

    def figures(self, *, empty: EmptyPolicy = 'skip') -> dict[str, np.ndarray]:
        """The figures of :func:`summarise` at every threshold, (K,) each."""
        return summarise_arrays({f.name: getattr(self, f.name) for f in fields(Counts)}, empty=empty)

    def pd_at_fa(self, max_fa: float) -> OperatingPoint:
        """In hindsight, the highest Pd among the thresholds whose Fa is at most `max_fa` (false pixels per million).

        Among equals the lowest Fa, then the threshold nearest to 0.5. Threshold 1, where nothing is predicted, is
        always one of them, so that there is an answer. Pd is nan where there is no target.
        """
        if not max_fa >= 0:
            raise ValueError(f'max_fa must not be negative, got {max_fa!r}')
        thresholds, fa, pd = self.pd_fa()
        inside = np.flatnonzero(fa <= max_fa)
        best = inside[np.lexsort((np.abs(thresholds[inside] - 0.5), fa[inside], -pd[inside]))[0]]
        return OperatingPoint(float(thresholds[best]), float(pd[best]), float(fa[best]))

    def pd_fa(self) -> Curve:
        """Fa in false pixels per million (x) and Pd (y) from threshold 1 down, K + 1 points.

        Neither need rise as the threshold falls: components grow together, and their centroids leave the targets.
        """
        figures = self.figures()
        fa, pd = (np.append(0.0, figures[name][::-1]) for name in ('Fa', 'Pd'))
        if not self.targets:
            pd[0] = math.nan
        return Curve(np.append(1.0, self.thresholds[::-1]), fa, pd)

    def pd_fa_area(self, max_fa: float) -> float:
        """Area from Fa 0 to `max_fa` under the highest Pd at no more than that Fa, divided by `max_fa`: in [0, 1].

        A step function, in hindsight as :meth:`pd_at_fa`: no line joins points of two thresholds. nan without target.
        """
        if not 0 < max_fa < math.inf:
            raise ValueError(f'max_fa must be positive, not {max_fa!r}')
        _, fa, pd = self.pd_fa()
        order = np.argsort(fa, kind='stable')
        fa, highest = fa[order], np.maximum.accumulate(pd[order])
        return float((np.diff(np.minimum(np.append(fa, math.inf), max_fa)) * highest).sum() / max_fa)

    def best_in_hindsight(self, figure: str = 'IoU', *, empty: EmptyPolicy = 'skip') -> Hindsight:
        """The threshold with the highest of a figure (all but Fa); among equals the one nearest to 0.5."""
        figures = self.figures(empty=empty)
        return _best(self.thresholds, figures, figure, tuple(name for name in figures if name != 'Fa'))


def pixel_sweep(
    prediction: np.ndarray,
    mask: np.ndarray,
    thresholds: Sequence[float] | np.ndarray,
    *,
    ignore: np.ndarray | None = None,
) -> PixelSweep:
    """Sweep the pixels of one image.

    `prediction` (H, W) holds floating probabilities, or is bool or {0, 1}, or uint8 with other values, which stand for
    value / 255; `mask` (H, W) is described in the module; pixels of `ignore` (H, W), bool, count nowhere. Raises
    ValueError on other shapes and values.
    """
    thresholds = checked_thresholds(thresholds)
    prediction, target, ignore = checked_pair(prediction, mask, ignore)
    bins = _bins(prediction, thresholds)
    if ignore is not None:
        bins, target = bins[~ignore], target[~ignore]
    every = np.bincount(bins.ravel(), minlength=len(thresholds) + 1)
    hit = np.bincount(bins[target], minlength=len(thresholds) + 1)
    return PixelSweep(thresholds, hit, every - hit)


def component_sweep(
    prediction: np.ndarray,
    mask: np.ndarray,
    thresholds: Sequence[float] | np.ndarray,
    *,
    ignore: np.ndarray | None = None,
    distance: float = 3.0,
    connectivity: Connectivity = 8,
) -> ComponentSweep:
    """Sweep the components of one image: what :func:`image_counts` gives at each threshold, exactly.

    Arguments as in :func:`pixel_sweep` and :func:`image_counts`. Thresholds between which no pixel changes share their
    work, and the rest are labelled together where anything is positive, so that hundreds of thresholds cost little
    above the noise of a prediction; below it every threshold costs a whole image.
    """
    thresholds = checked_thresholds(thresholds)
    prediction, target, ignore = checked_pair(prediction, mask, ignore)
    if not distance > 0:
        raise ValueError(f'distance must be positive, not {distance!r}')
    bins = _bins(prediction, thresholds)
    pixels = target.size
    if ignore is not None:
        bins = np.where(ignore, 0, bins)
        target = target & ~ignore
        pixels -= int(np.count_nonzero(ignore))
    targets = label_components(target, connectivity)
    target_pixels = targets.rows.size
    positive = _above(np.bincount(bins.ravel(), minlength=len(thresholds) + 1))
    tp = _above(np.bincount(bins[targets.rows, targets.cols], minlength=len(thresholds) + 1))
    union = positive + target_pixels - tp
    levels, objects = component_steps(bins, targets, distance, connectivity)
    # The positives at threshold k are those of the first level above it; above the last one there are none.
    at = np.searchsorted(levels, np.arange(1, len(thresholds) + 1))
    detected, components, hit_pixels = np.append(objects, np.zeros((1, 3), np.int64), axis=0)[at].T
    return ComponentSweep(
        thresholds=thresholds,
        tp=tp,
        fp=positive - tp,
        fn=target_pixels - tp,
        detected=detected,
        components=components,
        false_components=components - detected,
        false_pixels=positive - hit_pixels,
        empty_images=(union == 0).astype(np.int64),
        iou_sum=tp / np.maximum(union, 1),
        pixels=pixels,
        targets=len(targets),
        images=1,
        target_images=int(len(targets) > 0),
    )


def sum_sweeps(sweeps: Iterable[Sweep]) -> Sweep:
    """Join sweeps of one kind and of the same thresholds. IoUs are added with one rounding, in any order the same."""
    sweeps = list(sweeps)
    if not sweeps:
        raise ValueError('there is no sweep to add up')
    kind, thresholds = type(sweeps[0]), sweeps[0].thresholds
    for sweep in sweeps:
        if type(sweep) is not kind:
            raise TypeError(f'cannot add {kind.__name__} and {type(sweep).__name__}')
        if not np.array_equal(sweep.thresholds, thresholds):
            raise ValueError('sweeps over different thresholds cannot be added')
    total = {'thresholds': thresholds}
    for name in (f.name for f in fields(kind) if f.name != 'thresholds'):
        values = [getattr(s, name) for s in sweeps]
        if name == 'iou_sum':
            total[name] = np.array([math.fsum(column) for column in np.stack(values, axis=1).tolist()])
        else:
            total[name] = sum(values[1:], values[0])
    return kind(**total)


def summarise_arrays(counts: Mapping[str, np.ndarray | float], *, empty: EmptyPolicy = 'skip') -> dict[str, np.ndarray]:
    """:func:`summarise` of N sets: `counts` maps the fields of :class:`Counts` to arrays (N,) or numbers."""
    if empty not in ('skip', 0, 1):
        raise ValueError(f"empty must be 'skip', 0 or 1, not {empty!r}")
    c = {name: np.asarray(value) for name, value in counts.items()}
    union = c['tp'] + c['fp'] + c['fn']
    if empty == 'skip':
        niou = ratios(c['iou_sum'], c['images'] - c['empty_images'])
    else:
        niou = ratios(c['iou_sum'] + empty * c['empty_images'], c['images'])
    figures = {
        'IoU': ratios(c['tp'], union),
        'nIoU': niou,
        'Pd': ratios(c['detected'], c['targets']),
        'Fa': ratios(c['false_pixels'] * 1e6, c['pixels']),
        'precision': ratios(c['tp'], c['tp'] + c['fp']),
        'recall': ratios(c['tp'], c['tp'] + c['fn']),
        'F1': ratios(2 * c['tp'], c['tp'] + union),
    }
    return dict(zip(figures, np.broadcast_arrays(*figures.values()), strict=True))


def checked_thresholds(thresholds: Sequence[float] | np.ndarray) -> np.ndarray:
    """Thresholds as float64 (K,); ValueError unless they ascend strictly in [0, 1)."""
    thresholds = np.asarray(thresholds, np.float64)
    if thresholds.ndim != 1 or not thresholds.size:
        raise ValueError(f'thresholds must be a sequence of at least one number, got shape {thresholds.shape}')
    if not (np.diff(thresholds) > 0).all() or not (thresholds[0] >= 0 and thresholds[-1] < 1):
        raise ValueError(f'thresholds must ascend strictly and lie in [0, 1), got {thresholds.tolist()[:5]}, ...')
    return thresholds


def checked_pair(
    prediction: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Floating probabilities, bool targets and ignored pixels (None: none), each (H, W), from what callers may give.

    See :func:`pixel_sweep`; raises ValueError naming what is wrong.
    """
    prediction, mask = np.asarray(prediction), np.asarray(mask)
    if prediction.ndim != 2 or prediction.shape != mask.shape or not prediction.size:
        raise ValueError(f'prediction and mask must be (H, W) and alike, got {prediction.shape} and {mask.shape}')
    if prediction.dtype == np.uint8 and prediction.max() > 1:
        prediction = prediction / np.float32(255)
    elif prediction.dtype == bool or np.issubdtype(prediction.dtype, np.integer):
        if prediction.min() < 0 or prediction.max() > 1:
            raise ValueError(f'an integer prediction must hold 0 and 1 or be uint8, got {prediction.dtype} with others')
        prediction = prediction.astype(np.float32)
    elif prediction.dtype not in (np.float16, np.float32, np.float64):
        raise ValueError(f'probabilities must be float16, float32 or float64, not {prediction.dtype}')
    low, high = prediction.min(), prediction.max()  # either is nan as soon as one value is
    if not (low >= 0 and high <= 1):
        raise ValueError(f'probabilities must be finite and in [0, 1], got [{low:g}, {high:g}]; are these logits?')
    if mask.dtype == bool:
        target = mask
    elif np.issubdtype(mask.dtype, np.integer):
        low, high = mask.min(), mask.max()
        if low < 0 or high > 255:
            raise ValueError(f'the values of a mask must lie in 0 to 255, got {low} to {high}')
        target = mask >= (128 if high > 1 else 1)
    else:
        raise ValueError(f'a mask must be boolean or integer, not {mask.dtype}')
    if ignore is None:
        return prediction, target, None
    ignore = np.asarray(ignore)
    if ignore.dtype != bool or ignore.shape != mask.shape:
        raise ValueError(f'ignore must be bool {mask.shape}, got {ignore.dtype} {ignore.shape}')
    return prediction, target, ignore if ignore.any() else None


def _above(bins: np.ndarray) -> np.ndarray:
    """(K,) numbers of pixels above each threshold from the numbers in K + 1 bins."""
    return bins[:0:-1].cumsum()[::-1]


def ratios(numerator: np.ndarray, denominator: np.ndarray | int) -> np.ndarray:
    """Element by element, nan where the denominator is zero."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)


def _best(thresholds: np.ndarray, figures: Mapping[str, np.ndarray], name: str, allowed: Sequence[str]) -> Hindsight:
    if name not in allowed:
        raise ValueError(f'figure must be one of {", ".join(allowed)}, not {name!r}')
    values = figures[name]
    defined = np.flatnonzero(~np.isnan(values))
    if not defined.size:
        return Hindsight(math.nan, math.nan)
    best = defined[np.lexsort((np.abs(thresholds[defined] - 0.5), -values[defined]))[0]]
    return Hindsight(float(thresholds[best]), float(values[best]))


def _bins(prediction: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
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
