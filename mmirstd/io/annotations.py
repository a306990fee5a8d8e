"""What is annotated in an image, in whichever format: pixels, outlines, boxes or points."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmirstd.utils.errors import UserError
from mmirstd.utils.text import shorten

# Annotation tools round, so that a box may reach this many pixels over the border of its image.
SLACK = 1.0


class AnnotationError(UserError, ValueError):
    """An annotation that cannot be read, or that does not fit its image."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """One target. Exactly one of `box`, `point`, `polygons`, `rle` and `pixels` says where it is.

    Coordinates are continuous: the pixel in row 3 and column 5 covers [3, 4] x [5, 6].

    Attributes:
        where: The file and the annotation in it, for messages.
        category: Name or number.
        box: (top, left, bottom, right).
        point: (row, col).
        polygons: Outlines, (K, 2) float64 (x, y) each; together they are the target.
        rle: COCO's run-length encoding, ``{'size': [H, W], 'counts': ...}``.
        pixels: ((top, left, bottom, right), (bottom - top, right - left) bool).
        score: Of a detection.
    """

    where: str
    category: str = 'target'
    box: tuple[float, float, float, float] | None = None
    point: tuple[float, float] | None = None
    polygons: tuple[np.ndarray, ...] | None = None
    rle: dict[str, Any] | None = None
    pixels: tuple[tuple[int, int, int, int], np.ndarray] | None = None
    score: float | None = None


@dataclass
class AnnotatedImage:
    """The annotations of an image: its name without extension, and (height, width) where the format says it."""

    name: str
    size: tuple[int, int] | None = None
    annotations: list[Annotation] = field(default_factory=list)


def finite_numbers(values: Any, where: str, what: str, count: int | None = None) -> list[float]:
    """Check a list of numbers, ``count`` of them.

    Raises:
        AnnotationError: If it is something else, or a number is NaN or infinite; the message names it.
    """
    listed = values if isinstance(values, (list, tuple)) else None
    if listed is None or (count is not None and len(listed) != count) or not all(map(_is_finite, listed)):
        number = '' if count is None else f'{count} '
        raise AnnotationError(f'{where}: {what} must be {number}finite numbers: {shorten(repr(values), 200)}')
    return [float(v) for v in listed]


def checked_size(height: Any, width: Any, where: str) -> tuple[int, int]:
    """Check that height and width are whole numbers of at least 1.

    Raises:
        AnnotationError: If they are not; the message names them.
    """
    sides = finite_numbers([height, width], where, 'height and width', 2)
    if any(side < 1 or side % 1 for side in sides):
        raise AnnotationError(f'{where}: height and width must be whole numbers of at least 1: {height!r}, {width!r}')
    return int(height), int(width)


def check_inside(points: Iterable[tuple[float, float]], size: tuple[int, int], where: str, what: str) -> None:
    """Check that (row, col) positions lie in an image of a size (height, width), up to :data:`SLACK`.

    Raises:
        AnnotationError: If one does not; the message names it.
    """
    height, width = size
    for row, col in points:
        if not (-SLACK <= row <= height + SLACK and -SLACK <= col <= width + SLACK):
            raise AnnotationError(
                f'{where}: {what} lies outside of the image: row {row:g}, column {col:g}, the image is {height} x '
                f'{width} pixels (height x width)'
            )


def covered_pixels(box: tuple[float, ...], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The pixels whose centers lie in a box, at least one, as (top, left, bottom, right), half open.

    >>> covered_pixels((2.0, 3.0, 4.0, 5.999), (10, 10)), covered_pixels((2.6, 3.6, 2.9, 3.9), (10, 10))
    ((2, 3, 4, 6), (2, 3, 3, 4))
    """
    sides = []
    for low, high, length in ((box[0], box[2], size[0]), (box[1], box[3], size[1])):
        start, stop = max(0, math.ceil(low - 0.5)), min(length, math.floor(high - 0.5) + 1)
        if stop <= start:
            start = min(max(0, math.floor((low + high) / 2)), length - 1)
            stop = start + 1
        sides.append((start, stop))
    (top, bottom), (left, right) = sides
    return top, left, bottom, right


def _is_finite(value: Any) -> bool:
    # A whole number may be too large for a float.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
