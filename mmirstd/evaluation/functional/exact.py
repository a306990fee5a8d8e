"""Counts and figures of infrared small target detection, as pure functions on arrays (numpy and scipy only).

The way goes from one image to a set: :func:`image_counts` turns a prediction and a mask into :class:`Counts`,
:func:`sum_counts` adds them up, :func:`summarise` makes the figures. :func:`match_targets` says which target was
found by which predicted component.

Definitions. A target or a predicted component is a connected component. Targets are matched one to one and greedily:
targets in label order (raster order of their first pixels) each take the first component, in label order, that is
still free and whose centroid lies within `distance` pixels (strictly), as in DNANet (Li et al., TIP 2023). A false
component is one that no target took: identity decides, never area. Pixels with the ignore label count nowhere.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from mmirstd.ops.components import Components, Connectivity, label_components

EmptyPolicy = Literal['skip', 0, 1]
_PAIRS_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Matches:
    """Which target (row of `targets`) was found by which component (row of `predictions`).

    `detected` (M, 2) holds pairs of (target, component); `missed` and `false` hold the targets and the components
    left over, all in ascending order of target or component.
    """

    targets: Components
    predictions: Components
    detected: np.ndarray
    missed: np.ndarray
    false: np.ndarray


@dataclass(frozen=True, slots=True)
class Counts:
    """What one image or a set of images adds up to; ``a + b`` joins two sets."""

    tp: int = 0  # pixels
    fp: int = 0
    fn: int = 0
    pixels: int = 0  # all but ignored ones
    targets: int = 0
    detected: int = 0
    components: int = 0  # predicted
    false_components: int = 0
    false_pixels: int = 0  # in false components
    images: int = 0
    target_images: int = 0  # with at least one target
    empty_images: int = 0  # with neither target nor prediction: their IoU is 0 / 0
    iou_sum: float = 0.0  # over all but the empty images

    def __add__(self, other: 'Counts') -> 'Counts':
        return sum_counts((self, other))


def match_components(targets: Components, predictions: Components, *, distance: float = 3.0) -> Matches:
    """Match targets to predicted components one to one, greedily in label order (see the module)."""
    free_targets = np.ones(len(targets), bool)
    free_predictions = np.ones(len(predictions), bool)
    detected = []
    for pairs, _ in near_pairs(targets, predictions, distance):
        for target, component in pairs.tolist():
            if free_targets[target] and free_predictions[component]:
                free_targets[target] = free_predictions[component] = False
                detected.append((target, component))
    return Matches(
        targets,
        predictions,
        np.array(detected, np.int64).reshape(-1, 2),
        np.flatnonzero(free_targets),
        np.flatnonzero(free_predictions),
    )


def near_pairs(
    targets: Components, predictions: Components, distance: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs (K, 2) of target and component with centroids closer than `distance`, and how far apart they are (K,).

    They come in lexicographic order and in blocks, which bounds the memory of noise against noise.
    """
    if not distance > 0:
        raise ValueError(f'distance must be positive, not {distance!r}')
    if not len(targets) or not len(predictions):
        return
    step = max(1, _PAIRS_AT_ONCE // len(predictions))
    for start in range(0, len(targets), step):
        block = targets.centroid[start : start + step]
        down, right = (block[:, axis, None] - predictions.centroid[:, axis] for axis in (0, 1))
        apart = np.sqrt(down * down + right * right)
        target, component = np.nonzero(apart < distance)
        yield np.array((target + start, component)).T, apart[target, component]


def match_targets(
    pred_mask: np.ndarray,
    gt_mask: np.ndarray,
    *,
    distance: float = 3.0,
    connectivity: Connectivity = 8,
    ignore: int = 255,
) -> Matches:
    """Label a predicted mask and a ground truth mask, both (H, W), and match their components.

    `pred_mask` is bool or {0, 1} of any type, `gt_mask` bool or {0, 1, ignore}. Predictions on ignored pixels are
    removed before labelling. Raises ValueError on other shapes and values.
    """
    predicted, target, _ = _foreground(pred_mask, gt_mask, 0.5, ignore)
    return match_components(
        label_components(target, connectivity), label_components(predicted, connectivity), distance=distance
    )


def image_counts(
    pred: np.ndarray,
    gt: np.ndarray,
    *,
    threshold: float = 0.5,
    distance: float = 3.0,
    connectivity: Connectivity = 8,
    ignore: int = 255,
) -> Counts:
    """Counts of one image.

    `pred` (H, W) is a mask, bool or {0, 1}, or a floating map of probabilities, of which those above `threshold` are
    positive; `gt` (H, W) is bool or {0, 1, ignore}. Raises ValueError on other shapes and values, and on probabilities
    that are not finite or not in [0, 1].
    """
    predicted, target, pixels = _foreground(pred, gt, threshold, ignore)
    matches = match_components(
        label_components(target, connectivity), label_components(predicted, connectivity), distance=distance
    )
    targets, predictions = matches.targets, matches.predictions
    tp = int(np.count_nonzero(predicted & target)) if len(targets) and len(predictions) else 0
    fp, fn = predictions.rows.size - tp, targets.rows.size - tp
    union = tp + fp + fn
    return Counts(
        tp=tp,
        fp=fp,
        fn=fn,
        pixels=pixels,
        targets=len(targets),
        detected=len(matches.detected),
        components=len(predictions),
        false_components=len(matches.false),
        false_pixels=int(predictions.area[matches.false].sum()),
        images=1,
        target_images=int(len(targets) > 0),
        empty_images=int(union == 0),
        iou_sum=tp / union if union else 0.0,
    )


def check_probabilities(prediction: np.ndarray) -> None:
    """Raise ValueError if floating values are not finite or not in [0, 1]."""
    # Read as integers, the bits of floats keep their order, and those of negative numbers and nan lie above 1's.
    if prediction.dtype == np.float32 and prediction.view(np.uint32).max() <= 0x3F800000:
        return
    low, high = prediction.min(), prediction.max()  # either is nan as soon as one value is
    if not (np.isfinite(low) and np.isfinite(high)):
        number = np.count_nonzero(~np.isfinite(prediction))
        raise ValueError(f'the prediction holds {number} values that are not finite')
    if low < 0 or high > 1:
        raise ValueError(f'probabilities must lie in [0, 1], got [{low:g}, {high:g}]; are these logits?')


def sum_counts(counts: Iterable[Counts]) -> Counts:
    """Add counts up. The sum of per-image IoUs is rounded once, so it does not depend on their order."""
    counts = list(counts)
    add = {float: math.fsum, int: sum}
    return Counts(**{f.name: add[f.type](getattr(c, f.name) for c in counts) for f in fields(Counts)})


def summarise(counts: Counts, *, empty: EmptyPolicy = 'skip') -> dict[str, float]:
    """Compute IoU, nIoU, Pd, precision, recall and F1 as fractions, and Fa as false pixels per million pixels.

    IoU, precision, recall and F1 are of pixels, over the whole set. `empty` says what an image with neither target nor
    prediction adds to nIoU: its IoU is 0 / 0, and is left out of the mean (`'skip'`), taken as 0 as open-acm and most
    published code do, or taken as 1. An image without target but with a prediction has IoU 0 under each policy. A
    figure whose denominator is zero (precision of no prediction, Pd of no target) is nan.
    """
    if empty not in ('skip', 0, 1):
        raise ValueError(f"empty must be 'skip', 0 or 1, not {empty!r}")
    c = counts
    if empty == 'skip':
        niou = _ratio(c.iou_sum, c.images - c.empty_images)
    else:
        niou = _ratio(c.iou_sum + empty * c.empty_images, c.images)
    return {
        'IoU': _ratio(c.tp, c.tp + c.fp + c.fn),
        'nIoU': niou,
        'Pd': _ratio(c.detected, c.targets),
        'Fa': _ratio(c.false_pixels * 1e6, c.pixels),
        'precision': _ratio(c.tp, c.tp + c.fp),
        'recall': _ratio(c.tp, c.tp + c.fn),
        'F1': _ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn),
    }


def _ratio(numerator: float, denominator: int) -> float:
    return numerator / denominator if denominator else math.nan


def _foreground(pred: np.ndarray, gt: np.ndarray, threshold: float, ignore: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Checked bool masks of prediction and target, ignored pixels cleared, and the number of pixels that count."""
    pred, gt = np.asarray(pred), np.asarray(gt)
    if pred.ndim != 2 or pred.shape != gt.shape or not pred.size:
        raise ValueError(f'prediction and mask must be (H, W) and alike, got {pred.shape} and {gt.shape}')
    if np.issubdtype(pred.dtype, np.floating):
        check_probabilities(pred)
        predicted = pred > threshold
    else:
        predicted, other = _split(pred, 'prediction')
        if other is not None:
            raise ValueError(f'a predicted mask must hold 0 and 1 alone, got {_some_values(pred[other])}')
    target, other = _split(gt, 'mask')
    if other is None:
        return predicted, target, gt.size
    unknown = gt[other & (gt != ignore)]
    if unknown.size:
        raise ValueError(f'a mask must hold 0, 1 and {ignore} (ignored) alone, got {_some_values(unknown)}')
    return predicted & ~other, target, gt.size - int(np.count_nonzero(other))


def _split(mask: np.ndarray, what: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Where an integer mask is 1, and where it is neither 0 nor 1 (None: nowhere)."""
    if mask.dtype == bool:
        return mask, None
    if not np.issubdtype(mask.dtype, np.integer):
        raise ValueError(f'the {what} must be boolean or integer, not {mask.dtype}')
    unsigned = mask.view(f'u{mask.dtype.itemsize}')
    return mask == 1, unsigned > 1 if unsigned.max() > 1 else None


def _some_values(values: np.ndarray) -> str:
    distinct = np.unique(values)
    return ', '.join(map(str, distinct[:5].tolist())) + (', ...' if distinct.size > 5 else '')
