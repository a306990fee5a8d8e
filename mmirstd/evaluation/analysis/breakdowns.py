"""Where the errors are: by area, signal-to-clutter ratio, distance to the border and image; the worst images first.

:func:`image_record` looks at one image; all else are pure functions on lists of :class:`ImageRecord`. Predicted pixels
outside the targets belong to no target, so that a group of targets has a Pd and a recall but neither IoU nor Fa: those
are of images.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from mmirstd.evaluation.functional.counts import Counts, count_image, sum_counts
from mmirstd.evaluation.functional.evaluated_image import EvaluatedImage
from mmirstd.evaluation.functional.metrics import compute_metrics, ratio
from mmirstd.evaluation.functional.protocols import ProtocolLike, get_protocol
from mmirstd.ops.target_statistics import target_statistics

AREA_EDGES = (1, 10, 20, 40, 80)
SCR_EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
BORDER_EDGES = (0, 4, 16, 64)
Fault = Literal['IoU', 'false_pixels', 'missed']
_IGNORE = 255


class TargetRecord(NamedTuple):
    """A target: its centroid, its area and how much of that is predicted, in pixels, and whether it was detected.

    `scr` is None where no image was given, nan where it is not defined. `border` is the number of pixels between the
    target and the nearest border of the image.
    """

    row: float
    col: float
    area: int
    hit: int
    detected: bool
    scr: float | None
    border: int


class FalseComponentRecord(NamedTuple):
    """A predicted component that no target took; `border` as that of a target."""

    row: float
    col: float
    area: int
    border: int


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What was found in one image; targets and false components in raster order of their first pixels."""

    img_id: str
    counts: Counts
    targets: tuple[TargetRecord, ...]
    false: tuple[FalseComponentRecord, ...]

    @property
    def missed(self) -> int:
        """Number of targets that were not detected."""
        return self.counts.targets - self.counts.detected

    @property
    def iou(self) -> float:
        """IoU of the image; nan with neither target nor prediction."""
        return compute_metrics(self.counts)['IoU']


class TargetGroup(NamedTuple):
    """Targets of a range of area, SCR or distance to the border, and how many of them, and of their pixels, were found.

    The range is [`low`, `high`).
    """

    label: str
    low: float
    high: float
    targets: int
    detected: int
    pixels: int
    hit: int

    @property
    def pd(self) -> float:
        """Detected part of the targets; nan without any."""
        return ratio(self.detected, self.targets)

    @property
    def recall(self) -> float:
        """Predicted part of the targets' pixels; nan without any."""
        return ratio(self.hit, self.pixels)


class FalseGroup(NamedTuple):
    """False components whose area or distance to the border lies in [`low`, `high`), and their pixels."""

    label: str
    low: float
    high: float
    components: int
    pixels: int


def image_record(
    prediction: np.ndarray,
    mask: np.ndarray,
    *,
    img_id: str,
    image: np.ndarray | None = None,
    protocol: ProtocolLike = 'exact',
    ignore: np.ndarray | None = None,
    scr_width: int = 20,
    scr_gap: int = 0,
    **changes: object,
) -> ImageRecord:
    """Record the targets and the false components of one image.

    Args:
        prediction: (H, W), see :func:`mmirstd.ops.pairs.checked_pair`, like `mask` and `ignore`.
        mask: (H, W), labels or the values of a mask file.
        img_id: Name of the image.
        image: (H, W) or (H, W, 3), from which the targets' signal-to-clutter ratio (SCR) comes; None: they have none.
        protocol: What :func:`get_protocol` takes; it has to evaluate at native size if there is an image.
        ignore: (H, W) bool, pixels that count nowhere.
        scr_width: `width` of :func:`mmirstd.ops.target_statistics.target_statistics`.
        scr_gap: `gap` of the same.
        **changes: Fields of the protocol to change, such as ``threshold=0.3``.

    Raises:
        ValueError: On other shapes and values.
    """
    evaluated = EvaluatedImage(prediction, mask, ignore, alike=True)
    protocol = get_protocol(protocol, **changes)
    return record_of(evaluated, protocol, img_id=img_id, image=image, scr_width=scr_width, scr_gap=scr_gap)


def record_of(
    evaluated: EvaluatedImage,
    protocol: ProtocolLike = 'exact',
    *,
    img_id: str,
    image: np.ndarray | None = None,
    scr_width: int = 20,
    scr_gap: int = 0,
) -> ImageRecord:
    """:func:`image_record` of an image that may have been evaluated already."""
    protocol = get_protocol(protocol)
    mask, _, positive = evaluated.prepared(protocol)
    matches = evaluated.matches(protocol)
    found, components = matches.targets, matches.predictions
    scr = [None] * len(found)
    if image is not None:
        labels = np.zeros(mask.shape, np.uint8)
        labels[found.rows, found.cols] = 1
        if mask.ignore is not None:
            labels[mask.ignore] = _IGNORE
        about = target_statistics(image, labels, width=scr_width, gap=scr_gap, ignore=_IGNORE, components=found)
        scr = about.scr.tolist()
    detected = np.zeros(len(found), bool)
    detected[matches.detected[:, 0]] = True
    predicted = positive.dense[found.rows * mask.shape[1] + found.cols]
    hit = np.bincount(found.index, weights=predicted, minlength=len(found)).astype(np.int64)
    border = _to_border(found.boxes, mask.shape).tolist()
    targets = zip(
        *found.centroid.T.tolist(), found.area.tolist(), hit.tolist(), detected.tolist(), scr, border, strict=True
    )
    border = _to_border(components.boxes[matches.false], mask.shape).tolist()
    false = zip(
        *components.centroid[matches.false].T.tolist(), components.area[matches.false].tolist(), border, strict=True
    )
    return ImageRecord(
        img_id,
        count_image(evaluated, protocol),
        tuple(TargetRecord(*t) for t in targets),
        tuple(FalseComponentRecord(*f) for f in false),
    )


def _to_border(boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(N,) pixels between boxes (N, 4) and the nearest border of an image."""
    return np.concatenate([boxes[:, :2], np.array(shape) - boxes[:, 2:]], axis=1).min(axis=1)


def by_target_area(records: Iterable[ImageRecord], edges: Sequence[int] = AREA_EDGES) -> list[TargetGroup]:
    """Targets by area in pixels: group i has areas from edges[i] to below edges[i + 1], the last one all from its edge.

    Targets below the first edge are in a group of their own, if there are any, so that none is lost.
    """
    targets = [t for record in records for t in record.targets]
    return _grouped(targets, [t.area for t in targets], edges, _target_group)


def by_target_scr(records: Iterable[ImageRecord], edges: Sequence[float] = SCR_EDGES) -> list[TargetGroup]:
    """Targets by SCR, as :func:`by_target_area`; inf is in the last group, nan in one named ``undefined``.

    Raises:
        ValueError: If a target has no SCR because its record was made without the image.
    """
    targets = []
    for record in records:
        if any(t.scr is None for t in record.targets):
            raise ValueError(f'{record.img_id}: the targets have no SCR; give image_record the image')
        targets.extend(record.targets)
    return _grouped(targets, [t.scr for t in targets], edges, _target_group)


def by_false_area(records: Iterable[ImageRecord], edges: Sequence[int] = AREA_EDGES) -> list[FalseGroup]:
    """False components by area in pixels, as :func:`by_target_area`."""
    false = [f for record in records for f in record.false]
    return _grouped(false, [f.area for f in false], edges, _false_group)


def by_target_border(records: Iterable[ImageRecord], edges: Sequence[int] = BORDER_EDGES) -> list[TargetGroup]:
    """Targets by the pixels between them and the nearest border of the image, as :func:`by_target_area`."""
    targets = [t for record in records for t in record.targets]
    return _grouped(targets, [t.border for t in targets], edges, _target_group)


def by_false_border(records: Iterable[ImageRecord], edges: Sequence[int] = BORDER_EDGES) -> list[FalseGroup]:
    """False components by the pixels between them and the nearest border, as :func:`by_target_area`."""
    false = [f for record in records for f in record.false]
    return _grouped(false, [f.border for f in false], edges, _false_group)


def metrics_by(records: Iterable[ImageRecord], key: Callable[[ImageRecord], str]) -> dict[str, dict[str, float]]:
    """All metrics of each group of images, such as sequences or scenes, which `key` names; in order of first images."""
    groups: dict[str, list[Counts]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record.counts)
    return {name: {'images': len(counts), **compute_metrics(sum_counts(counts))} for name, counts in groups.items()}


def by_image(records: Iterable[ImageRecord]) -> list[dict[str, str | int | float]]:
    """A row per image, in order: id, counts, IoU (nan: neither target nor prediction), precision, recall and F1."""
    rows = []
    for record in records:
        c, metrics = record.counts, compute_metrics(record.counts)
        rows.append(
            {
                'img_id': record.img_id,
                'targets': c.targets,
                'detected': c.detected,
                'missed': record.missed,
                'false_components': c.false_components,
                'false_pixels': c.false_pixels,
                'tp': c.tp,
                'fp': c.fp,
                'fn': c.fn,
                'pixels': c.pixels,
                **{name: metrics[name] for name in ('IoU', 'Pd', 'Fa', 'precision', 'recall', 'F1')},
            }
        )
    return rows


def worst_images(records: Iterable[ImageRecord], by: Fault = 'IoU', number: int | None = None) -> list[ImageRecord]:
    """The worst images first: lowest IoU, most false pixels (in false components) or most missed targets.

    Images without fault by that measure are left out. Among equals the one with more wrong pixels comes first, then
    the lower id. `number` None gives all.
    """
    badness = {
        'IoU': lambda r: 1 - r.iou,
        'false_pixels': lambda r: r.counts.false_pixels,
        'missed': lambda r: r.missed,
    }
    if by not in badness:
        raise ValueError(f'by must be one of {", ".join(badness)}, not {by!r}')
    if number is not None and number < 0:
        raise ValueError(f'number must be None or not negative, not {number!r}')
    faulty = [r for r in records if badness[by](r) > 0]  # nan is not
    return sorted(faulty, key=lambda r: (-badness[by](r), -r.counts.fp - r.counts.fn, r.img_id))[:number]


def _grouped(items: list, values: list[float], edges: Sequence[float], make: Callable) -> list:
    edges = [float(e) for e in edges]
    if not edges or any(not math.isfinite(e) for e in edges) or any(a >= b for a, b in pairwise(edges)):
        raise ValueError(f'edges must be finite and ascend strictly, got {edges}')
    whole = all(isinstance(v, int) for v in values) and all(e.is_integer() for e in edges)
    at = np.searchsorted(edges, np.asarray(values, np.float64), side='right')  # 0: below the first edge
    undefined = np.isnan(np.asarray(values, np.float64))
    groups = []
    for i, (low, high) in enumerate(zip([-math.inf, *edges], [*edges, math.inf], strict=True)):
        members = [items[k] for k in np.flatnonzero((at == i) & ~undefined)]
        if i or members:
            groups.append(make(_label(low, high, whole), low, high, members))
    if undefined.any():
        groups.append(make('undefined', math.nan, math.nan, [items[k] for k in np.flatnonzero(undefined)]))
    return groups


def _label(low: float, high: float, whole: bool) -> str:
    if low == -math.inf:
        return f'< {high:g}'
    if high == math.inf:
        return f'>= {low:g}'
    if not whole:
        return f'{low:g} to {high:g}'
    return f'{low:g}' if high - low == 1 else f'{low:g} to {high - 1:g}'


def _target_group(label: str, low: float, high: float, members: list[TargetRecord]) -> TargetGroup:
    detected, pixels, hit = (sum(getattr(t, name) for t in members) for name in ('detected', 'area', 'hit'))
    return TargetGroup(label, low, high, len(members), detected, pixels, hit)


def _false_group(label: str, low: float, high: float, members: list[FalseComponentRecord]) -> FalseGroup:
    return FalseGroup(label, low, high, len(members), sum(f.area for f in members))
