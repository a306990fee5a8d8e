"""Multiple subspace learning and spatial-temporal patch-tensor model, for sequences."""

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np

from mmirstd.models.classical.singular_values import soft_threshold

_RATIO, _OUTLIER = 50, 20  # of neighboring singular values: where the dictionary ends


def mslstipt(
    frames: np.ndarray,
    group: int = 6,
    exponent: float = 0.8,
    rank_weight: float = 5.0,
    dictionary_weight: float = 4.0,
    layout: Literal['frames', 'mixed'] = 'frames',
    tolerance: float = 1e-4,
    max_iterations: int = 200,
) -> np.ndarray:
    """Multiple subspace learning and spatial-temporal tensor model: what stays over frames is background.

    ``group`` frames make a tensor X of H x group x W. Tensor robust PCA (tensor nuclear norm, lambda
    ``dictionary_weight / sqrt(max(H, group) W)``) finds its low-rank part, whose leading singular vectors, times their
    values, are a dictionary A. Then ``C ||Z||_w,Sp^p + lambda ||T||_1`` with ``X = A * Z + T`` is minimized by the
    alternating direction method of multipliers: ``*`` is the tensor product, p the ``exponent`` of the weighted
    Schatten norm, C is ``rank_weight sqrt(H W)``, and lambda is ``1 / sqrt(W max(H, group))``. Both norms are of the
    layers of the Fourier transform along W.

    The last frames of a sequence that no group divides are joined by frames before them.

    Source: Sun et al., IEEE TGRS 59 (2021) 3737, Algorithm 1, in the version for whole frames,
    yangsunNUDT/MSLSTIPT-V2 at 31e58dc, whose numbers are the defaults. That code has ``layout='mixed'``, and leaves
    the last frames out.

    Args:
        frames: (T, H, W) of one sequence in order, gray levels of 0 to 255. A still image (H, W) is a sequence of one
            frame, in which nothing tells a target from background by its motion; a warning says so.
        group: Frames of a tensor.
        exponent: p, in (0, 1).
        rank_weight: Of C.
        dictionary_weight: Of lambda in robust PCA.
        layout: Slices of the tensor are the frames; or ``'mixed'``: the columns of the frames in the order in memory,
            dealt out in turn, so that a slice has neighboring columns of the same frame.
        tolerance: Largest change in a step at which the steps end.
        max_iterations: Largest number of steps.

    Returns:
        float64 of the shape of ``frames``: T in gray levels. Dark targets are negative.

    Raises:
        ValueError: If the frames are no sequence, or an argument is out of its range.
    """
    frames = np.asarray(frames, np.float64)
    if layout not in ('frames', 'mixed') or group < 1 or not 0 < exponent < 1:
        raise ValueError(
            f"mslstipt: layout is 'frames' or 'mixed', group at least 1, exponent in (0, 1); got {layout!r}, {group}, "
            f'{exponent}'
        )
    if frames.ndim == 2:
        return mslstipt(frames[None], group, exponent, rank_weight, dictionary_weight, layout, tolerance,
                        max_iterations)[0]  # fmt: skip
    if frames.ndim != 3 or not len(frames):
        raise ValueError(f'mslstipt: frames are (T, H, W) or (H, W), got {frames.shape}')
    if len(frames) == 1:
        warnings.warn('mslstipt: one frame is no sequence, so motion tells no target from background', stacklevel=2)
    group = min(group, len(frames))
    maps = np.empty_like(frames)
    for start in range(0, len(frames), group):
        first = min(start, len(frames) - group)
        tensor = _as_tensor(frames[first : first + group], layout)
        dictionary = _dictionary(_robust_pca(tensor, dictionary_weight))
        weight = rank_weight * np.sqrt(frames[0].size)
        target = _multi_subspace(tensor, dictionary, weight, exponent, tolerance, max_iterations)
        maps[start : first + group] = _as_frames(target, layout)[start - first :]
    return maps


def _as_tensor(frames: np.ndarray, layout: str) -> np.ndarray:
    """(group, H, W) as (W, H, group): the side of the Fourier transform first."""
    number, height, width = frames.shape
    if layout == 'frames':
        return frames.transpose(2, 1, 0)
    return frames.transpose(1, 0, 2).reshape(height, width, number).transpose(1, 0, 2)


def _as_frames(tensor: np.ndarray, layout: str) -> np.ndarray:
    width, height, number = tensor.shape
    if layout == 'frames':
        return tensor.transpose(2, 1, 0)
    return tensor.transpose(1, 0, 2).reshape(height, number, width).transpose(1, 0, 2)


def _robust_pca(tensor: np.ndarray, weight: float, tolerance: float = 1e-8, max_iterations: int = 800) -> np.ndarray:
    """The part of low tubal rank; the rest is sparse (Lu et al., IEEE TPAMI 42 (2020) 925)."""
    width, height, number = tensor.shape
    lasso, mu = weight / np.sqrt(max(height, number) * width), 1e-4
    low_rank, sparse, multiplier = np.zeros((3, *tensor.shape))
    for _ in range(max_iterations):
        before = low_rank, sparse
        low_rank = _layers(tensor - sparse - multiplier / mu, lambda s, by=1 / mu: soft_threshold(s, by))
        sparse = soft_threshold(tensor - low_rank - multiplier / mu, lasso / mu)
        residual = low_rank + sparse - tensor
        if _largest(residual, low_rank - before[0], sparse - before[1]) < tolerance:
            break
        multiplier += mu * residual
        mu = min(1.2 * mu, 1e10)
    return low_rank


def _layers(tensor: np.ndarray, rule: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Replace the singular values of the layers of the Fourier transform; those that are conjugate follow."""
    return np.fft.irfft(_replace_exactly(np.fft.rfft(tensor, axis=0), rule), len(tensor), axis=0)


def _replace_exactly(layers: np.ndarray, rule: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """As ``replace_singular_values``, also for singular values near 0, which late steps keep."""
    left, values, right = np.linalg.svd(layers, full_matrices=False)
    return (left * rule(values)[..., None, :]) @ right


def _dictionary(tensor: np.ndarray) -> np.ndarray:
    """Leading left singular vectors times their values, of the layers of the Fourier transform, (W / 2 + 1, H, r)."""
    left, values, _ = np.linalg.svd(np.fft.rfft(tensor, axis=0), full_matrices=False)
    ranks = [_leading(s, max(tensor.shape[1:])) for s in values]
    kept = np.arange(values.shape[1]) < np.array(ranks)[:, None]
    most = max(*ranks, 1)
    return (left * np.where(kept, values, 0)[:, None])[..., :most]


def _leading(values: np.ndarray, side: int) -> int:
    """How many singular values come before a steep fall."""
    rank = int(np.count_nonzero(values > side * np.finfo(float).eps * values[0]))
    ratios = values[: max(rank - 2, 0)] / values[1 : max(rank - 1, 1)]
    if not len(ratios):
        return rank
    falls = np.flatnonzero(ratios > _RATIO)
    leading = falls[0] + 1 if len(falls) else rank
    steepest = int(ratios.argmax())
    rest = ratios.sum() - ratios[steepest]
    outlier = rest == 0 or (rank - 2) * ratios[steepest] / rest > _OUTLIER
    return int(min(leading, steepest + 1) if outlier else leading)


def _multi_subspace(
    tensor: np.ndarray, dictionary: np.ndarray, weight: float, exponent: float, tolerance: float, max_iterations: int
) -> np.ndarray:
    """The sparse part of a tensor (W, H, group) whose other part the dictionary spans."""
    width, height, number = tensor.shape
    lasso, beta = 1 / np.sqrt(width * max(height, number)), 1e-4
    adjoint = np.swapaxes(dictionary, -1, -2).conj()
    inverse = np.linalg.inv(adjoint @ dictionary + np.eye(dictionary.shape[-1]))
    # Coefficients are kept as layers of the Fourier transform along the width, the rest is not.
    code = copy = code_multiplier = np.zeros((len(dictionary), dictionary.shape[-1], number), complex)
    sparse = multiplier = spanned = np.zeros(tensor.shape)
    for _ in range(max_iterations):
        before = code, copy, sparse
        code = _replace_exactly(
            copy - code_multiplier / beta, lambda s, by=weight / beta: _shrink_schatten(s, by, exponent)
        )
        sparse = soft_threshold(tensor - spanned + multiplier / beta, lasso / beta)
        layers = np.fft.rfft(tensor - sparse + multiplier / beta, axis=0)
        copy = inverse @ (code + code_multiplier / beta + adjoint @ layers)
        spanned = np.fft.irfft(dictionary @ copy, width, axis=0)
        residual = tensor - spanned - sparse
        codes = np.fft.irfft(np.stack([code - copy, copy - before[1], code - before[0]]), width, axis=1)
        if _largest(codes, residual, sparse - before[2]) < tolerance:
            break
        code_multiplier = code_multiplier + beta * (code - copy)
        multiplier = multiplier + beta * residual
        beta = min(1.1 * beta, 1e8)
    return sparse


def _shrink_schatten(values: np.ndarray, weight: float, p: float) -> np.ndarray:
    """Minimize ``w x^p + (x - s)^2 / 2`` with ``w = weight / x^(1/p)`` by generalized shrinkage (Zuo et al., 2013)."""
    new = values
    for _ in range(3):
        w = weight / (new ** (1 / p) + np.finfo(float).eps)
        threshold = (2 * w * (1 - p)) ** (1 / (2 - p)) + p * w * (2 * (1 - p) * w) ** ((p - 1) / (2 - p))
        kept = np.abs(values) > threshold
        start, w = values[kept], w[kept]
        found = start
        for _ in range(2):
            found = start - p * w * found ** (p - 1)
        new = np.zeros_like(values)
        new[kept] = found
    return new


def _largest(*arrays: np.ndarray) -> float:
    return max(float(np.abs(array).max()) for array in arrays)
