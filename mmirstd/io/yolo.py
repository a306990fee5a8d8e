"""Annotations of YOLO: a text file for each image, a line for each target, positions divided by the image's sides."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mmirstd.io.annotations import Annotation, AnnotationError
from mmirstd.io.ids import decode_text

_SLACK = 1e-3


def read_yolo(path: str | Path, size: tuple[int, int]) -> list[Annotation]:
    """Read the file of one image. A line says, after the number of the class:

    - ``x y``: a point;
    - ``x y width height``, x and y of the center: a box; without an extent a point; a confidence may follow;
    - ``x y x y x y ...``: a polygon of three or more points.

    Args:
        path: Text file; an empty one is that of an image of background.
        size: (height, width) of the image.

    Raises:
        AnnotationError: If a line is none of these, or a number lies outside of [0, 1]; the message names file, line
            and value.
    """
    path, (height, width) = str(path), size
    found = []
    for number, line in enumerate(decode_text(Path(path).read_bytes(), path).splitlines(), 1):
        if not (words := line.split()):
            continue
        where = f'{path}, line {number}'
        try:
            category, values = int(words[0]), [float(word) for word in words[1:]]
        except ValueError as error:
            raise AnnotationError(f'{where}: {line.strip()!r} is no class and numbers ({error})') from error
        if category < 0:
            raise AnnotationError(f'{where}: the class {category} is negative')
        if wrong := [v for v in values if not -_SLACK <= v <= 1 + _SLACK]:  # NaN too
            raise AnnotationError(f'{where}: {wrong[0]:g} lies outside of [0, 1]; positions are divided by the sides')
        common = {'where': where, 'category': str(category)}
        if len(values) in (4, 5):
            x, y, w, h = values[:4]
            if w < 0 or h < 0:
                raise AnnotationError(f'{where}: width or height is negative: {w:g}, {h:g}')
            score = values[4] if len(values) == 5 else None
            if w == h == 0:
                found.append(Annotation(**common, point=(y * height, x * width), score=score))
                continue
            box = ((y - h / 2) * height, (x - w / 2) * width, (y + h / 2) * height, (x + w / 2) * width)
            found.append(Annotation(**common, box=box, score=score))
        elif len(values) == 2:
            found.append(Annotation(**common, point=(values[1] * height, values[0] * width)))
        elif len(values) >= 6 and not len(values) % 2:
            found.append(Annotation(**common, polygons=(np.array(values).reshape(-1, 2) * (width, height),)))
        else:
            raise AnnotationError(
                f'{where}: {len(values)} numbers after the class; a point has 2, a box 4 or 5, a polygon 6, 8, ...'
            )
    return found


def yolo_lines(targets: Iterable[tuple[int, tuple[float, ...]]], size: tuple[int, int]) -> str:
    """Boxes as lines of YOLO.

    Args:
        targets: Class and (top, left, bottom, right) of each.
        size: (height, width) of the image.

    >>> yolo_lines([(0, (2, 4, 4, 8))], (8, 16))
    '0 0.375 0.375 0.25 0.25\\n'
    """
    height, width = size
    lines = []
    for category, (top, left, bottom, right) in targets:
        center = (left + right) / 2 / width, (top + bottom) / 2 / height
        numbers = *center, (right - left) / width, (bottom - top) / height
        lines.append(' '.join([str(category), *(_number(n, max(size)) for n in numbers)]))
    return ''.join(f'{line}\n' for line in lines)


def _number(value: float, side: int) -> str:
    """With digits enough for a thousandth of a pixel."""
    return f'{value:.{math.ceil(math.log10(side)) + 4}f}'.rstrip('0').rstrip('.')
