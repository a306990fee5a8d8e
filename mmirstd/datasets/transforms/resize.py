"""Resizing that keeps tiny targets and their masks in one place."""

import cv2
import mmcv
from mmseg.datasets.transforms import Resize

from mmirstd.io.images import equal_channel
from mmirstd.ops.resizing import resize_nearest
from mmirstd.registry import TRANSFORMS


@TRANSFORMS.register_module()
class AlignedResize(Resize):
    """MMSegmentation's ``Resize`` for tiny targets: masks are sampled at pixel centers, smaller images averaged.

    OpenCV's plain nearest neighbor, which mmcv uses for segmentation maps, takes the upper left corner of a pixel,
    while its bilinear interpolation of the image takes the center. Next to the mask obtained by averaging, NUAA-SIRST's
    masks brought to 256 pixels then have an IoU of 0.64, against 0.94 here. Bilinear interpolation also skips pixels,
    and with them targets, where an image shrinks by more than two; averaging (``INTER_AREA``) does not. Images grow
    bilinearly. For scale jitter: ``dict(type='RandomResize', resize_type='mmirstd.AlignedResize', ...)``.

    Args:
        scale: Side, or (width, height) to reach; with ``keep_ratio``, to fit.
        scale_factor: Factor, or factors for (width, height), instead of ``scale``.
        keep_ratio: Whether the aspect ratio stays.
    """

    def __init__(
        self,
        scale: int | tuple[int, int] | None = None,
        scale_factor: float | tuple[float, float] | None = None,
        keep_ratio: bool = False,
    ) -> None:
        super().__init__(scale=scale, scale_factor=scale_factor, keep_ratio=keep_ratio)

    def _resize_img(self, results: dict) -> None:
        img, size = results['img'], results['scale']
        height, width = img.shape[:2]
        if self.keep_ratio:
            size = mmcv.rescale_size((width, height), size)
        size = tuple(max(extent, 1) for extent in size)
        gray = equal_channel(img)  # channels are resized apart: the result is the same, in a third of the time
        img = img if gray is None else gray
        # OpenCV averages only where both axes shrink: one that shrinks comes first, and one that grows then.
        smaller = min(size[0], width), min(size[1], height)
        if smaller != (width, height):
            img = cv2.resize(img, smaller, interpolation=cv2.INTER_AREA)
        if smaller != size:
            img = cv2.resize(img, size, interpolation=cv2.INTER_LINEAR)
        if gray is not None:
            img = cv2.merge([img] * 3)
        # OpenCV drops an axis of one channel.
        results['img'] = img.reshape(*img.shape[:2], *results['img'].shape[2:])
        results['img_shape'] = img.shape[:2]
        results['scale_factor'] = size[0] / width, size[1] / height
        results['keep_ratio'] = self.keep_ratio

    def _resize_seg(self, results: dict) -> None:
        for key in results.get('seg_fields', []):
            results[key] = resize_nearest(results[key], results['img_shape'], 'pillow-nearest')
