"""Target masks: the one rule by which the pixels of a mask file become targets, in training and in evaluation.

1. Of colors the largest channel counts, alpha does not.
2. A mask with no values but 0 and 1 holds labels, whatever its type.
3. Otherwise a pixel is target where its value is above a threshold, 127 by default, in the units of the file. Deep
   files are not scaled down first: {0, 255}, {0, 4095} and {0, 65535} mean the same.
4. A mask that has values, but none above the threshold, is an error: its targets would be lost without notice.

Training needs the labels (:func:`mask_labels`). The protocols of evaluation have rules of their own for values between
0 and 255 (:func:`mask_values`); where such values are above 127, the default labels are 1.
"""

from pathlib import Path

import numpy as np

from mmirstd.io.images import drop_alpha, read_image, refuse_non_finite

MASK_THRESHOLD = 127


def mask_labels(mask: np.ndarray, threshold: float = MASK_THRESHOLD, source: str = 'mask') -> np.ndarray:
    """Turn a decoded mask into labels.

    Args:
        mask: (H, W) or (H, W, C) of any type, as :func:`mmirstd.io.images.decode_image` returns it.
        threshold: A pixel is target when its value is above, in the units of the file.
        source: Name of the file for messages.

    Returns:
        (H, W) uint8: 1 target, 0 background.

    Raises:
        ValueError: If the mask has values, but none that makes a target, or values that are NaN or infinite; the
            message names ``source``.

    >>> mask_labels(np.array([[0, 100, 200, 4095]], np.uint16)).tolist()
    [[0, 0, 1, 1]]
    """
    values = _largest_channel(mask, source)
    return values.astype(np.uint8) if _is_labels(values) else _above(values, threshold, source).astype(np.uint8)


def mask_values(mask: np.ndarray, source: str = 'mask') -> np.ndarray:
    """Turn a decoded mask into the values that the mask rules of the evaluation protocols are about.

    Args:
        mask: As in :func:`mask_labels`.
        source: Name of the file for messages.

    Returns:
        (H, W) uint8: the values of the file; 255 for any value above, 0 for any below 0; labels 0 and 1 as 0 and 255.

    Raises:
        ValueError: As :func:`mask_labels` with the default threshold.

    >>> mask_values(np.array([[0, 100, 200, 4095]], np.uint16)).tolist()
    [[0, 100, 200, 255]]
    """
    values = _largest_channel(mask, source)
    if _is_labels(values):
        return values.astype(np.uint8) * np.uint8(255)
    _above(values, MASK_THRESHOLD, source)
    if values.dtype == np.uint8:
        return values
    # Rounded up, so that a fraction stays above the whole number that it is above.
    return np.ceil(np.clip(values, 0, 255)).astype(np.uint8)


def read_mask(path: str | Path, backend_args: dict | None = None) -> np.ndarray:
    """Read the values (H, W) uint8 of a mask file, see :func:`mask_values`.

    Raises:
        ValueError: If the file cannot be decoded or is no mask; the message names it.
    """
    return mask_values(read_image(path, backend_args), str(path))


def _largest_channel(mask: np.ndarray, source: str) -> np.ndarray:
    mask = drop_alpha(mask)
    if mask.ndim == 3:
        mask = mask.max(axis=2)
    refuse_non_finite(mask, source)
    return mask


def _is_labels(values: np.ndarray) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _above(values: np.ndarray, threshold: float, source: str) -> np.ndarray:
    target = values > threshold
    if not target.any():
        raise ValueError(
            f'{source}: values up to {values.max()}, none above the threshold of {threshold}; is this a target mask? '
            'Then rewrite the masks (mmirstd prepare --threshold), or for training alone lower the threshold of '
            'LoadTargetMask'
        )
    return target
