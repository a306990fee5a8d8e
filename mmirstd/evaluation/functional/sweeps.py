"""Pixel and component metrics at many thresholds in one pass over a set (numpy and scipy only).

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
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from mmirstd.evaluation.functional.component_steps import component_steps
from mmirstd.evaluation.functional.counts import Counts, image_iou, sum_counts
from mmirstd.evaluation.functional.metrics import compute_metrics, ratio
from mmirstd.evaluation.functional.protocols import EmptyPolicy, get_protocol
from mmirstd.evaluation.functional.thresholds import above, bin_numbers, checked_thresholds
from mmirstd.ops.components import Connectivity, label_components
from mmirstd.ops.pairs import CheckedPair, checked_pair

Sweep = TypeVar('Sweep', 'PixelSweep', 'ComponentSweep')
PIXEL_METRICS = ('IoU', 'precision', 'recall', 'F1')


class Curve(NamedTuple):
    """Points (N,) from the highest threshold, 1 (no pixel is positive), to the lowest, -inf (all are)."""

    thresholds: np.ndarray
    x: np.ndarray
    y: np.ndarray


class OracleThreshold(NamedTuple):
    """A threshold chosen on the very images it is scored on, so that `value` is a bound and not a result."""

    threshold: float
    value: float


class OperatingPoint(NamedTuple):
    """A threshold with its Pd and its Fa, in false pixels per million."""

    threshold: float
    pd: float
    fa: float


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
        return above(self.target_bins)

    @property
    def fp(self) -> np.ndarray:
        """(K,) other pixels above each threshold."""
        return above(self.background_bins)

    @property
    def target_pixels(self) -> int:
        """All target pixels of the set."""
        return int(self.target_bins.sum())

    @property
    def background_pixels(self) -> int:
        """All other pixels of the set, ignored ones excepted."""
        return int(self.background_bins.sum())

    def metrics(self) -> dict[str, np.ndarray]:
        """IoU, precision, recall (which is TPR), F1 and FPR, (K,) each; nan where a denominator is zero."""
        tp, fp = self.tp, self.fp
        fn = self.target_pixels - tp
        found = compute_metrics(Counts(tp=tp, fp=fp, fn=fn, inter=tp, union=tp + fp + fn))
        return {name: found[name] for name in PIXEL_METRICS} | {'FPR': ratio(fp, self.background_pixels)}

    def roc(self) -> Curve:
        """False positive rate (x) and true positive rate (y), K + 2 points; nan without target or background."""
        tp, fp = self._points()
        return Curve(self._ends(), ratio(fp, self.background_pixels), ratio(tp, self.target_pixels))

    def pr(self) -> Curve:
        """Recall (x) and precision (y), K + 2 points; the precision of no prediction is nan."""
        tp, fp = self._points()
        return Curve(self._ends(), ratio(tp, self.target_pixels), ratio(tp, tp + fp))

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

    def oracle_threshold(self, metric: str = 'IoU') -> OracleThreshold:
        """The threshold with the highest IoU, precision, recall or F1; among equals the one nearest to 0.5."""
        return _best(self.thresholds, self.metrics(), metric, PIXEL_METRICS)

    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        return tuple(np.append(0, bins[::-1].cumsum()) for bins in (self.target_bins, self.background_bins))

    def _ends(self) -> np.ndarray:
        return np.concatenate([[1.0], self.thresholds[::-1], [-math.inf]])


@dataclass(frozen=True, eq=False)
class ComponentSweep:
    """The :class:`Counts` of a set at each of K thresholds, as arrays (K,); ``a + b`` joins two sets.

    ``sweep.counts[k]`` are those at threshold number k, equal to those of :func:`image_counts` added up.
    """

    thresholds: np.ndarray
    counts: Counts

    def __add__(self, other: 'ComponentSweep') -> 'ComponentSweep':
        return sum_sweeps((self, other))

    def metrics(self, *, empty: EmptyPolicy = 'skip') -> dict[str, np.ndarray]:
        """The metrics of ``exact`` at every threshold, (K,) each; `empty` is `niou_empty` of :class:`Protocol`."""
        found = compute_metrics(self.counts, 'exact', niou_empty=empty)
        return {name: np.broadcast_to(values, self.thresholds.shape) for name, values in found.items()}

    def pd_at_fa(self, max_fa: float) -> OperatingPoint:
        """The highest Pd among the oracle thresholds whose Fa is at most `max_fa` (false pixels per million).

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
        metrics = self.metrics()
        fa, pd = (np.append(0.0, metrics[name][::-1]) for name in ('Fa', 'Pd'))
        if not self.counts.targets:
            pd[0] = math.nan
        return Curve(np.append(1.0, self.thresholds[::-1]), fa, pd)

    def pd_fa_area(self, max_fa: float) -> float:
        """Area from Fa 0 to `max_fa` under the highest Pd at no more than that Fa, divided by `max_fa`: in [0, 1].

        A step function of oracle thresholds as :meth:`pd_at_fa`: no line joins points of two thresholds.
        nan without target.
        """
        if not 0 < max_fa < math.inf:
            raise ValueError(f'max_fa must be positive, not {max_fa!r}')
        _, fa, pd = self.pd_fa()
        order = np.argsort(fa, kind='stable')
        fa, highest = fa[order], np.maximum.accumulate(pd[order])
        return float((np.diff(np.minimum(np.append(fa, math.inf), max_fa)) * highest).sum() / max_fa)

    def oracle_threshold(self, metric: str = 'IoU', *, empty: EmptyPolicy = 'skip') -> OracleThreshold:
        """The threshold with the highest value of a metric (all but Fa); among equals the one nearest to 0.5."""
        metrics = self.metrics(empty=empty)
        return _best(self.thresholds, metrics, metric, tuple(name for name in metrics if name != 'Fa'))


def pixel_sweep(
    prediction: np.ndarray,
    mask: np.ndarray,
    thresholds: Sequence[float] | np.ndarray,
    *,
    ignore: np.ndarray | None = None,
) -> PixelSweep:
    """Sweep the pixels of one image.

    Args:
        prediction: (H, W), see :func:`mmirstd.ops.pairs.checked_pair`, like `mask` and `ignore`.
        mask: (H, W); of the values of a file those from 128 on are target.
        thresholds: K thresholds, ascending, in [0, 1).
        ignore: (H, W) bool, pixels that count nowhere.

    Raises:
        ValueError: On other shapes and values.

    >>> pixel_sweep(np.array([[0.2, 0.9]]), np.array([[0, 1]]), [0.1, 0.5]).fp.tolist()
    [1, 0]
    """
    thresholds = checked_thresholds(thresholds)
    prediction, target, ignore = _checked(prediction, mask, ignore)
    bins = bin_numbers(prediction, thresholds)
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

    Arguments as in :func:`pixel_sweep`; `distance` and `connectivity` are fields of :class:`Protocol`. Thresholds
    between which no pixel changes share their work, and the rest are labeled together where anything is positive, so
    that hundreds of thresholds cost little above the noise of a prediction; below it every threshold costs a whole
    image.
    """
    thresholds = checked_thresholds(thresholds)
    get_protocol('exact', distance=distance, connectivity=connectivity)  # refuses wrong ones
    prediction, target, ignore = _checked(prediction, mask, ignore)
    bins = bin_numbers(prediction, thresholds)
    pixels = target.size
    if ignore is not None:
        bins = np.where(ignore, 0, bins)
        target = target & ~ignore
        pixels -= int(np.count_nonzero(ignore))
    targets = label_components(target, connectivity)
    area = targets.rows.size
    positive = above(np.bincount(bins.ravel(), minlength=len(thresholds) + 1))
    tp = above(np.bincount(bins[targets.rows, targets.cols], minlength=len(thresholds) + 1))
    union = positive + area - tp
    levels, objects = component_steps(bins, targets, distance, connectivity)
    # The positives at threshold k are those of the first level above it; above the last one there are none.
    at = np.searchsorted(levels, np.arange(1, len(thresholds) + 1))
    detected, components, hit_pixels = np.append(objects, np.zeros((1, 3), np.int64), axis=0)[at].T
    counts = Counts(
        images=1,
        target_images=int(len(targets) > 0),
        pixels=pixels,
        last_pixels=pixels,
        inter=tp,
        union=union,
        empty_images=(union == 0).astype(np.int64),
        iou_sum=image_iou(tp, union),
        tp=tp,
        fp=positive - tp,
        fn=area - tp,
        targets=len(targets),
        detected=detected,
        components=components,
        false_components=components - detected,
        false_pixels=positive - hit_pixels,
        fa_pixels=pixels,
        fa_images=1,
    )
    return ComponentSweep(thresholds, counts)


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
    if kind is ComponentSweep:
        return ComponentSweep(thresholds, sum_counts(sweep.counts for sweep in sweeps))
    names = ('target_bins', 'background_bins', 'images')
    return PixelSweep(thresholds, *(sum(getattr(sweep, name) for sweep in sweeps) for name in names))


def _checked(prediction: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None) -> CheckedPair:
    """A checked pair with floating probabilities and bool targets."""
    prediction, mask, ignore = checked_pair(prediction, mask, ignore)
    prediction = prediction.astype(np.float32) if prediction.dtype == bool else prediction
    return CheckedPair(prediction, mask if mask.dtype == bool else mask >= 128, ignore)


def _best(
    thresholds: np.ndarray, metrics: Mapping[str, np.ndarray], name: str, allowed: Sequence[str]
) -> OracleThreshold:
    if name not in allowed:
        raise ValueError(f'metric must be one of {", ".join(allowed)}, not {name!r}')
    values = metrics[name]
    defined = np.flatnonzero(~np.isnan(values))
    if not defined.size:
        return OracleThreshold(math.nan, math.nan)
    best = defined[np.lexsort((np.abs(thresholds[defined] - 0.5), -values[defined]))[0]]
    return OracleThreshold(float(thresholds[best]), float(values[best]))
