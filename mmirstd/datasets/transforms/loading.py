"""Loading of infrared images and target masks."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations

from mmirstd.registry import TRANSFORMS


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Name the file in what mmcv and OpenCV raise about one that they cannot decode."""
    try:
        yield
    except (AssertionError, cv2.error) as error:
        raise ValueError(f'{path}: not a readable image') from error


def _refuse_premultiplied(img: np.ndarray, path: str) -> None:
    # OpenCV multiplies the colours of a TIFF by its alpha: what it returns is not what the file holds.
    if img.ndim == 3 and img.shape[2] == 4 and path.lower().endswith(('.tif', '.tiff')) and img[..., 3].min() < 255:
        raise ValueError(f'{path}: a TIFF with transparency; save it without the alpha channel')


def to_channels(img: np.ndarray, channels: int) -> np.ndarray:
    """Turn a decoded image, (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA, into (H, W, channels); alpha is dropped.

    Grey values go to all three channels unchanged, and come back unchanged from three equal ones; colours become grey
    with the weights of ITU-R BT.601.
    """
    if img.ndim == 2:
        return img[..., None] if channels == 1 else cv2.cvtColor(img, cv2.COLOR_GRAY2BGR)
    img = img[..., :3]
    return cv2.cvtColor(img, cv2.COLOR_BGR2GRAY)[..., None] if channels == 1 else np.ascontiguousarray(img)


def binarize_mask(mask: np.ndarray, threshold: float = 127, source: str = 'mask') -> np.ndarray:
    """Turn a decoded mask, (H, W) or (H, W, C) of any type, into uint8 (H, W) in {0, 1}: 1 where value > threshold.

    Of a colour mask the largest colour channel counts, alpha does not. The exception: a mask with no values but 0 and
    1 holds labels, and is taken as it is. Were it thresholded, all its targets would be lost without a word.

    Raises:
        ValueError: If the mask has values other than 0, but none that makes a target; the message names ``source``.
    """
    if mask.ndim == 3:
        mask = mask[..., :3].max(axis=2)
    if ((mask == 0) | (mask == 1)).all():
        return mask.astype(np.uint8)
    target = mask > threshold
    if not target.any():
        raise ValueError(
            f'{source}: values up to {mask.max()}, none above the threshold of {threshold}; is this a target mask? '
            'If so, lower the threshold of LoadTargetMask'
        )
    return target.astype(np.uint8)


@TRANSFORMS.register_module()
class LoadIRImage(LoadImageFromFile):
    """Load an 8-bit image, grey, RGB, RGBA or palette, as ``img`` of shape (H, W, channels), uint8, in BGR order.

    Pixels are taken as stored: the EXIF orientation is ignored, as it is for the masks. OpenCV decodes: on the public
    sets it returns the same values as Pillow, a quarter faster on the images.

    Args:
        channels: 3 or 1, see :func:`to_channels`.
        backend_args: mmengine's file backend.

    Raises:
        ValueError: If the file cannot be decoded, or has more than 8 bits per channel.
    """

    def __init__(self, channels: int = 3, backend_args: dict | None = None) -> None:
        if channels not in (1, 3):
            raise ValueError(f'LoadIRImage: channels must be 1 or 3, got {channels}')
        super().__init__(color_type='unchanged', imdecode_backend='cv2', backend_args=backend_args)
        self.channels = channels

    def transform(self, results: dict) -> dict:
        """Add ``img``, ``img_shape`` and ``ori_shape``."""
        with _readable(results['img_path']):
            results = super().transform(results)
        results['img'] = to_channels(self._to_uint8(results['img'], results['img_path']), self.channels)
        return results

    def _to_uint8(self, img: np.ndarray, path: str) -> np.ndarray:
        if img.dtype != np.uint8:
            raise ValueError(f'{path}: pixels are {img.dtype}; LoadIRImage takes 8-bit images')
        _refuse_premultiplied(img, path)
        return img

    def __repr__(self) -> str:
        return f'{type(self).__name__}(channels={self.channels}, backend_args={self.backend_args})'


@TRANSFORMS.register_module()
class LoadTargetMask(LoadAnnotations):
    """Load a target mask of any mode as ``gt_seg_map``, uint8 (H, W) in {0, 1}, see :func:`binarize_mask`.

    A palette mask is read by its colours, not its indices. A mask is resized to its image, by nearest neighbour at
    pixel centres, only where the dataset says ``mask_resize``.

    Args:
        threshold: A pixel is target when its value is above, in the units of the file.
        backend_args: mmengine's file backend.

    Raises:
        ValueError: If the file cannot be decoded, holds no mask, or differs from its image in size.
    """

    def __init__(self, threshold: float = 127, backend_args: dict | None = None) -> None:
        if threshold < 0:
            raise ValueError(f'LoadTargetMask: threshold must not be negative, got {threshold}')
        super().__init__(imdecode_backend='cv2', backend_args=backend_args)
        self.threshold = threshold

    def _load_seg_map(self, results: dict) -> None:
        path = results['seg_map_path']
        content = fileio.get(path, backend_args=self.backend_args)
        with _readable(path):
            mask = mmcv.imfrombytes(content, flag='unchanged', backend=self.imdecode_backend)
            assert mask is not None
        _refuse_premultiplied(mask, path)
        mask = binarize_mask(mask, self.threshold, path)
        if 'ori_shape' not in results:
            raise KeyError('LoadTargetMask needs ori_shape: load the image before its mask')
        height, width = results['ori_shape']
        if mask.shape != (height, width):
            if not results.get('mask_resize', False):
                raise ValueError(
                    f'sizes differ: {results["img_path"]} is {width}x{height}, '
                    f'{path} is {mask.shape[1]}x{mask.shape[0]}'
                )
            mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        results['gt_seg_map'] = mask
        results.setdefault('seg_fields', []).append('gt_seg_map')

    def __repr__(self) -> str:
        return f'{type(self).__name__}(threshold={self.threshold}, backend_args={self.backend_args})'
