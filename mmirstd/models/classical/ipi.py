"""Infrared patch-image model."""

from typing import Literal

import numpy as np

from mmirstd.models.classical.patches import Overlap, PatchGrid
from mmirstd.models.classical.singular_values import largest_singular_values, shrink_singular_values, soft_threshold
from mmirstd.models.classical.thresholds import normalize_map


def ipi(
    image: np.ndarray,
    patch_size: int = 50,
    step: int = 10,
    weight_of: Literal['patches', 'image'] = 'patches',
    whole: bool = True,
    overlap: Overlap = 'median',
    tolerance: float = 1e-6,
    max_iterations: int = 1000,
) -> np.ndarray:
    """Infrared patch-image model: patches of the background are alike, a low-rank matrix; targets are few pixels.

    The patches are the columns of D, scaled to [0, 1]. Accelerated proximal gradient steps minimize
    ``mu (||B||_* + lambda ||T||_1) + ||D - B - T||^2 / 2`` while mu falls by 0.9 a step, from the second singular value
    of D to 0.005 of its fourth. They end when the residual is small, when the rank of B has stayed the same for ten
    steps and the number of target pixels too, or when the rank exceeds 0.3 of the largest possible.

    Source: Gao et al., IEEE TIP 22 (2013) 4996, Eq. 13 and Algorithm 1. Numbers that the paper leaves open are those of
    gaocq/IPI-for-small-target-detection at 9209828. That code has ``weight_of='image'`` and ``whole=False``.

    Args:
        image: (H, W), of any unit.
        patch_size: Side of the patches in pixels.
        step: Distance of neighboring patches in pixels.
        weight_of: What lambda is ``1 / sqrt`` of: the longer side of D, or the longer side of the image.
        whole: Cover the right and lower border, too.
        overlap: What a pixel of several patches gets.
        tolerance: Relative residual at which the steps end.
        max_iterations: Largest number of steps.

    Returns:
        (H, W) float64: T, as a fraction of the range of the image. Dark targets are negative.

    Raises:
        ValueError: If ``weight_of`` or ``overlap`` is unknown, or a size is below 1.
    """
    if weight_of not in ('patches', 'image'):
        raise ValueError(f"ipi: weight_of must be 'patches' or 'image', got {weight_of!r}")
    image = np.asarray(image, np.float64)
    grid = PatchGrid.of(image, patch_size, step, whole)
    data = normalize_map(grid.split(image).reshape(len(grid), -1).T)
    weight = 1 / np.sqrt(max(data.shape if weight_of == 'patches' else image.shape))
    target = _accelerated_proximal_gradient(data, weight, tolerance, max_iterations)
    return grid.join(target.T, overlap)


def _accelerated_proximal_gradient(
    data: np.ndarray, weight: float, tolerance: float, max_iterations: int
) -> np.ndarray:
    values = largest_singular_values(data, 4)
    mu, lowest = values[min(1, len(values) - 1)], 0.005 * values[min(3, len(values) - 1)]
    background = target = before_background = before_target = np.zeros_like(data)
    momentum = before_momentum = 1.0
    rank_before = count_before = unchanged = 0
    for _ in range(max_iterations):
        ahead = (before_momentum - 1) / momentum
        at_background = background + ahead * (background - before_background)
        at_target = target + ahead * (target - before_target)
        half_residual = (at_background + at_target - data) / 2  # 2 is the Lipschitz constant of the gradient
        before_background, before_target = background, target
        background, kept = shrink_singular_values(at_background - half_residual, mu / 2)
        target = soft_threshold(at_target - half_residual, weight * mu / 2)
        step_background, step_target = background - at_background, target - at_target
        both = step_background + step_target
        residual = np.hypot(np.linalg.norm(both - 2 * step_background), np.linalg.norm(both - 2 * step_target))
        rank, count = len(kept), np.count_nonzero(target)
        mu = max(0.9 * mu, lowest)
        before_momentum, momentum = momentum, (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        if rank == rank_before:
            unchanged += 1
        else:
            unchanged, count_before = 0, count
        rank_before = rank
        if (
            residual <= tolerance * 2 * max(1, np.hypot(np.linalg.norm(background), np.linalg.norm(target)))
            or (unchanged > 10 and abs(count - count_before) < 20)
            or rank > 0.3 * min(data.shape)
        ):
            break
    return target
