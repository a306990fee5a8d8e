"""Matrices with other singular values: the step that all low-rank detectors share."""

from collections.abc import Callable

import numpy as np
from scipy import linalg


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


def shrink_singular_values(matrix: np.ndarray, by: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ``U diag(max(s - by, 0)) V^T`` of a real matrix ``U diag(s) V^T``, in less time where few values remain.

    As :func:`replace_singular_values`; eigenvectors of smaller singular values are not computed.

    Args:
        matrix: (m, n).
        by: What is taken off the singular values.

    Returns:
        The matrix (m, n), and its singular values above 0, falling.
    """
    if matrix.shape[0] < matrix.shape[1]:
        shrunk, kept = shrink_singular_values(matrix.T, by)
        return shrunk.T, kept
    squares, right = linalg.eigh(matrix.T @ matrix, subset_by_value=(by**2, np.inf), overwrite_a=True)
    values = np.sqrt(squares)
    kept = values - by
    return (matrix @ right * (kept / values)) @ right.T, kept[::-1]


def largest_singular_values(matrix: np.ndarray, number: int) -> np.ndarray:
    """The largest singular values of a real matrix (m, n), falling; at most as many as it has."""
    gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    first = max(len(gram) - number, 0)
    squares = linalg.eigvalsh(gram, subset_by_index=(first, len(gram) - 1), overwrite_a=True)
    return np.sqrt(np.maximum(squares[::-1], 0))


def soft_threshold(values: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Bring values nearer to 0 by a threshold, which they do not pass."""
    return np.sign(values) * np.maximum(np.abs(values) - threshold, 0)


def _adjoint(matrices: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrices, -1, -2).conj()
