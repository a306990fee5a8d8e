"""Components and their matches at every level of one image: the work behind a component sweep.

The components of all levels are labeled in one call, as slices of a volume that are not connected to each other, over
the crop where anything is positive.
"""

import numpy as np
from scipy import ndimage

from mmirstd.evaluation.functional.matching import near_pairs, one_to_one
from mmirstd.ops.components import Components, Connectivity, squeeze

_SLICES = {c: np.pad(ndimage.generate_binary_structure(2, c // 4)[None], ((1, 1), (0, 0), (0, 0))) for c in (4, 8)}
_VOXELS_AT_ONCE = 2**18


def component_steps(
    bins: np.ndarray, targets: Components, distance: float, connectivity: Connectivity
) -> tuple[np.ndarray, np.ndarray]:
    """Match targets to the components of ``bins >= level`` for every level above 0 that occurs in `bins` (H, W).

    Returns the M levels, ascending, and (M, 3) int64: the numbers of detected targets and of components, and the
    number of pixels in the components that a target took.
    """
    rows, cols = np.nonzero(bins)
    levels, rank = np.unique(bins[rows, cols], return_inverse=True)
    objects = np.zeros((len(levels), 3), np.int64)
    alive = np.bincount(rank, minlength=len(levels))[::-1].cumsum()[::-1]
    start = 0
    while start < len(levels):
        keep = rank >= start
        rows, cols, rank = rows[keep], cols[keep], rank[keep]
        row_at, col_at = squeeze(rows, bins.shape[0])[0], squeeze(cols, bins.shape[1])[0]
        grid = np.full((row_at[-1] + 1, col_at.max() + 1), -1)
        grid[row_at, col_at] = rank
        # Once half of the pixels are gone the crop is made anew: noise is left behind with the levels it belongs to.
        stop = min(start + max(1, _VOXELS_AT_ONCE // grid.size), len(levels))
        stop = max(start + 1, start + int(np.searchsorted(-alive[start:stop], -alive[start] / 2)))
        volume = grid >= np.arange(start, stop)[:, None, None]
        labels, number = ndimage.label(volume, _SLICES[connectivity])
        step, row, col = np.nonzero(volume)
        index = labels[step, row, col] - 1
        position = np.empty(grid.shape[0], np.int64), np.empty(grid.shape[1], np.int64)
        position[0][row_at], position[1][col_at] = rows, cols
        area = np.bincount(index, minlength=number)
        centroid = [np.bincount(index, weights=p[i]) / area for p, i in zip(position, (row, col), strict=True)]
        components = np.diff(labels.reshape(stop - start, -1).max(1), prepend=0)  # no step is empty
        step_of = np.repeat(np.arange(stop - start), components)
        taken = _greedy(targets.centroid, np.stack(centroid, axis=1), step_of, distance)
        objects[start:stop, 0] = np.bincount(step_of[taken], minlength=stop - start)
        objects[start:stop, 1] = components
        objects[start:stop, 2] = np.bincount(step_of[taken], weights=area[taken], minlength=stop - start)
        start = stop
    return levels, objects


def _greedy(targets: np.ndarray, components: np.ndarray, step_of: np.ndarray, distance: float) -> np.ndarray:
    """The components that targets (N, 2) take at each step, as :func:`match_components` does at one."""
    target, component = near_pairs(targets, components, distance)[0].T
    order = np.lexsort((component, target, step_of[component]))
    target_at_step = (step_of[component] * len(targets) + target)[order].tolist()
    return one_to_one(zip(target_at_step, component[order].tolist(), strict=True))[:, 1]
