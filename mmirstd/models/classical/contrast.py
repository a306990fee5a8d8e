"""Detectors by local contrast between a cell and its eight neighbors: TLLCM and WSLCM."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_ELEMENTS = 1 << 22  # that are partitioned at once: 32 MiB
_NEIGHBORS = [(i, j) for i in range(3) for j in range(3) if (i, j) != (1, 1)]


def tllcm(image: np.ndarray, size: int = 9, largest: int = 9) -> np.ndarray:
    """Three-layer local contrast measure: a smoothed core against the brightest pixels of the cells around it.

    ``T = max(0, G^2 / B - G)``: G is the image under the binomial filter of 3 x 3. B is the largest, over the eight
    cells of ``size`` x ``size`` around the cell of the pixel, of the mean of a cell's ``largest`` brightest pixels.
    Pixels beyond the border are 0 for B and repeat the border for G. Where B is 0, it counts as 1.

    Source: Han et al., IEEE GRSL 17 (2020) 1822. Defaults are those of Linaom1214/ISTD-Benchmark at c4c6dd8.

    Args:
        image: (H, W), not negative, of any unit.
        size: Side of a cell in pixels, odd.
        largest: How many pixels of a cell are averaged.

    Returns:
        (H, W) float64 in the unit of the image, not negative.

    Raises:
        ValueError: If a cell is even-sided or has fewer pixels than are to be averaged.
    """
    _check_cell('tllcm', size, largest)
    image = np.asarray(image, np.float64)
    return _contrast(_core(image), _around(_largest_mean(image, size, largest), size).max(0))


def wslcm(
    image: np.ndarray, sizes: Sequence[int] = (5, 7, 9, 11), largest: int = 9, min_deviation: float = 5.0
) -> np.ndarray:
    """Weighted strengthened local contrast measure: contrast weighted by the irregularity of target and background.

    ``T = max_s SLCM * I_0 * max(0, I_0 - max_i I_i) / max(std_i I_i, min_deviation)``: SLCM is the contrast of
    :func:`tllcm` with cells of s x s pixels. The irregularity I of a cell is the mean of its ``largest`` brightest
    pixels less the mean of all. Index 0 is the cell of the pixel, i goes over the eight around it, std divides by
    seven. Beyond the border, pixels are 0 among the brightest and repeat the border in G and in the mean of all.

    Source: Han et al., IEEE GRSL 18 (2021) 1670. Defaults are those of moradisaed/WSLCM at 9d93577.

    Args:
        image: (H, W), not negative, in gray levels of 0 to 255.
        sizes: Sides of the cells in pixels, odd.
        largest: How many pixels of a cell are averaged.
        min_deviation: Gray levels; smaller deviations count as this.

    Returns:
        (H, W) float64, not negative in practice, in cubed gray levels per gray level.

    Raises:
        ValueError: If there is no cell, or one is even-sided or has fewer pixels than are to be averaged.
    """
    if not sizes:
        raise ValueError('wslcm: sizes must name at least one cell')
    image = np.asarray(image, np.float64)
    core = _core(image)
    return np.max([_weighted_contrast(image, core, size, largest, min_deviation) for size in sizes], axis=0)


def _weighted_contrast(
    image: np.ndarray, core: np.ndarray, size: int, largest: int, min_deviation: float
) -> np.ndarray:
    _check_cell('wslcm', size, largest)
    brightest = _largest_mean(image, size, largest)
    mean = cv2.blur(np.pad(image, size + size // 2, mode='edge'), (size, size))[size // 2 :, size // 2 :]
    irregularity = brightest - mean[: brightest.shape[0], : brightest.shape[1]]
    height, width = image.shape
    own = irregularity[size : size + height, size : size + width]
    around = _around(irregularity, size)
    weight = own * np.maximum(own - around.max(0), 0) / np.maximum(around.std(0, ddof=1), min_deviation)
    return weight * _contrast(core, _around(brightest, size).max(0))


def _core(image: np.ndarray) -> np.ndarray:
    kernel = np.array([1, 2, 1]) / 4
    return cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)


def _contrast(core: np.ndarray, background: np.ndarray) -> np.ndarray:
    return np.maximum(core**2 / np.where(background > 0, background, 1) - core, 0)


def _largest_mean(image: np.ndarray, size: int, largest: int) -> np.ndarray:
    """Mean of the brightest pixels of the cells around all pixels up to ``size`` beyond the border."""
    radius = size // 2
    padded = np.pad(image, size + radius)
    cells = sliding_window_view(padded, (size, size))
    out = np.empty(cells.shape[:2])
    rows = max(_ELEMENTS // (cells.shape[1] * size**2), 1)
    for top in range(0, len(cells), rows):
        band = cells[top : top + rows].reshape(-1, size**2)
        band.partition(size**2 - largest, axis=1)
        out[top : top + rows] = band[:, size**2 - largest :].mean(1).reshape(-1, cells.shape[1])
    return out


def _around(values: np.ndarray, size: int) -> np.ndarray:
    """Values (H + 2 size, W + 2 size) of the eight cells around that of each pixel, (8, H, W)."""
    height, width = values.shape[0] - 2 * size, values.shape[1] - 2 * size
    return np.stack([values[i * size :, j * size :][:height, :width] for i, j in _NEIGHBORS])


def _check_cell(name: str, size: int, largest: int) -> None:
    if size < 3 or size % 2 == 0:
        raise ValueError(f'{name}: the side of a cell must be odd and at least 3, got {size}')
    if not 1 <= largest <= size**2:
        raise ValueError(f'{name}: a cell of {size} x {size} pixels has no {largest} brightest ones')
