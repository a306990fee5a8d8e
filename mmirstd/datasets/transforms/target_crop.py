"""Random crops that contain targets with a set probability."""

from typing import Literal

import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmseg.datasets.transforms import RandomCrop

from mmirstd.datasets.transforms.shown import ShownByArguments
from mmirstd.ops.components import label_components
from mmirstd.registry import TRANSFORMS

# ruff: noqa: NPY002 - mmengine seeds numpy's global generator in every worker, so transforms draw from that one


@TRANSFORMS.register_module()
class TargetAwareCrop(ShownByArguments, RandomCrop):
    """Crop ``img`` and the segmentation maps to ``crop_size``, around a target with probability ``target_prob``.

    The target is drawn uniformly from the 8-connected ones, and the crop uniformly from those that contain it whole;
    along an axis where it does not fit, from those that contain one of its pixels. Otherwise, and where there is no
    target, the crop is uniform. An image that is smaller is first padded at the bottom and on the right.

    Of 128 x 128 crops of a 256 x 256 image, one in 129 touches a given border of the image, and the borders of the crop
    itself cut targets. Networks that were trained so find false targets at the borders of whole images; ``overshoot``
    and ``cut_targets`` are against that.

    Args:
        crop_size: Side, or (height, width), in pixels.
        target_prob: Probability of a crop that contains a target.
        overshoot: Crops are drawn as if the image went on by so many pixels on each side, and are then moved inside:
            borders of the image are seen more often.
        cut_targets: ``'keep'`` the pixels of targets that the crop cuts, or ``'ignore'`` them (label 255).
        pad_mode: ``'constant'``, or ``'reflect'`` about the last row and column (the reflection is ignored ground).
        pad_val: Gray level of constant padding.
        seg_pad_val: Label of padding: 255 is ignored; 0 is background, as in code that pads masks with black.

    Raises:
        ValueError: For arguments that are out of range, or reflected targets that were background.
    """

    def __init__(
        self,
        crop_size: int | tuple[int, int],
        target_prob: float = 0.5,
        overshoot: int = 0,
        cut_targets: Literal['keep', 'ignore'] = 'keep',
        pad_mode: Literal['constant', 'reflect'] = 'constant',
        pad_val: float = 0,
        seg_pad_val: int = 255,
    ) -> None:
        super().__init__(tuple(crop_size) if isinstance(crop_size, list) else crop_size, ignore_index=255)
        if not 0 <= target_prob <= 1:
            raise ValueError(f'TargetAwareCrop: target_prob must lie in [0, 1], got {target_prob}')
        if not isinstance(overshoot, int) or overshoot < 0:
            raise ValueError(f'TargetAwareCrop: overshoot must be a number of pixels, got {overshoot!r}')
        if cut_targets not in ('keep', 'ignore'):
            raise ValueError(f"TargetAwareCrop: cut_targets must be 'keep' or 'ignore', got {cut_targets!r}")
        if pad_mode not in ('constant', 'reflect'):
            raise ValueError(f"TargetAwareCrop: pad_mode must be 'constant' or 'reflect', got {pad_mode!r}")
        if seg_pad_val not in (0, 255):
            raise ValueError(f'TargetAwareCrop: seg_pad_val must be 0 or 255, got {seg_pad_val!r}')
        if pad_mode == 'reflect' and seg_pad_val == 0:
            raise ValueError("TargetAwareCrop: seg_pad_val=0 calls reflected targets background: pad_mode='constant'")
        self.target_prob = target_prob
        self.overshoot = overshoot
        self.cut_targets = cut_targets
        self.pad_mode = pad_mode
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val

    def transform(self, results: dict) -> dict:
        """Pad where needed, then crop ``img`` and all ``seg_fields``."""
        height, width = results['img'].shape[:2]
        extra = [(0, max(crop - size, 0)) for crop, size in zip(self.crop_size, (height, width), strict=True)]
        if any(map(any, extra)):
            results['img'] = self._pad(results['img'], extra, self.pad_mode, self.pad_val)
            for key in results.get('seg_fields', []):
                results[key] = self._pad(results[key], extra, 'constant', self.seg_pad_val)
        crop = self.crop_bbox(results)
        if self.cut_targets == 'ignore':
            results['gt_seg_map'] = self._ignoring_cut_targets(results['gt_seg_map'], crop)
        for key in ('img', *results.get('seg_fields', [])):
            results[key] = self.crop(results[key], crop)
        results['img_shape'] = results['img'].shape[:2]
        return results

    @cache_randomness
    def crop_bbox(self, results: dict) -> tuple[int, int, int, int]:
        """Draw the crop: top, bottom, left, right."""
        free = [size - crop for size, crop in zip(results['img'].shape[:2], self.crop_size, strict=True)]
        ranges = [(-self.overshoot, extent + self.overshoot) for extent in free]
        if any(free) and np.random.rand() < self.target_prob:
            ranges = self._around_target(results['gt_seg_map'], ranges)
        drawn = (np.random.randint(low, high + 1) for low, high in ranges)
        top, left = (min(max(start, 0), extent) for start, extent in zip(drawn, free, strict=True))
        return top, top + self.crop_size[0], left, left + self.crop_size[1]

    def _around_target(self, mask: np.ndarray, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Narrow the ranges of the crop's top and left to those that contain a random target."""
        targets = label_components(mask == 1)
        if not len(targets):
            return ranges
        k = np.random.randint(len(targets))
        box = targets.boxes[k].reshape(2, 2).T
        if any(end - start > crop for (start, end), crop in zip(box, self.crop_size, strict=True)):
            pixels = np.argwhere(targets.label_map(mask.shape) == k + 1)
            pixel = pixels[np.random.randint(len(pixels))]
            box = [
                (start, end) if end - start <= crop else (p, p + 1)
                for (start, end), crop, p in zip(box, self.crop_size, pixel, strict=True)
            ]
        return [
            (max(low, end - crop), min(high, start))
            for (low, high), (start, end), crop in zip(ranges, box, self.crop_size, strict=True)
        ]

    @staticmethod
    def _ignoring_cut_targets(mask: np.ndarray, crop: tuple[int, int, int, int]) -> np.ndarray:
        """The mask with 255 where a target lies in part, but not wholly, inside the crop."""
        targets = label_components(mask == 1)
        top, bottom, left, right = crop
        y0, x0, y1, x1 = targets.boxes.T
        inside = (y0 >= top) & (y1 <= bottom) & (x0 >= left) & (x1 <= right)
        cut = np.flatnonzero(~inside & (y1 > top) & (y0 < bottom) & (x1 > left) & (x0 < right))
        if not len(cut):
            return mask
        return np.where(np.isin(targets.label_map(mask.shape), cut + 1), mask.dtype.type(255), mask)

    @staticmethod
    def _pad(array: np.ndarray, extra: list[tuple[int, int]], mode: str, value: float) -> np.ndarray:
        kwargs = {'constant_values': value} if mode == 'constant' else {}
        return np.pad(array, extra + [(0, 0)] * (array.ndim - 2), mode=mode, **kwargs)
