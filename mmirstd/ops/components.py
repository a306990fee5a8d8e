"""Connected components of a mask: the one definition of target, detection and false alarm."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array, csgraph

Connectivity = Literal[4, 8]

# Above so many cells, a grid costs more than neighbors that are looked up.
_LARGE_GRID = 2**22

_STRUCTURES = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}


@dataclass(frozen=True, eq=False)
class Components:
    """The N connected components of a mask, in raster order of their first pixels.

    `rows`, `cols` and `index` (P,) list the foreground pixels in raster order and the component, 0 to N - 1, of each;
    `area` (N,) is in pixels; `centroid` (N, 2) holds float64 (row, column) means of pixel indices.
    """

    rows: np.ndarray
    cols: np.ndarray
    index: np.ndarray
    area: np.ndarray
    centroid: np.ndarray

    def __len__(self) -> int:
        return len(self.area)

    @cached_property
    def boxes(self) -> np.ndarray:
        """(N, 4) int64 boxes (top, left, bottom, right), half open."""
        boxes = np.empty((len(self), 4), np.int64)
        boxes[:, :2] = np.iinfo(np.int64).max
        boxes[:, 2:] = -1
        for axis, position in enumerate((self.rows, self.cols)):
            np.minimum.at(boxes[:, axis], self.index, position)
            np.maximum.at(boxes[:, axis + 2], self.index, position + 1)
        return boxes

    def label_map(self, shape: tuple[int, int]) -> np.ndarray:
        """(H, W) int64 map of an image of this shape: 0 on background, k + 1 on component k."""
        labels = np.zeros(shape, np.int64)
        labels[self.rows, self.cols] = self.index + 1
        return labels


def label_components(mask: np.ndarray, connectivity: Connectivity = 8) -> Components:
    """Label the connected components of a bool mask (H, W)."""
    return label_pixels(np.flatnonzero(mask), mask.shape, connectivity)


def label_pixels(flat: np.ndarray, shape: tuple[int, int], connectivity: Connectivity = 8) -> Components:
    """Label the connected components of the pixels with flat indices (P,), ascending, in an image of a shape (H, W).

    Runs of empty rows and columns are squeezed to one before labeling: that keeps neighborhoods and raster order, and
    makes the cost follow the targets rather than the image.
    """
    if connectivity not in _STRUCTURES:
        raise ValueError(f'connectivity must be 4 or 8, not {connectivity!r}')
    height, width = shape
    rows, cols = np.divmod(flat, width)
    if not flat.size:
        nothing = np.zeros(0, np.int64)
        return Components(rows, cols, nothing, nothing, np.zeros((0, 2)))
    (squeezed_rows, grid_height), (squeezed_cols, grid_width) = squeeze(rows, height), squeeze(cols, width)
    if grid_height * grid_width > max(_LARGE_GRID, 64 * flat.size):
        index, number = _label_neighbors(flat, cols, width, connectivity)
    else:
        grid = np.zeros((grid_height, grid_width), bool)
        grid[squeezed_rows, squeezed_cols] = True
        labels, number = ndimage.label(grid, _STRUCTURES[connectivity])
        index = labels[squeezed_rows, squeezed_cols].astype(np.int64) - 1
    area = np.bincount(index, minlength=number)
    centroid = np.empty((number, 2))
    for axis, position in enumerate((rows, cols)):
        np.divide(np.bincount(index, position), area, out=centroid[:, axis])
    return Components(rows, cols, index, area, centroid)


def _label_neighbors(flat: np.ndarray, cols: np.ndarray, width: int, connectivity: int) -> tuple[np.ndarray, int]:
    """Label few pixels of a large image by a graph of neighbors, in memory that follows the pixels alone."""
    pairs = []
    for down, right in ((0, 1), (1, 0)) if connectivity == 4 else ((0, 1), (1, -1), (1, 0), (1, 1)):
        inside = np.flatnonzero((cols + right >= 0) & (cols + right < width))
        wanted = flat[inside] + down * width + right
        found = np.minimum(np.searchsorted(flat, wanted), flat.size - 1)
        there = flat[found] == wanted
        pairs.append((inside[there], found[there]))
    first, second = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    graph = coo_array((np.ones(first.size, bool), (first, second)), shape=(flat.size, flat.size))
    number, labels = csgraph.connected_components(graph, directed=False)
    _, begins = np.unique(labels, return_index=True)
    order = np.empty(number, np.int64)
    order[np.argsort(begins)] = np.arange(number)  # in raster order of the first pixels
    return order[labels], number


def squeeze(positions: np.ndarray, length: int) -> tuple[np.ndarray, int]:
    """Renumber positions (P,) in [0, length) without holes, but for one empty place in each gap; and the new length."""
    kept = np.zeros(length + 1, np.intp)
    kept[positions] = 1
    kept[positions + 1] = 1
    number = kept.cumsum()
    return number[positions] - 1, int(number[-1]) - 1
