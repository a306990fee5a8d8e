"""WPMD as a transform of the image: smooths noise and clutter and keeps targets before a network sees them."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmirstd.datasets.transforms.shown import ShownByArguments
from mmirstd.ops.diffusion import WaveletDiffusion, check_k, detail_scale
from mmirstd.registry import TRANSFORMS

# Standard deviation of the error of rounding to whole levels: what an estimate from rounded values cannot be below.
_ROUNDING = 1 / math.sqrt(12)


@TRANSFORMS.register_module()
class WPMD(ShownByArguments, BaseTransform):
    """Diffuse ``img`` by :class:`mmirstd.ops.diffusion.WaveletDiffusion`, each channel by itself.

    It takes integers of up to 16 bits, which are rounded once at the end, and floating images; (H, W) or (H, W, C), any
    size; type and shape stay. Equal channels are computed once and stay equal. It draws nothing at random: put the same
    line into the training and the test pipeline, in training after what adds noise, and before what pads the image with
    one value: padding has no details and would make k smaller.

    Args:
        k: in units of `k_unit`.
        k_unit: 'median', the noise and clutter of this image, by :func:`detail_scale` ('mean': likewise); for integers
            no less than what rounding adds, 0.29 levels. 'level': levels of the image, the same for all images.
        mode: 'replace' the image, or 'append' to it one channel with the diffused image, the mean of its channels.
        channels: which channels 'replace' replaces; None means all. With (2,), a network of three channels sees a gray
            image twice as it is and once diffused.
        diffusion: arguments of :class:`mmirstd.ops.diffusion.WaveletDiffusion`.

    Raises:
        ValueError: if an argument is out of its range, naming it; if an image has another type, no such channel, or
            values that are not finite.
    """

    def __init__(
        self,
        k: float = 2.0,
        k_unit: Literal['median', 'mean', 'level'] = 'median',
        mode: Literal['replace', 'append'] = 'replace',
        channels: Sequence[int] | None = None,
        **diffusion: object,
    ) -> None:
        try:
            check_k(k, k_unit)
            self.diffusion = WaveletDiffusion(**diffusion)
        except ValueError as error:
            raise ValueError(f'WPMD: {error}') from None
        if mode not in ('replace', 'append'):
            raise ValueError(f"WPMD: mode must be 'replace' or 'append', got {mode!r}")
        if channels is not None and (mode != 'replace' or not channels or min(channels) < 0):
            raise ValueError(f"WPMD: channels must be indices, with mode='replace', got {channels} with {mode!r}")
        self.k, self.k_unit = k, k_unit
        self.mode = mode
        self.channels = None if channels is None else tuple(channels)

    def diffuse(self, img: np.ndarray) -> np.ndarray:
        """(H, W, C) of any type to the diffused image, float32 (float64 if it was), not yet rounded."""
        u = torch.from_numpy(np.moveaxis(img, 2, 0).astype(np.promote_types(img.dtype, np.float32)))
        with torch.inference_mode():
            k = self.k
            if self.k_unit != 'level':
                floor = _ROUNDING if img.dtype.kind in 'ui' else 0
                k = k * detail_scale(u, self.k_unit).clamp(min=floor)
            u = self.diffusion(u, k)
        return np.moveaxis(u.numpy(), 0, 2)

    def transform(self, results: dict) -> dict:
        """Replace ``img`` by a new array; the one given stays as it was."""
        img = results['img']
        if img.dtype not in (np.uint8, np.uint16, np.int16) and img.dtype.kind != 'f':
            raise ValueError(f'WPMD: img is {img.dtype}; it must be of 8 or 16 bits, or floating')
        if img.dtype.kind == 'f' and not np.isfinite(total := img.sum(dtype=np.float64)):
            raise ValueError(f'WPMD: img has values that are not finite (they add up to {total})')
        planes = img[..., None] if img.ndim == 2 else img
        count = planes.shape[2]
        if self.channels and max(self.channels) >= count:
            raise ValueError(f'WPMD: channels={self.channels} of an image of {count}')
        equal = count > 1 and bool((planes == planes[..., :1]).all())
        smooth = self.diffuse(planes[..., :1] if equal else planes)
        if self.mode == 'append':
            smooth = smooth.mean(axis=2, keepdims=True)
        if img.dtype.kind in 'ui':
            # Coupled Haar keeps to the range of the image; the others may leave it.
            bounds = np.iinfo(img.dtype)
            smooth = np.rint(smooth).clip(bounds.min, bounds.max)
        smooth = smooth.astype(img.dtype)
        if self.mode == 'append':
            results['img'] = np.concatenate((planes, smooth), axis=2)
        elif self.channels is None:
            results['img'] = np.ascontiguousarray(np.broadcast_to(smooth, planes.shape)).reshape(img.shape)
        else:
            out = planes.copy()
            out[..., self.channels] = np.broadcast_to(smooth, planes.shape)[..., self.channels]
            results['img'] = out.reshape(img.shape)
        return results
