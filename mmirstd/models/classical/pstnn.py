"""Partial sum of the tensor nuclear norm."""

from typing import Literal

import numpy as np

from mmirstd.models.classical.patches import Overlap, PatchGrid
from mmirstd.models.classical.singular_values import replace_singular_values, soft_threshold
from mmirstd.models.classical.structure_tensor import structure_eigenvalues
from mmirstd.models.classical.thresholds import normalize_map


def pstnn(
    image: np.ndarray,
    patch_size: int = 40,
    step: int = 40,
    weight: float = 0.7,
    unfolding: Literal['third', 'mixed'] = 'third',
    overlap: Overlap = 'mean',
    tolerance: float = 1e-3,
    max_iterations: int = 500,
) -> np.ndarray:
    """Partial sum of the tensor nuclear norm: only singular values beyond the first N are made small.

    The alternating direction method of multipliers minimizes ``||B||_PSTNN + lambda ||W T||_1`` with ``D = B + T`` and
    T not negative. D has a patch in each layer. The norm sums, over the layers of the Fourier transform of B along the
    patches, the singular values after the first N. N is how many singular values of D, unfolded along the patches,
    reach a tenth of the largest. lambda is ``weight / sqrt(max(n1, n2) n3)``. W is ``N / (|T| + 0.01) / w``, and w is
    large at corners: ``l1 l2 / (l1 + l2) * l1``, scaled to [0, 1], of the structure tensor. mu is 2e-3 first and grows
    by 1.05 a step. The steps end when the number of target pixels stays.

    Source: Zhang and Peng, Remote Sensing 11 (2019) 382, Algorithm 2; numbers of
    Lanneeee/Infrared-Small-Target-Detection-based-on-PSTNN at c85143a. That code has ``unfolding='mixed'`` and
    ``overlap='last'``.

    Args:
        image: (H, W), gray levels of 0 to 255.
        patch_size: Side of the patches in pixels.
        step: Distance of neighboring patches in pixels.
        weight: Of lambda.
        unfolding: How D becomes a matrix with a row for each patch. ``'mixed'`` fills the matrix column by column from
            D in memory, so that a row has pixels of many patches.
        overlap: What a pixel of several patches gets.
        tolerance: Relative residual at which the steps end.
        max_iterations: Largest number of steps.

    Returns:
        (H, W) float64: T in gray levels, not negative.

    Raises:
        ValueError: If ``unfolding`` or ``overlap`` is unknown, a size is below 1, or the image has a side of one pixel.
    """
    if unfolding not in ('third', 'mixed'):
        raise ValueError(f"pstnn: unfolding must be 'third' or 'mixed', got {unfolding!r}")
    image = np.asarray(image, np.float64)
    if min(image.shape) < 2:
        raise ValueError(f'pstnn: gradients need an image of at least 2 x 2 pixels, got {image.shape}')
    grid = PatchGrid.of(image, patch_size, step)
    data = grid.split(image)
    size = np.linalg.norm(data)
    if size == 0:
        return np.zeros(image.shape)  # a black image
    larger, smaller = structure_eigenvalues(image, 2, 9)
    total = larger + smaller
    corners = np.divide(larger * smaller, total, out=np.zeros_like(total), where=total > 0) * larger
    prior = grid.split(normalize_map(corners))
    matrix = data.reshape(len(data), -1)
    if unfolding == 'mixed':
        matrix = data.transpose(0, 2, 1).reshape(-1, len(data))
    singular = np.linalg.svd(matrix, compute_uv=False)
    kept = max(int(np.count_nonzero(singular >= 0.1 * singular[0])), 1)
    lasso = weight / np.sqrt(max(data.shape[1:]) * len(data))
    mu = 2e-3
    target, multiplier, weights = np.zeros_like(data), np.zeros_like(data), np.ones_like(data)
    count = 0
    for _ in range(max_iterations):
        background = _partial_sum(data - target - multiplier / mu, kept, 1 / mu)
        target = np.maximum(data - background - multiplier / mu - weights * (lasso / mu), 0)
        with np.errstate(divide='ignore'):  # an infinite weight where there is no corner
            weights = kept / (target + 0.01) / prior
        residual = background + target - data
        before, count = count, np.count_nonzero(target)
        if np.linalg.norm(residual) < tolerance * size or 0 < before == count:
            break
        multiplier += mu * residual
        mu = min(1.05 * mu, 1e10)
    return grid.join(target, overlap)


def _partial_sum(tensor: np.ndarray, kept: int, by: float) -> np.ndarray:
    """Shrink the singular values after the first few in the Fourier transform along the patches."""

    def rule(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[..., :kept], soft_threshold(values[..., kept:], by)], -1)

    layers, _ = replace_singular_values(np.fft.rfft(tensor, axis=0), rule)  # the other half is conjugate
    return np.fft.irfft(layers, len(tensor), axis=0)
