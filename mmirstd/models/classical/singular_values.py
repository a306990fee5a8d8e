"""Matrices with other singular values: the step that all low-rank detectors share."""

from collections.abc import Callable

import numpy as np


def replace_singular_values(
    matrices: np.ndarray, rule: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``U diag(rule(s)) V^H`` for the singular values s of matrices ``U diag(s) V^H``.

    The singular vectors of the shorter side come from the eigenvectors of ``A^H A``, and those of the longer side are
    never made: several times faster than a singular value decomposition. What is below 1e-8 of the largest singular
    value is lost, far below what the rules keep.

    Args:
        matrices: (..., m, n), real or complex.
        rule: From singular values (..., k), falling, to new ones, not negative; k is the smaller of m and n.

    Returns:
        The matrices (..., m, n), and their singular values (..., k), which the rule gave.
    """
    if matrices.shape[-2] < matrices.shape[-1]:
        replaced, kept = replace_singular_values(_adjoint(matrices), rule)
        return _adjoint(replaced), kept
    squares, vectors = np.linalg.eigh(_adjoint(matrices) @ matrices)
    values = np.sqrt(np.maximum(squares[..., ::-1], 0))
    kept = rule(values)
    gains = np.divide(kept, values, out=np.zeros_like(values), where=values > 0)
    rank = int(np.max(np.count_nonzero(kept, axis=-1), initial=0))
    right = vectors[..., ::-1][..., :rank]
    return (matrices @ right * gains[..., None, :rank]) @ _adjoint(right), kept


def soft_threshold(values: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Bring values nearer to 0 by a threshold, which they do not pass."""
    return np.sign(values) * np.maximum(np.abs(values) - threshold, 0)


def _adjoint(matrices: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrices, -1, -2).conj()
