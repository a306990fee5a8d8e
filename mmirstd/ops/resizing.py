"""Bring predictions and masks to the size at which a protocol evaluates, as the libraries of published code do."""

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image


@lru_cache(maxsize=256)
def nearest_indices(source: int, size: int, interpolation: str) -> np.ndarray:
    """For each of `size` output positions the one of `source` input positions that nearest neighbor takes.

    ``'pillow-nearest'`` (Pillow's NEAREST) takes the input pixel under the center of the output pixel: floor((i + 0.5)
    * source / size), where Pillow adds the positions up in float64. ``'opencv-nearest'`` (INTER_NEAREST) takes the one
    under its left border, floor(i / (size / source)), rounded as in OpenCV. (OpenCV's INTER_NEAREST_EXACT means the
    center, but versions round differently: 5.0 as Pillow, 4.11 in 16-bit fixed point.) Returns int64 (size,).
    """
    if interpolation == 'pillow-nearest':
        steps = np.full(size, source / size)
        steps[0] = source / size / 2
        indices = np.cumsum(steps).astype(np.int64)
    elif interpolation == 'opencv-nearest':
        indices = np.floor(np.arange(size) * (1 / (size / source))).astype(np.int64)
    else:
        raise ValueError(f'there is no interpolation of masks called {interpolation!r}')
    indices = np.clip(indices, 0, source - 1)
    indices.setflags(write=False)
    return indices


def resize_nearest(array: np.ndarray, shape: tuple[int, int], interpolation: str) -> np.ndarray:
    """Resize an array (H, W, ...) of any type by nearest neighbor, see :func:`nearest_indices`."""
    if array.shape[:2] == shape:
        return array
    rows, cols = (nearest_indices(n, m, interpolation) for n, m in zip(array.shape[:2], shape, strict=True))
    return array.take(rows, axis=0).take(cols, axis=1)


def resize_prediction(prediction: np.ndarray, shape: tuple[int, int], interpolation: str) -> np.ndarray:
    """Resize a map of probabilities (H, W), bool or floating.

    ``'opencv-linear'`` (INTER_LINEAR) is bilinear between pixel centers without smoothing before it makes an image
    smaller; torch's ``interpolate(mode='bilinear', align_corners=False)`` is the same up to rounding.
    ``'pillow-bilinear'`` (Pillow's BILINEAR) smooths. float16 and bool become float32; float64 stays with OpenCV.
    """
    if prediction.shape == shape:
        return prediction
    if interpolation not in ('opencv-linear', 'pillow-bilinear'):
        return resize_nearest(prediction, shape, interpolation)
    if interpolation == 'pillow-bilinear' or prediction.dtype not in (np.float32, np.float64):
        prediction = prediction.astype(np.float32)
    if interpolation == 'pillow-bilinear':
        resized = Image.fromarray(np.ascontiguousarray(prediction)).resize(shape[::-1], Image.Resampling.BILINEAR)
        return np.asarray(resized)
    return cv2.resize(np.ascontiguousarray(prediction), shape[::-1], interpolation=cv2.INTER_LINEAR)
