"""One image as protocols see it, with shared work: numpy, scipy and OpenCV alone.

What protocols have in common (a resized map, positive pixels, labeled components, their matches) is made once, and
only when a protocol asks for it.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmirstd.evaluation.functional.matching import Matches, match_components
from mmirstd.evaluation.functional.protocols import Protocol, ProtocolLike, get_protocol
from mmirstd.ops.components import Components, label_pixels
from mmirstd.ops.pairs import checked_pair, split_labels
from mmirstd.ops.resizing import nearest_indices, resize_nearest, resize_prediction


@dataclass(eq=False, slots=True)
class _Mask:
    """A mask as its pixels that are not 0: flat indices (P,), ascending, and their values, at one size."""

    shape: tuple[int, int]
    flat: np.ndarray
    values: np.ndarray | None  # None: labels
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


@dataclass(eq=False, slots=True)
class _Map:
    """A map of probabilities, or a bool mask, (H, W) at one size."""

    values: np.ndarray


@dataclass(eq=False, slots=True)
class _Positive:
    """The positive pixels (ignored ones removed): dense and flat bool (H * W,), and flat indices, ascending."""

    dense: np.ndarray
    flat: np.ndarray


class EvaluatedImage:
    """A prediction and a mask, and all that has been made of them for one protocol or another.

    Args:
        prediction: (H, W), see :func:`mmirstd.ops.pairs.checked_pair`, like the next two.
        mask: (H, W), labels or the values of a mask file.
        ignore: (H, W) bool, pixels of the mask that count nowhere.
        alike: Whether both must have one size.

    Raises:
        ValueError: If shapes or values are not allowed.
    """

    def __init__(
        self, prediction: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None = None, *, alike: bool = False
    ) -> None:
        self.prediction, self.mask, self.ignore = checked_pair(prediction, mask, ignore, alike=alike)
        if self.ignore is not None:
            self.mask = np.where(self.ignore, self.mask.dtype.type(0), self.mask)
        labels = self.mask.dtype == bool
        self.flat = (self.mask if labels else self.mask != 0).ravel().nonzero()[0]  # slow on uint8
        self.values = None if labels else self.mask.ravel()[self.flat]
        self.binary = labels or bool(self.values.min(initial=255) == 255)
        self.file_max = 255 if self.binary else int(self.values.max())
        self._made: dict[Hashable, Any] = {}

    @classmethod
    def from_labels(cls, prediction: np.ndarray, labels: np.ndarray, ignore_index: int = 255) -> 'EvaluatedImage':
        """Make one of a prediction and labels (H, W), bool or {0, 1, ignore_index}, of the same size."""
        return cls(prediction, *split_labels(labels, ignore_index), alike=True)

    def prepared(self, p: Protocol) -> tuple[_Mask, _Map, _Positive]:
        """Mask, map and positive pixels as a protocol sees them; ValueError if it refuses the sizes."""
        shapes, shape, crop = (self.mask.shape, self.prediction.shape), p.shape, None
        if shapes[0] != shapes[1] and shapes[1] != shape:
            if p.mismatch == 'error':
                raise ValueError(f'mask {shapes[0]} and prediction {shapes[1]} differ in size, which {p.name} refuses')
            if p.mismatch == 'crop':
                crop = tuple(map(min, *shapes))
        shape = shape or crop or shapes[1]
        # Where nothing is resized, the interpolation makes no difference.
        mask_way = '' if shape == (crop or shapes[0]) else p.mask_interpolation
        map_way = '' if shape == (crop or shapes[1]) else p.pred_interpolation
        mask = self._once(('mask', shape, mask_way, crop), self._mask_at, shape, mask_way, crop)
        found = self._once(('map', shape, map_way, crop), self._map_at, shape, map_way, crop)
        apart = mask if mask.ignore is not None else None  # ignored pixels are those of the mask
        if p.normalize:
            found = self._once(('normalized', found, apart), _normalize, found.values, mask.ignore)
        key = ('positive', found, p.threshold, apart)
        return mask, found, self._once(key, _threshold, found.values, p.threshold, mask.ignore)

    def pixels(self, mask: _Mask, rule: str) -> np.ndarray:
        """Flat indices of the target pixels by a rule."""
        rule = mask.rule(rule)
        return self._once(('pixels', mask, rule), mask.where, rule)

    def hits(self, mask: _Mask, rule: str, positive: _Positive) -> int:
        """Number of the target pixels by a rule that are positive."""
        key = ('hits', mask, mask.rule(rule), positive)
        return self._once(key, lambda: int(np.count_nonzero(positive.dense[self.pixels(mask, rule)])))

    def overlap(self, mask: _Mask, rule: str, positive: _Positive) -> tuple[int, int]:
        """Pixels of intersection and union by a rule for IoU."""
        hit, area = ('255', '>=128') if rule == 'mixed' else (rule, rule)
        inter = self.hits(mask, hit, positive)
        return inter, positive.flat.size + self.pixels(mask, area).size - inter

    def targets(self, mask: _Mask, rule: str, connectivity: int) -> Components:
        """Components of the target pixels by a rule."""
        key = ('targets', mask, mask.rule(rule), connectivity)
        return self._once(key, lambda: label_pixels(self.pixels(mask, rule), mask.shape, connectivity))

    def matches(self, p: Protocol) -> Matches:
        """Targets and predicted components of the protocol, matched by its rules."""
        mask, _, positive = self.prepared(p)
        return self.matches_of(mask, positive, p)

    def matches_of(self, mask: _Mask, positive: _Positive, p: Protocol) -> Matches:
        """The same from what :meth:`prepared` returns."""
        key = ('matches', mask, mask.rule(p.target_mask), positive, p.connectivity, p.matching, p.distance)
        return self._once(key, self._match, mask, positive, p)

    def _match(self, mask: _Mask, positive: _Positive, p: Protocol) -> Matches:
        key = ('components', positive, p.connectivity)
        predictions = self._once(key, label_pixels, positive.flat, mask.shape, p.connectivity)
        targets = self.targets(mask, p.target_mask, p.connectivity)
        return match_components(targets, predictions, p.matching, distance=p.distance)

    def _once(self, key: Hashable, make: Callable, *args: object) -> Any:
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = make(*args)
        return found

    def _mask_at(self, shape: tuple[int, int], way: str, crop: tuple[int, int] | None) -> _Mask:
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
        return _Mask(shape, flat, values, self.binary, self.file_max, pixels, ignore)

    def _map_at(self, shape: tuple[int, int], way: str, crop: tuple[int, int] | None) -> _Map:
        values = self.prediction[: crop[0], : crop[1]] if crop else self.prediction
        return _Map(resize_prediction(values, shape, way) if way else values)


def match_targets(
    prediction: np.ndarray,
    labels: np.ndarray,
    protocol: ProtocolLike = 'exact',
    *,
    ignore_index: int = 255,
    **changes: object,
) -> Matches:
    """Match the targets of an image to its predicted components; arguments as in :func:`image_counts`.

    >>> labels = np.eye(8, dtype=bool)
    >>> match_targets(np.roll(labels, 1), labels).detected.tolist()
    [[0, 0]]
    """
    protocol = get_protocol(protocol, **changes)
    return EvaluatedImage.from_labels(prediction, labels, ignore_index).matches(protocol)


def curve(values: np.ndarray, mask: _Mask, targets: Components, bins: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
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
    """Resize a mask by nearest neighbor, but only rows and columns in which it is not 0: flat indices and values."""
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


def _normalize(values: np.ndarray, ignore: np.ndarray | None) -> _Map:
    if values.dtype == bool:
        return _Map(values)
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    peak = (values if ignore is None else values[~ignore]).max(initial=0)
    if not peak:
        return _Map(values)
    with np.errstate(over='ignore'):  # ignored pixels can be far above the peak
        return _Map(values / peak)


def _threshold(values: np.ndarray, threshold: float, ignore: np.ndarray | None) -> _Positive:
    dense = values if values.dtype == bool else values > threshold
    if ignore is not None:
        dense = dense & ~ignore
    dense = dense.ravel()
    return _Positive(dense, dense.nonzero()[0])
