"""Detectors that subtract a filtered background: Top-Hat and Max-Median."""

from typing import Literal

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def top_hat(image: np.ndarray, size: int = 5) -> np.ndarray:
    """Subtract the opening of an image from the image: what is bright and smaller than the structuring element stays.

    ``T = f - (f eroded by B) dilated by B`` with a square B.

    Source: Tom et al., SPIE 1954 (1993). Size 5 is that of Tianfang-Zhang/ISTD-python at 188bfe1, which does the same.

    Args:
        image: (H, W), of any unit.
        size: Side of the structuring element in pixels, odd.

    Returns:
        (H, W) float64 in the unit of the image, not negative.

    Raises:
        ValueError: If the size is even or below 3.
    """
    _check_odd('top_hat', 'size', size)
    return cv2.morphologyEx(np.asarray(image, np.float64), cv2.MORPH_TOPHAT, np.ones((size, size), np.uint8))


def max_median(image: np.ndarray, length: int = 15, diagonals: Literal['both', 'one'] = 'both') -> np.ndarray:
    """Subtract the largest of four directional medians, which follows edges and lines but not points.

    ``T = max(0, f - max(m_1, ..., m_4))``: m_i is the median of ``length`` pixels in a row, a column or a diagonal
    around the pixel. The border is repeated.

    Source: Deshpande et al., SPIE 3809 (1999), Eq. 4. Length 15 is that of Tianfang-Zhang/ISTD-python at 188bfe1, whose
    code overwrites one diagonal with the other; ISTD-Benchmark at c4c6dd8 takes 5.

    Args:
        image: (H, W), not negative, of any unit.
        length: Pixels of each median, odd.
        diagonals: ``'one'`` leaves out the diagonal from top left to bottom right, as ISTD-python does.

    Returns:
        (H, W) float64 in the unit of the image, not negative.

    Raises:
        ValueError: If the length is even or below 3, or ``diagonals`` is neither.
    """
    _check_odd('max_median', 'length', length)
    if diagonals not in ('both', 'one'):
        raise ValueError(f"max_median: diagonals must be 'both' or 'one', got {diagonals!r}")
    image = np.asarray(image, np.float64)
    radius = length // 2
    padded = np.pad(image, radius, mode='edge')
    windows = sliding_window_view(padded, image.shape)  # [dy, dx] is the image shifted by that
    along, center = np.arange(length), np.full(length, radius)
    lines = [(along, center), (center, along), (along, along[::-1])]
    if diagonals == 'both':
        lines.append((along, along))
    background = np.full(image.shape, -np.inf)
    for rows, columns in lines:
        pixels = np.ascontiguousarray(np.moveaxis(windows[rows, columns], 0, -1))
        pixels.partition(radius, axis=-1)
        np.maximum(background, pixels[..., radius], out=background)
    return np.maximum(image - background, 0)


def _check_odd(name: str, key: str, value: int) -> None:
    if value < 3 or value % 2 == 0:
        raise ValueError(f'{name}: {key} must be odd and at least 3, got {value}')
