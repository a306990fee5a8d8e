"""Loading of infrared images and target masks."""

from collections.abc import Iterable
from dataclasses import replace
from os import PathLike, fspath
from typing import Literal

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations

from mmirstd.datasets.transforms.shown import ShownByArguments
from mmirstd.io.images import drop_alpha, read_image, refuse_non_finite
from mmirstd.io.masks import MaskRule, mask_labels
from mmirstd.ops.resizing import resize_nearest
from mmirstd.registry import TRANSFORMS


def to_channels(img: np.ndarray, channels: int) -> np.ndarray:
    """Give an image one or three channels; alpha is dropped.

    Gray values go to all three channels unchanged, and come back unchanged from three equal ones. Colors become gray
    with the weights of ITU-R BT.601.

    Args:
        img: (H, W), (H, W, 2), (H, W, 3) or (H, W, 4), uint8 or float32, as :func:`decode_image` returns it.
        channels: 1 or 3.

    Returns:
        (H, W, channels), colors in BGR order, of the same type.
    """
    img = np.ascontiguousarray(drop_alpha(img))
    if img.ndim == 2:
        return img[..., None] if channels == 1 else cv2.cvtColor(img, cv2.COLOR_GRAY2BGR)
    if channels == 3:
        return img
    if img.dtype == np.uint8:
        return cv2.cvtColor(img, cv2.COLOR_BGR2GRAY)[..., None]
    blue, green, red = np.split(img, 3, axis=2)
    # as differences, so that rounding changes nothing where the three are equal
    return green + np.float32(0.114) * (blue - green) + np.float32(0.299) * (red - green)


def rescale(img: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map levels to 0..255: ``255 * clip((img - low) / (high - low), 0, 1)``, computed in float64.

    Args:
        img: Of any shape and real type.
        low: The level that becomes 0.
        high: The level that becomes 255; where it equals ``low``, as in a constant image, all is 0.

    Returns:
        float32 of the shape of ``img``.
    """
    if low == high:
        return np.zeros(img.shape, np.float32)
    scaled = np.subtract(img, low, dtype=np.float64)
    scaled /= high - low
    np.clip(scaled, 0, 1, out=scaled)
    scaled *= 255
    return scaled.astype(np.float32)


# The other names are those that MMSegmentation's inferencers look for, or put in the place of what they found.
@TRANSFORMS.register_module(name=['LoadIRImage', 'LoadImageFromFile', 'LoadImageFromNDArray', 'InferencerLoader'])
class LoadIRImage(ShownByArguments, LoadImageFromFile):
    """Load an image file of any type that :func:`decode_image` reads as ``img``, (H, W, channels) in BGR order.

    The image may also be an array of any real type, gray (H, W) or (H, W, 1), BGR (H, W, 3) or BGRA (H, W, 4), which
    is treated as a file that holds it. Inside a config, ``dict(type='LoadImageFromFile', _scope_='mmirstd')`` is this
    transform under the name by which MMSegmentation's inferencers recognize it.

    8-bit files keep their values. Deeper ones, 16-bit, 32-bit and float, are brought to the scale of 0..255, so that
    the mean and standard deviation of a model mean the same for every file, see :func:`rescale`. Its ``low`` and
    ``high`` are, over all pixels and colors of the image but not its alpha:

    - ``'range'``: its smallest and largest value. Nothing is clipped.
    - ``'percentile'``: its percentiles, with linear interpolation; the smallest and largest value where these are
      equal. Among N pixels, a target of the k brightest is cut to the level of the clutter unless the upper percentile
      is at least 100 * (N - k) / (N - 1): hence 100 by default. The lower one keeps out dead pixels.
    - ``'fixed'``: ``limits``, the same for all files: levels can be compared between images, as a calibrated sensor's.

    Pixels are taken as stored: the EXIF orientation is ignored, as it is for the masks.

    Args:
        channels: 3 or 1, see :func:`to_channels`.
        normalize: What files of more than 8 bits are scaled by.
        percentiles: Lower and upper, in 0..100.
        limits: ``low`` and ``high`` of ``'fixed'`` in the units of the file, such as (0, 16383) for 14 bits.
        normalize_8bit: Scale 8-bit files in the same way.
        dtype: ``'uint8'``, rounded to nearest, or ``'float32'``, which keeps what 256 levels cannot show.
        backend_args: mmengine's file backend.

    Raises:
        ValueError: If the file cannot be decoded, or has values that are NaN or infinite; the message names it.
            Likewise for an array of another shape or type.
    """

    def __init__(
        self,
        channels: int = 3,
        normalize: Literal['range', 'percentile', 'fixed'] = 'range',
        percentiles: tuple[float, float] = (0.1, 100.0),
        limits: tuple[float, float] | None = None,
        normalize_8bit: bool = False,
        dtype: Literal['uint8', 'float32'] = 'uint8',
        backend_args: dict | None = None,
    ) -> None:
        if channels not in (1, 3):
            raise ValueError(f'LoadIRImage: channels must be 1 or 3, got {channels}')
        if normalize not in ('range', 'percentile', 'fixed'):
            raise ValueError(f"LoadIRImage: normalize must be 'range', 'percentile' or 'fixed', got {normalize!r}")
        if len(percentiles) != 2 or not 0 <= percentiles[0] < percentiles[1] <= 100:
            raise ValueError(f'LoadIRImage: percentiles must rise within 0..100, got {percentiles}')
        if (limits is not None) != (normalize == 'fixed'):
            raise ValueError(f"LoadIRImage: limits go with normalize='fixed', got {limits} with {normalize!r}")
        if limits is not None and (len(limits) != 2 or not -np.inf < limits[0] < limits[1] < np.inf):
            raise ValueError(f'LoadIRImage: limits must be two rising numbers, got {limits}')
        if dtype not in ('uint8', 'float32'):
            raise ValueError(f"LoadIRImage: dtype must be 'uint8' or 'float32', got {dtype!r}")
        super().__init__(color_type='unchanged', imdecode_backend='cv2', backend_args=backend_args)
        self.channels = channels
        self.normalize = normalize
        self.percentiles = tuple(percentiles)
        self.limits = None if limits is None else tuple(limits)
        self.normalize_8bit = normalize_8bit
        self.dtype = dtype

    def transform(self, results: dict | str | PathLike | np.ndarray) -> dict:
        """Add ``img``, ``img_shape`` and ``ori_shape``.

        Args:
            results: Holds ``img_path``, or an array under ``img``, which then counts; or the path or array itself.
                Where the array is a part of an image, ``levels`` holds what :meth:`find_levels` says of the whole.
        """
        if isinstance(results, np.ndarray):
            results = {'img': results}
        elif isinstance(results, str | PathLike):
            results = {'img_path': fspath(results)}
        path = results.setdefault('img_path', None)
        if results.get('img') is not None:
            path = path or 'the image'
            img = _as_decoded(results['img'], path)
        else:
            img = read_image(path, self.backend_args)
        if img.dtype != np.uint8 or self.normalize_8bit:
            img = drop_alpha(img)
            img = rescale(img, *(results.pop('levels', None) or self.find_levels([img], path)))
        results['img'] = img = self.convert(img)
        results['img_shape'] = results['ori_shape'] = img.shape[:2]
        return results

    def convert(self, img: np.ndarray) -> np.ndarray:
        """Give an image (H, W) or (H, W, C) of levels 0 to 255 the channels and type asked for; nothing is rescaled."""
        img = to_channels(img, self.channels)
        if img.dtype == self.dtype:
            return img
        return np.rint(img).astype(np.uint8) if self.dtype == 'uint8' else img.astype(np.float32)

    def find_levels(self, parts: Iterable[np.ndarray], path: str) -> tuple[float, float]:
        """Find the levels of an image that become 0 and 255.

        Args:
            parts: The image, as it is decoded, or the parts that it consists of. Percentiles of images of more than 16
                bits need memory for all of them.
            path: What messages name.

        Raises:
            ValueError: If there are values that are NaN or infinite, or too large to be scaled.
        """
        low, high, kept, counts, lowest = np.inf, -np.inf, [], 0, 0
        for part in map(drop_alpha, parts):
            refuse_non_finite(part, path)
            low, high = min(low, float(part.min())), max(high, float(part.max()))
            if self.normalize == 'percentile' and part.dtype.kind in 'iu' and part.dtype.itemsize <= 2:
                lowest = np.iinfo(part.dtype).min
                counts = counts + np.bincount(part.ravel().astype(np.intp) - lowest, minlength=2**16)
            elif self.normalize == 'percentile':
                kept.append(part.ravel())
        low, high = self.limits or (low, high)
        if self.normalize == 'percentile':
            between = (
                np.percentile(np.concatenate(kept).astype(np.float64), self.percentiles).tolist()
                if kept
                else _percentiles(counts, lowest, self.percentiles)
            )
            low, high = between if between[0] < between[1] else (low, high)
        if not np.isfinite(high - low):
            raise ValueError(f'{path}: values from {low} to {high} cannot be scaled')
        return low, high


def _percentiles(counts: np.ndarray, lowest: int, percentiles: Iterable[float]) -> list[float]:
    """Percentiles, with linear interpolation, of whole numbers from `lowest` on that occur so many times."""
    ends = np.cumsum(counts)
    at = np.asarray(percentiles, np.float64) / 100 * (ends[-1] - 1)
    below, above = (np.searchsorted(ends, i, 'right') + lowest for i in (np.floor(at), np.ceil(at)))
    return (below + (above - below) * (at - np.floor(at))).tolist()


def check_image_array(img: np.ndarray, source: str) -> None:
    """Raise ValueError, which begins with `source`, unless an array is an image that :class:`LoadIRImage` takes."""
    if not isinstance(img, np.ndarray) or img.dtype.kind not in 'uif':
        raise ValueError(f'{source}: an image must be an array of real numbers, got {getattr(img, "dtype", type(img))}')
    if not img.size or img.ndim not in (2, 3) or (img.ndim == 3 and img.shape[2] not in (1, 3, 4)):
        raise ValueError(f'{source}: an image must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {img.shape}')


def _as_decoded(img: np.ndarray, source: str) -> np.ndarray:
    """A copy of an array in a shape and type that :func:`decode_image` returns."""
    check_image_array(img, source)
    return np.array(img[..., 0] if img.ndim == 3 and img.shape[2] == 1 else img)


@TRANSFORMS.register_module(name=['LoadTargetMask', 'LoadAnnotations'])
class LoadTargetMask(ShownByArguments, LoadAnnotations):
    """Load a target mask of any mode as ``gt_seg_map``, uint8 (H, W) in {0, 1, 255}, see :mod:`mmirstd.io.masks`.

    Which values are targets and which are ignored (255), the dataset says (``target_value``, ``ignore_value``); the
    rule is kept as ``mask_rule``, by which evaluation reads the file again. Without ``seg_map_path`` (a folder of
    images without masks, an image to predict) nothing is loaded, but for ``background``, an image without a target.
    Inside a config, ``dict(type='LoadAnnotations', _scope_='mmirstd')`` is this transform under the name by which
    MMSegmentation's inferencers recognize and drop it.

    A palette mask is read by its colors, not its indices. A mask is resized to its image, by nearest neighbor at
    pixel centers, only where the dataset says ``mask_resize``.

    Args:
        threshold: A pixel is target when its value is above, in the units of the file. None: 127.
        backend_args: mmengine's file backend.

    Raises:
        ValueError: If the file cannot be decoded, holds no mask, or differs from its image in size.
    """

    def __init__(self, threshold: float | None = None, backend_args: dict | None = None) -> None:
        if threshold is not None and threshold < 0:
            raise ValueError(f'LoadTargetMask: threshold must not be negative, got {threshold}')
        super().__init__(imdecode_backend='cv2', backend_args=backend_args)
        self.threshold = threshold

    def rule(self, given: MaskRule | None = None) -> MaskRule:
        """The rule of a dataset with the threshold of this transform, where it has one."""
        given = given or MaskRule()
        return given if self.threshold is None else replace(given, threshold=self.threshold)

    def _load_seg_map(self, results: dict) -> None:
        path = results.get('seg_map_path')
        if path is None and not results.get('background'):
            return
        rule = self.rule(results.get('mask_rule'))
        if path is None:
            mask = np.zeros(results['ori_shape'], np.uint8)
        else:
            mask = mask_labels(read_image(path, self.backend_args), rule, path)
        if rule != MaskRule():
            results['mask_rule'] = rule
        if 'ori_shape' not in results:
            raise KeyError('LoadTargetMask needs ori_shape: load the image before its mask')
        height, width = results['ori_shape']
        if mask.shape != (height, width):
            if not results.get('mask_resize', False):
                raise ValueError(
                    f'sizes differ: {results["img_path"]} is {width}x{height}, '
                    f'{path} is {mask.shape[1]}x{mask.shape[0]}'
                )
            mask = resize_nearest(mask, (height, width), 'pillow-nearest')
        results['gt_seg_map'] = mask
        results.setdefault('seg_fields', []).append('gt_seg_map')
