"""Four ways of matching targets to predicted components; published evaluations differ in them.

- ``'greedy'``: targets in label order take the first free component, in label order, that is near (dnanet and most
  others). Whoever comes first can take what only another could have had.
- ``'nearest'``: near pairs in order of distance, the closest first (ties: in label order), as long as both are free.
- ``'hungarian'``: as many near pairs as possible, and among these the least total distance.
- ``'overlap'``: a target and a component match if they share a pixel (rpcanet). Not one to one: one component can
  detect many targets. A component is false if it touches no target.

Near means that the centroids are closer than `distance`, strictly. All but ``'overlap'`` match one to one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mmirstd.ops.components import Components

PAIRS_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False, slots=True)
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


def match_components(
    targets: Components, predictions: Components, method: str = 'greedy', *, distance: float = 3.0
) -> Matches:
    """Match the N components of a mask to the M of a prediction.

    Args:
        targets: Of the mask.
        predictions: Of the prediction.
        method: ``'greedy'``, ``'nearest'``, ``'hungarian'`` or ``'overlap'``, see the module.
        distance: Centroids nearer than this, strictly, can match; in pixels.

    Raises:
        ValueError: If there is no such method or the distance is not positive.

    >>> from mmirstd.ops.components import label_components
    >>> target, prediction = np.eye(9, dtype=bool), np.zeros((9, 9), bool)
    >>> prediction[4, 5] = prediction[0, 8] = True
    >>> match_components(label_components(target), label_components(prediction)).false.tolist()
    [0]
    """
    if method not in _METHODS:
        raise ValueError(f'there is no matching {method!r}; there are {", ".join(_METHODS)}')
    pairs = _METHODS[method](targets, predictions, distance)
    missed, false = np.ones(len(targets), bool), np.ones(len(predictions), bool)
    missed[pairs[:, 0]] = False
    false[pairs[:, 1]] = False
    return Matches(targets, predictions, pairs, np.flatnonzero(missed), np.flatnonzero(false))


def near_pairs(targets: np.ndarray, predictions: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the pairs of target and component whose centroids, (N, 2) and (M, 2), are closer than `distance`.

    Returns:
        (K, 2) pairs in lexicographic order, and how far apart they are, (K,).
    """
    if not distance > 0:
        raise ValueError(f'distance must be positive, not {distance!r}')
    if not len(targets) or not len(predictions):
        return np.zeros((0, 2), np.int64), np.zeros(0)
    pairs, apart = [], []
    step = max(1, PAIRS_AT_ONCE // len(predictions))  # bounds the memory of noise against noise
    for start in range(0, len(targets), step):
        block = targets[start : start + step]
        down, right = (block[:, axis, None] - predictions[:, axis] for axis in (0, 1))
        distances = np.sqrt(down * down + right * right)
        target, component = np.nonzero(distances < distance)
        pairs.append(np.array((target + start, component)).T)
        apart.append(distances[target, component])
    return np.concatenate(pairs), np.concatenate(apart)


def one_to_one(pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Of (target, component) in an order of preference, those of which both are still free, by target."""
    component_of: dict[int, int] = {}
    taken = set()
    for target, component in pairs:
        if target not in component_of and component not in taken:
            component_of[target] = component
            taken.add(component)
    return np.array(sorted(component_of.items()), np.int64).reshape(-1, 2)


def _greedy(targets: Components, predictions: Components, distance: float) -> np.ndarray:
    return one_to_one(near_pairs(targets.centroid, predictions.centroid, distance)[0].tolist())


def _nearest(targets: Components, predictions: Components, distance: float) -> np.ndarray:
    pairs, apart = near_pairs(targets.centroid, predictions.centroid, distance)
    return one_to_one(pairs[np.argsort(apart, kind='stable')].tolist())


def _hungarian(targets: Components, predictions: Components, distance: float) -> np.ndarray:
    pairs, apart = near_pairs(targets.centroid, predictions.centroid, distance)
    if not len(pairs):
        return pairs
    # Only pairs of one group compete, so each group is an assignment of its own: targets, then components, are nodes.
    size = len(targets) + len(predictions)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1] + len(targets))), shape=(size, size))
    group = connected_components(graph, directed=False)[1][pairs[:, 0]]
    order = np.argsort(group, kind='stable')
    chosen = []
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        rows, row = np.unique(pairs[members, 0], return_inverse=True)
        cols, col = np.unique(pairs[members, 1], return_inverse=True)
        # A pair that is not near costs more than all near ones together, so that as few as possible are used.
        cost = np.full((len(rows), len(cols)), apart[members].sum() + 1)
        cost[row, col] = apart[members]
        near = np.zeros(cost.shape, bool)
        near[row, col] = True
        i, j = linear_sum_assignment(cost)
        kept = near[i, j]
        chosen.append(np.stack([rows[i[kept]], cols[j[kept]]], axis=1))
    pairs = np.concatenate(chosen)
    return pairs[np.argsort(pairs[:, 0])]


def _overlap(targets: Components, predictions: Components, distance: float) -> np.ndarray:
    if not len(targets) or not len(predictions):
        return np.zeros((0, 2), np.int64)
    width = max(targets.cols.max(), predictions.cols.max()) + 1
    wanted, present = (c.rows * width + c.cols for c in (targets, predictions))  # both ascending
    place = np.minimum(np.searchsorted(present, wanted), present.size - 1)
    shared = present[place] == wanted
    pair = targets.index[shared] * len(predictions) + predictions.index[place[shared]]
    return np.stack(np.divmod(np.unique(pair), len(predictions)), axis=1)


_METHODS = {'greedy': _greedy, 'nearest': _nearest, 'hungarian': _hungarian, 'overlap': _overlap}
