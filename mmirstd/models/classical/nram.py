"""Non-convex rank approximation minimization."""

import numpy as np

from mmirstd.models.classical.patches import Overlap, PatchGrid
from mmirstd.models.classical.singular_values import replace_singular_values
from mmirstd.models.classical.thresholds import normalize_map

_DIFFERENCE_STEPS = 100  # of the inner minimization


def nram(
    image: np.ndarray,
    patch_size: int = 50,
    step: int = 10,
    gamma: float = 2e-3,
    negative_step: bool = True,
    overlap: Overlap = 'median',
    tolerance: float = 1e-7,
    max_iterations: int = 1000,
) -> np.ndarray:
    """Patch-image model with a tighter rank: strong edges have a part of their own and are no false alarms.

    The patches are the columns of D, scaled to [0, 1]. The alternating direction method of multipliers minimizes
    ``||B||_gamma + lambda ||W T||_1 + beta ||E||_2,1`` with ``D = B + T + E``, where ``||B||_gamma`` sums
    ``(1 + gamma) s / (gamma + s)`` over the singular values s of B. W weighs by ``C / (|T| + 0.04)`` with
    ``C = sqrt(min(m, n)) / 2.5``, lambda is ``1 / sqrt(min(m, n))`` and beta ``3 / sqrt(min(m, n))`` for D of m x n. mu
    is ``3 sqrt(max(m, n))`` first and grows by 1.1 a step.

    Source: Zhang et al., Remote Sensing 10 (2018) 1821, Algorithm 1; numbers of Lanneeee/NRAM at ecbc4a4. That code
    has ``negative_step=False`` and ``overlap='last'``.

    Args:
        image: (H, W), of any unit.
        patch_size: Side of the patches in pixels.
        step: Distance of neighboring patches in pixels.
        gamma: Of the rank; the smaller, the nearer to counting singular values.
        negative_step: Shrink negative values of T by ``lambda W / mu``, as positive ones. False: by ``lambda W``, which
            leaves hardly any dark target.
        overlap: What a pixel of several patches gets.
        tolerance: Relative residual at which the steps end.
        max_iterations: Largest number of steps.

    Returns:
        (H, W) float64: T, as a fraction of the range of the image. Dark targets are negative.

    Raises:
        ValueError: If ``overlap`` is unknown, or a size is below 1.
    """
    image = np.asarray(image, np.float64)
    grid = PatchGrid.of(image, patch_size, step)
    data = normalize_map(grid.split(image).reshape(len(grid), -1).T)
    shorter = np.sqrt(min(data.shape))
    weight, beta, scale = 1 / shorter, 3 / shorter, shorter / 2.5
    mu = 3 * np.sqrt(max(data.shape))
    target, edges, multiplier = np.zeros((3, *data.shape))
    values = np.zeros(min(data.shape))
    size = np.linalg.norm(data)
    for _ in range(max_iterations):
        background, values = _low_rank(data - target - edges - multiplier / mu, mu, values, gamma)
        left = data - background - edges - multiplier / mu
        threshold = weight * scale / (np.abs(left) + 0.04)
        target = np.maximum(left - threshold / mu, 0)
        target += np.minimum(left + (threshold / mu if negative_step else threshold), 0)
        left = data - background - target - multiplier / mu
        lengths = np.linalg.norm(left, axis=0)
        edges = left * np.maximum(1 - beta / mu / np.where(lengths > 0, lengths, np.inf), 0)
        residual = background + edges + target - data
        multiplier += mu * residual
        mu *= 1.1
        if np.linalg.norm(residual) < tolerance * size:
            break
    return grid.join(target.T, overlap)


def _low_rank(matrix: np.ndarray, mu: float, start: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Minimize the rank of a matrix near another one by differences of convex functions."""

    def rule(values: np.ndarray) -> np.ndarray:
        new = before = start
        for _ in range(_DIFFERENCE_STEPS):
            new = np.maximum(values - (1 + gamma) * gamma / (gamma + before) ** 2 / mu, 0)
            if np.sum((new - before) ** 2) < 1e-6:
                break
            before = new
        return new

    return replace_singular_values(matrix, rule)
