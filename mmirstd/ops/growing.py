"""Targets grown from boxes and points, where nobody has drawn their pixels."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmirstd.ops.components import label_components
from mmirstd.ops.target_statistics import signal_to_clutter

Polarity = Literal['bright', 'dark']
Box = tuple[int, int, int, int]

# An annotated point lies within this distance (Chebyshev) of the peak that it means.
REACH = 2


@dataclass(frozen=True)
class Growth:
    """How targets are grown.

    Args:
        level: A pixel belongs to the target when it lies above this share of the way from background to peak. 0.3 is
            what masks drawn by hand come nearest to, see docs/how-to/labels.md; 0.5 is the half maximum.
        ring: Width of the surroundings in pixels, whose median is the background.
        window: Side of the window around a point, in pixels; odd.
        polarity: Whether targets are brighter or darker than their surroundings.

    Raises:
        ValueError: If a value is out of its range.
    """

    level: float = 0.3
    ring: int = 5
    window: int = 15
    polarity: Polarity = 'bright'

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ValueError(f'the level of growing lies between 0 and 1, got {self.level}')
        if self.ring < 1 or self.window < 2 * REACH + 1 or not self.window % 2:
            raise ValueError(
                f'growing needs a ring of at least 1 pixel and an odd window of at least {2 * REACH + 1} pixels, got '
                f'{self.ring} and {self.window}'
            )
        if self.polarity not in ('bright', 'dark'):
            raise ValueError(f"the polarity is 'bright' or 'dark', not {self.polarity!r}")


@dataclass(frozen=True, eq=False)
class GrownTarget:
    """A target that was grown in a box.

    Attributes:
        box: (top, left, bottom, right), half open, that it was grown in.
        mask: (bottom - top, right - left) bool, its pixels.
        scr: (peak - background) / standard deviation of the surroundings: how clearly the peak stands out.
        cut: Whether it reaches the border of the box on every side that is not the border of the image. A target that
            was found by a point may then be larger than the window, or be none.
    """

    box: Box
    mask: np.ndarray
    scr: float
    cut: bool


def point_window(row: int, col: int, shape: tuple[int, int], growth: Growth) -> Box:
    """The window around a point (row, col) of an image of a shape (H, W), cut at its border."""
    half = growth.window // 2
    return max(0, row - half), max(0, col - half), min(shape[0], row + half + 1), min(shape[1], col + half + 1)


def grow_target(
    gray: np.ndarray,
    box: Box,
    growth: Growth | None = None,
    *,
    point: tuple[int, int] | None = None,
    taken: np.ndarray | None = None,
) -> GrownTarget:
    """Grow a target from its peak inside a box.

    The background is the median of the surroundings, a ring around the box. The target is the component (8 neighbors)
    of the peak among the pixels of the box above ``background + level * (peak - background)``.

    Args:
        gray: (H, W), of any real type.
        box: (top, left, bottom, right), half open, inside the image.
        growth: Level, ring, window and polarity; by default :class:`Growth`'s.
        point: (row, col) inside the box. The peak is then searched near it only, see :data:`REACH`.
        taken: (H, W) bool, pixels in boxes of other targets, which are no background.

    Raises:
        ValueError: If nothing in the box stands out from its surroundings, or nothing surrounds it.

    >>> image = np.zeros((9, 9))
    >>> image[3:6, 3:6] = [[2, 6, 2], [6, 10, 6], [2, 6, 2]]
    >>> grow_target(image, (2, 2, 7, 7), Growth(level=0.5)).mask.astype(int).tolist()
    [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    """
    growth = growth or Growth()
    top, left, bottom, right = box
    row, col = max(0, top - growth.ring), max(0, left - growth.ring)
    around = slice(row, bottom + growth.ring), slice(col, right + growth.ring)
    values = gray[around].astype(np.float64) * (1 if growth.polarity == 'bright' else -1)
    inner = slice(top - row, bottom - row), slice(left - col, right - col)
    outside = np.ones(values.shape, bool)
    outside[inner] = False
    if taken is not None:
        outside &= ~taken[around]
    if not outside.any():
        raise ValueError('no background surrounds the box')
    background, clutter = np.median(values[outside]), values[outside].std()
    inside = values[inner]
    candidates = np.ones(inside.shape, bool)
    if point is not None:
        rows, cols = np.ogrid[top:bottom, left:right]
        candidates = (abs(rows - point[0]) <= REACH) & (abs(cols - point[1]) <= REACH)
    peak_at = np.unravel_index(np.where(candidates, inside, -np.inf).argmax(), inside.shape)
    contrast = inside[peak_at] - background
    if not contrast > 0:
        sign = 1 if growth.polarity == 'bright' else -1
        raise ValueError(
            f'nothing in it is {growth.polarity}er than its surroundings (peak {sign * inside[peak_at]:g}, background '
            f'{sign * background:g})'
        )
    labels = label_components(inside > background + growth.level * contrast).label_map(inside.shape)
    mask = labels == labels[peak_at]
    height, width = gray.shape
    ends = ((top, mask[0]), (left, mask[:, 0]), (height - bottom, mask[-1]), (width - right, mask[:, -1]))
    cut = all(line.any() for distance, line in ends if distance)
    return GrownTarget(box, mask, float(signal_to_clutter(contrast, clutter)), cut)
