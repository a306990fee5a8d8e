"""From annotations to the pixels of their targets."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mmirstd.io.annotations import AnnotatedImage, Annotation, AnnotationError, check_inside, covered_pixels
from mmirstd.io.coco import decode_rle, encode_rle, fill_polygons
from mmirstd.ops.growing import REACH, Box, GrownTarget, Growth, grow_target, point_window


@dataclass(frozen=True, eq=False)
class LocatedTarget:
    """A target with its pixels.

    Attributes:
        annotation: Where it comes from.
        box: (top, left, bottom, right), half open, of its pixels.
        mask: (bottom - top, right - left) bool.
        grown: How it was grown; None where its pixels were known.
    """

    annotation: Annotation
    box: Box
    mask: np.ndarray
    grown: GrownTarget | None = None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The box that was annotated, where it stays, otherwise that of the pixels."""
        return self.annotation.box if self.annotation.box is not None and self.grown is None else self.box


def locate_targets(
    found: AnnotatedImage, gray: np.ndarray | None, growth: Growth, keep_boxes: bool = False
) -> tuple[list[LocatedTarget], list[str]]:
    """Find the pixels of the targets of an image.

    Args:
        found: The image's annotations; its size is known.
        gray: (H, W), needed where something is grown.
        growth: How targets are grown in boxes and at points.
        keep_boxes: A box is a target as it stands, and only points are grown.

    Returns:
        The targets, and a message for each annotation that makes none: it names file, annotation and value.
    """
    windows, problems = {}, []
    for annotation in found.annotations:
        try:
            windows[annotation] = _window(annotation, found.size, growth)
        except AnnotationError as error:
            problems.append(str(error))
    taken = None if gray is None else np.zeros(found.size, bool)
    if taken is not None:
        for annotation, window in windows.items():
            if annotation.point is not None:  # its window is much larger than the target
                row, col = _pixel(annotation.point, found.size)
                window = max(0, row - REACH), max(0, col - REACH), row + REACH + 1, col + REACH + 1
            if window is not None:
                top, left, bottom, right = window
                taken[top:bottom, left:right] = True
    targets = []
    for annotation, window in windows.items():
        if keep_boxes and annotation.box is not None:
            inside = np.ones((window[2] - window[0], window[3] - window[1]), bool)
            targets.append(LocatedTarget(annotation, window, inside))
            continue
        try:
            targets.append(_locate(annotation, window, found.size, gray, growth, taken))
        except ValueError as error:
            problems.append(str(error))
    return targets, problems


def paint(targets: list[LocatedTarget], size: tuple[int, int]) -> np.ndarray:
    """The mask (H, W) bool of all targets of an image."""
    mask = np.zeros(size, bool)
    for target in targets:
        top, left, bottom, right = target.box
        mask[top:bottom, left:right] |= target.mask
    return mask


def coco_target(target: LocatedTarget, size: tuple[int, int]) -> dict[str, Any]:
    """A target as :func:`mmirstd.io.coco.coco_dict` takes it, with its pixels where they are known."""
    with_pixels = target.extent is target.box
    return {
        'box': [round(side, 3) for side in target.extent],
        'area': int(target.mask.sum()),
        'category': target.annotation.category,
        'score': target.annotation.score,
        'rle': encode_rle(paint([target], size)) if with_pixels else None,
    }


def _window(annotation: Annotation, size: tuple[int, int], growth: Growth) -> Box | None:
    """The pixels of a box, or around a point; None for what needs no growing."""
    if annotation.box is not None:
        top, left, bottom, right = annotation.box
        check_inside(((top, left), (bottom, right)), size, annotation.where, 'the box')
        return covered_pixels(annotation.box, size)
    if annotation.point is not None:
        check_inside([annotation.point], size, annotation.where, 'the point')
        return point_window(*_pixel(annotation.point, size), size, growth)
    return None


def _pixel(point: tuple[float, float], size: tuple[int, int]) -> tuple[int, int]:
    row, col = (min(max(0, int(np.floor(p))), side - 1) for p, side in zip(point, size, strict=True))
    return row, col


def _locate(
    annotation: Annotation,
    window: Box | None,
    size: tuple[int, int],
    gray: np.ndarray | None,
    growth: Growth,
    taken: np.ndarray | None,
) -> LocatedTarget:
    if annotation.pixels is not None:
        return LocatedTarget(annotation, *annotation.pixels)
    if window is not None:
        point = None if annotation.point is None else _pixel(annotation.point, size)
        try:
            grown = grow_target(gray, window, growth, point=point, taken=taken)
        except ValueError as error:
            what = f'box {_rounded(annotation.box)}' if point is None else f'point {_rounded(annotation.point)}'
            raise AnnotationError(f'{annotation.where}: {what}: {error}') from error
        return _cropped(annotation, grown.mask, window[:2], grown)
    if annotation.rle is not None:
        mask = decode_rle(annotation.rle, size, annotation.where)
    else:
        for polygon in annotation.polygons:
            check_inside(polygon[:, ::-1].tolist(), size, annotation.where, 'the polygon')
        mask = fill_polygons((np.clip(p, 0, size[::-1]) for p in annotation.polygons), size)
    return _cropped(annotation, mask, (0, 0))


def _cropped(
    annotation: Annotation, mask: np.ndarray, at: tuple[int, int], grown: GrownTarget | None = None
) -> LocatedTarget:
    if not mask.any():
        raise AnnotationError(f'{annotation.where}: the segmentation covers no pixel')
    rows, cols = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    top, left, bottom, right = rows[0], cols[0], rows[-1] + 1, cols[-1] + 1
    box = tuple(int(side) for side in (top + at[0], left + at[1], bottom + at[0], right + at[1]))
    return LocatedTarget(annotation, box, mask[top:bottom, left:right].copy(), grown)


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(float(v), 3) for v in values]
