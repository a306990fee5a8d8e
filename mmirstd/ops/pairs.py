"""The one check of a prediction and its mask, before anything is detected, counted or measured."""

from typing import NamedTuple

import numpy as np


class CheckedPair(NamedTuple):
    """A prediction and a mask whose types and values are as the functions of this package need them.

    `prediction` is bool or floating in [0, 1]; `mask` is bool (labels) or uint8 (the values of a file); `ignore` is
    bool, of the shape of the mask, or None where no pixel is ignored.
    """

    prediction: np.ndarray
    mask: np.ndarray
    ignore: np.ndarray | None


def checked_pair(
    prediction: np.ndarray, mask: np.ndarray, ignore: np.ndarray | None = None, *, alike: bool = True
) -> CheckedPair:
    """Check a prediction and a mask.

    Args:
        prediction: Map of probabilities (H, W), floating in [0, 1]; or a mask, bool or {0, 1}; or uint8 with other
            values, which stand for value / 255, so that at least 128 is more than 0.5.
        mask: What the mask file holds, integers 0 to 255, or labels: bool or {0, 1}, which stand for 0 and 255.
        ignore: bool, of the shape of the mask: pixels that count nowhere.
        alike: Whether both must have one shape.

    Raises:
        ValueError: If shapes, types or values are others; the message says which.
    """
    prediction, mask = np.asarray(prediction), np.asarray(mask)
    if alike and (prediction.ndim != 2 or prediction.shape != mask.shape or not prediction.size):
        raise ValueError(f'prediction and mask must be (H, W) and alike, got {prediction.shape} and {mask.shape}')
    prediction, mask = _checked_prediction(prediction), _checked_mask(mask)
    if ignore is None:
        return CheckedPair(prediction, mask, None)
    ignore = np.asarray(ignore)
    if ignore.dtype != bool or ignore.shape != mask.shape:
        raise ValueError(
            f'ignored pixels must be bool and of the size of the mask {mask.shape}, got {ignore.dtype} {ignore.shape}'
        )
    return CheckedPair(prediction, mask, ignore if ignore.any() else None)


def split_labels(labels: np.ndarray, ignore_index: int = 255) -> tuple[np.ndarray, np.ndarray | None]:
    """Split labels (H, W), bool or {0, 1, ignore_index}, into targets and ignored pixels (None: there are none).

    Raises:
        ValueError: If the labels hold another value.

    >>> target, ignored = split_labels(np.array([[0, 1, 255]]))
    >>> target.tolist(), ignored.tolist()
    ([[False, True, False]], [[False, False, True]])
    """
    labels = np.asarray(labels)
    if labels.dtype == bool:
        return labels, None
    if labels.dtype.kind not in 'iu':
        raise ValueError(f'the mask must be boolean or integer, not {labels.dtype}')
    unsigned = labels.view(f'u{labels.dtype.itemsize}')
    if not labels.size or unsigned.max() <= 1:
        return labels == 1, None
    other = unsigned > 1
    unknown = np.unique(labels[other & (labels != ignore_index)])
    if unknown.size:
        some = ', '.join(map(str, unknown[:5].tolist())) + (', ...' if unknown.size > 5 else '')
        raise ValueError(f'a mask must hold 0, 1 and {ignore_index} (ignored) alone, got {some}')
    return labels == 1, other


def check_probabilities(prediction: np.ndarray, source: str = '') -> None:
    """See that floating values are finite and in [0, 1].

    Raises:
        ValueError: If not; the message begins with `source`.
    """
    # Read as integers, the bits of floats keep their order, and those of negative numbers and nan lie above 1's.
    if prediction.dtype == np.float32 and prediction.view(np.uint32).max() <= 0x3F800000:
        return
    where = f'{source}: ' if source else ''
    low, high = prediction.min(), prediction.max()  # either is nan as soon as one value is
    if not (np.isfinite(low) and np.isfinite(high)):
        number = np.count_nonzero(~np.isfinite(prediction))
        raise ValueError(f'{where}the prediction holds {number} values that are not finite')
    if low < 0 or high > 1:
        raise ValueError(f'{where}probabilities must lie in [0, 1], got [{low!s}, {high!s}]; are these logits?')


def _checked_prediction(prediction: np.ndarray) -> np.ndarray:
    if prediction.ndim != 2 or not prediction.size:
        raise ValueError(f'a prediction must be (H, W), got {prediction.shape}')
    if prediction.dtype == bool:
        return prediction
    if prediction.dtype.char in 'efd':  # float16, float32, float64
        check_probabilities(prediction)
        return prediction
    if prediction.dtype.kind not in 'iu':
        raise ValueError(f'a prediction must be bool, integer, float16, float32 or float64, not {prediction.dtype}')
    low, high = prediction.min(), prediction.max()
    if low >= 0 and high <= 1:
        return prediction.astype(bool)
    if prediction.dtype != np.uint8:
        raise ValueError(f'an integer prediction must hold 0 and 1 or be uint8, got {prediction.dtype} up to {high}')
    return prediction.astype(np.float32) / 255


def _checked_mask(mask: np.ndarray) -> np.ndarray:
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f'a mask must be (H, W), got {mask.shape}')
    if mask.dtype == bool:
        return mask
    if mask.dtype.kind not in 'iu':
        raise ValueError(f'a mask must be boolean or integer, not {mask.dtype}')
    high = mask.max()
    if high > 255 or (mask.dtype != np.uint8 and mask.min() < 0):
        raise ValueError(f'the values of a mask must lie in 0 to 255, got {mask.min()} to {high}')
    return mask.astype(bool) if high <= 1 else mask.astype(np.uint8, copy=False)
