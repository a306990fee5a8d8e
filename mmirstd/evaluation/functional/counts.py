"""Counts and figures of one image under several protocols, with shared work: numpy, scipy and OpenCV alone.

:func:`protocol_counts` turns a map of probabilities and the values of a mask file into one :class:`ProtocolCounts` per
protocol; they are added up, per protocol, and :func:`protocol_figures` makes the figures. What protocols have in common
(a resized map, positive pixels, labelled components, their matches) is made once.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mmirstd.evaluation.functional.exact import check_probabilities
from mmirstd.evaluation.functional.matching import match
from mmirstd.evaluation.functional.protocols import Protocol, ProtocolLike, get_protocols
from mmirstd.ops.components import Components, label_pixels
from mmirstd.ops.resizing import nearest_indices, resize_nearest, resize_prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolCounts:
    """What one image or a set of images adds up to under one protocol; ``a + b`` joins two sets, a before b."""

    images: int = 0
    target_images: int = 0  # with at least one target
    pixels: int = 0  # all but ignored ones, at the evaluated size
    last_pixels: int = 0  # the same of the last image
    inter: int = 0  # pixels, by the rule for IoU
    union: int = 0
    empty_images: int = 0  # with an empty union by the rule for nIoU
    iou_sum: float = 0.0  # over all but the empty images
    tp: int = 0  # pixels, by the rules for precision, recall and F1
    fp: int = 0
    fn: int = 0
    targets: int = 0
    detected: int = 0
    components: int = 0  # predicted
    false_components: int = 0  # not matched
    false_area: int = 0  # numerator of Fa
    fa_pixels: int = 0  # its denominator; not used where that is made of the last image
    fa_images: int = 0  # images that count for Pd and Fa
    auc_false: tuple[int, ...] = ()  # positive pixels outside targets, threshold by threshold
    auc_detected: tuple[int, ...] = ()

    def __add__(self, other: 'ProtocolCounts') -> 'ProtocolCounts':
        return sum_protocol_counts((self, other))


def protocol_counts(
    prediction: np.ndarray,
    mask: np.ndarray,
    protocols: ProtocolLike | Iterable[ProtocolLike],
    *,
    ignore: np.ndarray | None = None,
    source: str = '',
) -> list[ProtocolCounts]:
    """Counts of one image under each protocol, in order.

    Args:
        prediction: Map of probabilities (H, W), floating in [0, 1]; or a mask, bool or {0, 1}; or uint8 with other
            values, which stand for value / 255, so that at least 128 is more than 0.5.
        mask: What the mask file holds, integers 0 to 255, or labels: bool or {0, 1}, which stand for 0 and 255. Of
            the size of the prediction, or of another where the protocol allows it.
        protocols: What :func:`get_protocols` takes.
        ignore: bool, of the size of the mask: pixels that count nowhere. Predictions there are removed before they are
            labelled.
        source: Name of the image, for errors.

    Raises:
        ValueError: If shapes or values are not as said, or a protocol refuses the sizes.
    """
    if not (isinstance(protocols, list) and all(isinstance(protocol, Protocol) for protocol in protocols)):
        protocols = get_protocols(protocols)
    try:
        image = _Image(prediction, mask, ignore)
        return [_count(image, protocol) for protocol in protocols]
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from error if source else None


def sum_protocol_counts(counts: Iterable[ProtocolCounts]) -> ProtocolCounts:
    """Add counts of one protocol up, in the order of the images; the sum of per-image IoUs is rounded once.

    Raises:
        ValueError: If the counts are of protocols with different `auc_bins`.
    """
    counts = [c for c in counts if c.images]
    if not counts:
        return ProtocolCounts()
    curves = {len(c.auc_false) for c in counts}
    if len(curves) > 1:
        raise ValueError(f'these counts are of several protocols: their curves have {sorted(curves)} points')
    total: dict[str, Any] = {}
    for f in fields(ProtocolCounts):
        values = [getattr(c, f.name) for c in counts]
        if f.type is int:
            total[f.name] = sum(values)
        elif f.type is float:
            total[f.name] = math.fsum(values)
        else:
            total[f.name] = tuple(np.sum(values, axis=0, dtype=np.int64).tolist())
    return ProtocolCounts(**{**total, 'last_pixels': counts[-1].last_pixels})


def protocol_figures(counts: ProtocolCounts, protocol: Protocol) -> dict[str, float]:
    """IoU, nIoU, Pd, precision, recall, F1 (fractions), Fa (in 1e-6) and, where the protocol has one, AUC.

    All are computed by the protocol's rules, also those that its repository does not report (`protocol.figures` are
    those it does). A figure whose denominator is zero is nan.
    """
    c, p = counts, protocol
    if p.niou_empty == 'skip':
        niou = _ratio(c.iou_sum, c.images - c.empty_images)
    else:
        niou = _ratio(c.iou_sum + p.niou_empty * c.empty_images, c.images)
    fa_pixels = c.last_pixels * c.fa_images if p.fa_denominator == 'last' else c.fa_pixels
    precision = _ratio(c.tp, c.tp + c.fp + p.ratio_eps)
    recall = _ratio(c.tp, c.tp + c.fn + p.ratio_eps)
    if p.ratio_eps or p.f1_eps:
        f1 = _ratio(2 * recall * precision, recall + precision + p.f1_eps)
    else:
        f1 = _ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)
    figures = {
        'IoU': _ratio(c.inter, c.union + p.iou_eps),
        'nIoU': niou,
        'Pd': _ratio(c.detected, c.targets),
        'Fa': _ratio(c.false_area * 1e6, fa_pixels),
        'precision': precision,
        'recall': recall,
        'F1': f1,
    }
    if p.auc_bins is not None:
        figures['AUC'] = _area(c)
    return figures


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def _area(counts: ProtocolCounts) -> float:
    """Area under the Pd-Fa curve by the trapezoid rule; the first point is the threshold 0, where all is positive."""
    if not counts.targets or not counts.auc_false or not counts.auc_false[0]:
        return math.nan
    x, y = np.array(counts.auc_false) / counts.auc_false[0], np.array(counts.auc_detected) / counts.targets
    return float(((x[:-1] - x[1:]) * (y[:-1] + y[1:]) / 2).sum())


@dataclass(frozen=True, eq=False)
class _Mask:
    """A mask as its pixels that are not 0: flat indices (P,), ascending, and their values, at one size."""

    key: tuple
    shape: tuple[int, int]
    flat: np.ndarray
    values: np.ndarray
    binary: bool  # all values are 255, so that all rules are one
    file_max: int
    pixels: int  # all but ignored ones
    ignore: np.ndarray | None

    def rule(self, rule: str) -> str:
        return '255' if self.binary else rule

    def where(self, rule: str) -> np.ndarray:
        """Flat indices of the pixels that are target by a rule."""
        if self.binary:
            return self.flat
        if rule == 'max':
            chosen = self.values == self.values.max(initial=0)
        else:
            least = {'255': 255, '>=128': 128, '>0': 1, 'file-max': self.file_max}[rule]
            chosen = self.values >= least  # nothing is above 255 or above the file's maximum
        return self.flat[chosen]


@dataclass(frozen=True, eq=False)
class _Map:
    """A map of probabilities, or a bool mask, at one size."""

    key: tuple
    values: np.ndarray


@dataclass(frozen=True, eq=False)
class _Positive:
    """The positive pixels (ignored ones removed): dense and flat bool (H * W,), and flat indices, ascending."""

    key: tuple
    dense: np.ndarray
    flat: np.ndarray


class _Image:
    """One image and all that has been made of it; every part has a key, and is made once."""

    def __init__(self, prediction: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None) -> None:
        self.prediction = _checked_prediction(np.asarray(prediction))
        self.mask = _checked_mask(np.asarray(mask))
        self.ignore = None
        if ignore is not None:
            ignore = np.asarray(ignore)
            if ignore.dtype != bool or ignore.shape != self.mask.shape:
                raise ValueError(
                    f'ignored pixels must be bool and of the size of the mask {self.mask.shape}, '
                    f'got {ignore.dtype} {ignore.shape}'
                )
            self.ignore = ignore if ignore.any() else None
            if self.ignore is not None:
                self.mask = np.where(ignore, self.mask.dtype.type(0), self.mask)
        self.flat = np.flatnonzero(self.mask != 0)
        self.values = self.mask.ravel()[self.flat]
        self.file_max = int(self.values.max(initial=0))
        self.binary = self.mask.dtype == bool or bool((self.values == 255).all())
        self.made: dict[tuple, Any] = {}

    def once(self, key: tuple, make: Callable, *args: object) -> Any:
        found = self.made.get(key)
        if found is None:
            found = self.made[key] = make(key, *args)
        return found

    def at_size(self, p: Protocol) -> tuple[_Mask, _Map]:
        """Mask and prediction at the size of a protocol."""
        shapes, shape, crop = (self.mask.shape, self.prediction.shape), p.shape, None
        if shapes[0] != shapes[1] and shapes[1] != shape:
            if p.mismatch == 'error':
                raise ValueError(f'mask {shapes[0]} and prediction {shapes[1]} differ in size, which {p.name} refuses')
            if p.mismatch == 'crop':
                crop = tuple(map(min, *shapes))
        shape = shape or crop or shapes[1]
        # Where nothing is resized, the interpolation makes no difference.
        mask_way = '' if shape == (crop or shapes[0]) else p.mask_interpolation
        pred_way = '' if shape == (crop or shapes[1]) else p.pred_interpolation
        mask = self.once(('mask', shape, mask_way, crop), self._mask, shape, mask_way, crop)
        return mask, self.once(('map', shape, pred_way, crop), self._map, shape, pred_way, crop)

    def _mask(self, key: tuple, shape: tuple[int, int], way: str, crop: tuple[int, int] | None) -> _Mask:
        flat, values, ignore, dense = self.flat, self.values, self.ignore, self.mask
        if crop:
            dense, ignore = dense[: crop[0], : crop[1]], None if ignore is None else ignore[: crop[0], : crop[1]]
            rows, cols = np.nonzero(dense)
            flat, values = rows * crop[1] + cols, dense[rows, cols]
        if way:
            flat, values = _resize_sparse(dense, flat, shape, way)
            ignore = None if ignore is None else resize_nearest(ignore, shape, way)
        ignored = 0 if ignore is None else int(np.count_nonzero(ignore))
        pixels = shape[0] * shape[1] - ignored
        return _Mask(key, shape, flat, values, self.binary, self.file_max, pixels, ignore)

    def _map(self, key: tuple, shape: tuple[int, int], way: str, crop: tuple[int, int] | None) -> _Map:
        values = self.prediction[: crop[0], : crop[1]] if crop else self.prediction
        return _Map(key, resize_prediction(values, shape, way) if way else values)

    def normalized(self, mask: _Mask, found: _Map) -> _Map:
        ignored = None if mask.ignore is None else mask.key
        return self.once(('normalized', found.key, ignored), _normalize, found.values, mask.ignore)

    def positive(self, mask: _Mask, found: _Map, threshold: float) -> _Positive:
        ignored = None if mask.ignore is None else mask.key
        return self.once(('positive', found.key, threshold, ignored), _threshold, found.values, threshold, mask.ignore)

    def pixels(self, mask: _Mask, rule: str) -> np.ndarray:
        """Flat indices of target pixels."""
        rule = mask.rule(rule)
        return self.once(('pixels', mask.key, rule), lambda key: mask.where(rule))

    def hits(self, mask: _Mask, rule: str, positive: _Positive) -> int:
        """Number of target pixels that are positive."""
        key = ('hits', mask.key, mask.rule(rule), positive.key)
        return self.once(key, lambda key: int(np.count_nonzero(positive.dense[self.pixels(mask, rule)])))

    def targets(self, mask: _Mask, rule: str, connectivity: int) -> Components:
        key = ('targets', mask.key, mask.rule(rule), connectivity)
        return self.once(key, lambda key: label_pixels(self.pixels(mask, rule), mask.shape, connectivity))

    def components(self, shape: tuple[int, int], positive: _Positive, connectivity: int) -> Components:
        key = ('components', positive.key, connectivity)
        return self.once(key, lambda key: label_pixels(positive.flat, shape, connectivity))

    def overlap(self, mask: _Mask, rule: str, positive: _Positive) -> tuple[int, int]:
        """Pixels of intersection and union by a rule for IoU."""
        hit, area = ('255', '>=128') if rule == 'mixed' else (rule, rule)
        inter = self.hits(mask, hit, positive)
        return inter, positive.flat.size + self.pixels(mask, area).size - inter


def _count(image: _Image, p: Protocol) -> ProtocolCounts:
    mask, found = image.at_size(p)
    if p.normalize:
        found = image.normalized(mask, found)
    positive = image.positive(mask, found, p.threshold)
    inter, union = image.overlap(mask, p.iou_mask, positive)
    image_inter, image_union = image.overlap(mask, p.niou_mask, positive)
    tp = image.hits(mask, p.f1_mask, positive)
    counts = {
        'images': 1,
        'pixels': mask.pixels,
        'last_pixels': mask.pixels,
        'inter': inter,
        'union': union,
        'empty_images': int(not image_union),
        'iou_sum': image_inter / image_union if image_union else 0.0,
        'tp': tp,
        'fp': positive.flat.size - tp,
        'fn': image.pixels(mask, p.missed_mask).size - image.hits(mask, p.missed_mask, positive),
    }
    targets = image.targets(mask, p.target_mask, p.connectivity)
    if len(targets) or not p.skip_empty:
        key = ('fa', mask.key, mask.rule(p.target_mask), positive.key, p.connectivity, p.matching, p.distance, p.fa)
        counts.update(image.once(key, _match, image, mask, positive, targets, p))
        background = mask.pixels - targets.rows.size
        denominators = {'pixels': mask.pixels, 'last': mask.pixels, 'background': background}
        counts['fa_pixels'] = denominators.get(p.fa_denominator, p.fa_denominator)
        counts['fa_images'] = 1
    if p.auc_bins is not None:
        nothing = p.skip_empty and not len(targets)
        counts['auc_false'], counts['auc_detected'] = (
            [(0,) * (p.auc_bins + 1)] * 2 if nothing else _curve(found.values, mask, targets, p.auc_bins)
        )
    return ProtocolCounts(**counts)


def _match(
    key: tuple, image: _Image, mask: _Mask, positive: _Positive, targets: Components, p: Protocol
) -> dict[str, int]:
    predictions = image.components(mask.shape, positive, p.connectivity)
    matches = match(targets, predictions, p.matching, distance=p.distance)
    if p.fa == 'outside':
        area = positive.flat.size - image.hits(mask, p.target_mask, positive)
    else:
        area = int(predictions.area[matches.false].sum())
        if p.fa == 'legacy' and area:
            seen = set(predictions.area[matches.detected[:, 1]].tolist())
            area = sum(n for n in predictions.area[matches.false].tolist() if n not in seen)
    return {
        'target_images': int(len(targets) > 0),
        'targets': len(targets),
        'detected': len(targets) - len(matches.missed),
        'components': len(predictions),
        'false_components': len(matches.false),
        'false_area': area,
    }


def _curve(values: np.ndarray, mask: _Mask, targets: Components, bins: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Pixels outside targets, and targets with a pixel, at or above k / bins for k = 0 to bins."""
    values = values.ravel()
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32)
    edges = (np.arange(bins + 1) / bins).astype(values.dtype)

    def at_or_above(numbers: np.ndarray) -> np.ndarray:
        # Multiplying is many times faster than searching; only next to an edge can it be one step off.
        place = numbers * values.dtype.type(bins)
        step = np.floor(place)
        near = np.flatnonzero(np.abs(place - step - 0.5) > 0.5 - 4 * bins * np.finfo(values.dtype).eps)
        step = step.astype(np.intp)
        step[near] = np.searchsorted(edges, numbers[near], side='right') - 1
        return np.bincount(step, minlength=bins + 1)[::-1].cumsum()[::-1]

    inside = targets.rows * mask.shape[1] + targets.cols
    high = values >= edges[1]  # of a usual map nearly nothing
    if mask.ignore is not None:
        high &= ~mask.ignore.ravel()
    high[inside] = False
    false = at_or_above(values[np.flatnonzero(high)])
    false[0] = mask.pixels - inside.size
    highest = np.zeros(len(targets), values.dtype)
    np.maximum.at(highest, targets.index, values[inside])
    return tuple(false.tolist()), tuple(at_or_above(highest).tolist())


def _resize_sparse(
    mask: np.ndarray, flat: np.ndarray, shape: tuple[int, int], way: str
) -> tuple[np.ndarray, np.ndarray]:
    """Resize a mask by nearest neighbour, but only rows and columns in which it is not 0: flat indices and values."""
    taken = []
    for position, source, size in zip(np.divmod(flat, mask.shape[1]), mask.shape, shape, strict=True):
        occupied = np.zeros(source, bool)
        occupied[position] = True
        indices = nearest_indices(source, size, way)
        output = np.flatnonzero(occupied[indices])
        taken.append((output, indices[output]))
    (out_rows, rows), (out_cols, cols) = taken
    block = mask[rows[:, None], cols]
    r, c = np.nonzero(block)
    return out_rows[r] * shape[1] + out_cols[c], block[r, c]


def _normalize(key: tuple, values: np.ndarray, ignore: np.ndarray | None) -> _Map:
    if values.dtype == bool:
        return _Map(key, values)
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    peak = (values if ignore is None else values[~ignore]).max(initial=0)
    if not peak:
        return _Map(key, values)
    with np.errstate(over='ignore'):  # ignored pixels can be far above the peak
        return _Map(key, values / peak)


def _threshold(key: tuple, values: np.ndarray, threshold: float, ignore: np.ndarray | None) -> _Positive:
    dense = values if values.dtype == bool else values > threshold
    if ignore is not None:
        dense = dense & ~ignore
    dense = dense.ravel()
    return _Positive(key, dense, np.flatnonzero(dense))


def _checked_prediction(prediction: np.ndarray) -> np.ndarray:
    """The prediction as bool or floating, or a ValueError."""
    if prediction.ndim != 2 or not prediction.size:
        raise ValueError(f'a prediction must be (H, W), got {prediction.shape}')
    if prediction.dtype == bool:
        return prediction
    if np.issubdtype(prediction.dtype, np.floating):
        check_probabilities(prediction)
        return prediction
    if not np.issubdtype(prediction.dtype, np.integer):
        raise ValueError(f'a prediction must be boolean, integer or floating, not {prediction.dtype}')
    low, high = prediction.min(), prediction.max()
    if low >= 0 and high <= 1:
        return prediction.astype(bool)
    if prediction.dtype != np.uint8:
        raise ValueError(f'an integer prediction must hold 0 and 1 or be uint8, got {prediction.dtype} up to {high}')
    return prediction.astype(np.float32) / 255


def _checked_mask(mask: np.ndarray) -> np.ndarray:
    """The mask as bool (labels) or uint8 (values of a file), or a ValueError."""
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f'a mask must be (H, W), got {mask.shape}')
    if mask.dtype == bool:
        return mask
    if not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(f'a mask must be boolean or integer, not {mask.dtype}')
    high = mask.max()
    if high > 255 or (mask.dtype != np.uint8 and mask.min() < 0):
        raise ValueError(f'the values of a mask must lie in 0 to 255, got {mask.min()} to {high}')
    return mask.astype(bool) if high <= 1 else mask.astype(np.uint8, copy=False)
