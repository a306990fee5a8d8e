"""Photometric augmentation for infrared: what differs from camera to camera, in the order in which a camera does it.

The functions take and return float32 on the scale 0..255, (H, W, C), and treat all channels alike: infrared has one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmirstd.datasets.transforms.shown import ShownByArguments
from mmirstd.io.images import equal_channel
from mmirstd.ops.components import label_components
from mmirstd.ops.target_statistics import target_statistics
from mmirstd.registry import TRANSFORMS

# ruff: noqa: NPY002 - mmengine seeds numpy's global generator in every worker, so transforms draw from that one

Range = tuple[float, float] | None


def blur(img: np.ndarray, sigma: float) -> np.ndarray:
    """Convolve with a Gaussian of `sigma` pixels, cut at 4 sigma, mirrored at the border (d c b a | a b c d)."""
    if sigma <= 0:
        return img
    radius = int(4 * sigma + 0.5)
    kernel = cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_64F)
    # OpenCV cannot mirror farther than the image reaches; numpy can.
    padded = np.pad(img, ((radius, radius), (radius, radius), (0, 0)), mode='symmetric')
    blurred = cv2.sepFilter2D(padded, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
    return blurred.reshape(padded.shape)[radius:-radius, radius:-radius] if radius else img


def vignette(img: np.ndarray, strength: float) -> np.ndarray:
    """Multiply by 1 - `strength` r^2, r being the distance from the center, 1 in the corners; negative brightens."""
    if not strength:
        return img
    height, width = img.shape[:2]
    y, x = (np.arange(n, dtype=np.float32) - (n - 1) / 2 for n in (height, width))
    corner = max(y[-1] ** 2 + x[-1] ** 2, 1)
    return img * (1 - strength / corner * (y[:, None] ** 2 + x**2))[..., None].astype(np.float32)


def add_noise(img: np.ndarray, read: float, shot: float, rng: np.random.Generator) -> np.ndarray:
    """Add white Gaussian noise of variance `read`^2 + `shot`^2 x / 255 at a level x, in levels.

    `shot` is the standard deviation at white. Detectors integrate 10^5 electrons and more, where a Poisson
    distribution is Gaussian; levels below 0 have no shot noise.
    """
    if not read and not shot:
        return img
    sigma = np.float32(read)
    if shot:
        level = img.mean(axis=2, keepdims=True)
        sigma = np.sqrt(read**2 + shot**2 / 255 * np.maximum(level, 0), dtype=np.float32)
    return img + sigma * rng.standard_normal((*img.shape[:2], 1), np.float32)


def add_stripes(img: np.ndarray, columns: float, rows: float, rng: np.random.Generator) -> np.ndarray:
    """Add a Gaussian offset of standard deviation `columns` to every column, and of `rows` to every row, in levels."""
    height, width = img.shape[:2]
    if columns:
        img = img + np.float32(columns) * rng.standard_normal((1, width, 1), np.float32)
    if rows:
        img = img + np.float32(rows) * rng.standard_normal((height, 1, 1), np.float32)
    return img


def add_bad_pixels(img: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Set each pixel with probability `share` to 0 or 255, dead or hot, with equal probability."""
    if not share:
        return img
    draw = rng.random((*img.shape[:2], 1), np.float32)
    return np.where(draw < share, np.where(draw < share / 2, np.float32(0), np.float32(255)), img)


def adjust_levels(
    img: np.ndarray, gain: float = 1, offset: float = 0, gamma: float = 1, pivot: float | None = None
) -> np.ndarray:
    """`gain` (x - `pivot`) + `pivot` + `offset`, clipped to 0..255, then 255 (x / 255)^`gamma`.

    The pivot is the level that the gain leaves alone, by default the mean: automatic gain control keeps the scene in
    the middle of the range, and with it a higher gain does not drive everything into white.
    """
    if gain != 1 or offset:
        pivot = img.mean(dtype=np.float64) if pivot is None else pivot
        img = img * np.float32(gain) + np.float32((1 - gain) * pivot + offset)
    img = img.clip(0, 255)
    return img if gamma == 1 else 255 * (img / np.float32(255)) ** np.float32(gamma)


def invert(img: np.ndarray) -> np.ndarray:
    """255 - x: white-hot becomes black-hot, and back."""
    return 255 - img


class Draw(NamedTuple):
    """What :class:`InfraredPhotometric` does to one image; neutral values by default. `seed` is that of the noise."""

    blur: float = 0
    vignetting: float = 0
    read_noise: float = 0
    shot_noise: float = 0
    column_noise: float = 0
    row_noise: float = 0
    bad_pixels: float = 0
    gain: float = 1
    offset: float = 0
    gamma: float = 1
    invert: bool = False
    seed: int = 0


def sense(img: np.ndarray, draw: Draw) -> np.ndarray:
    """Optics and detector: blur, vignetting, noise, stripes, bad pixels; see :class:`Draw`."""
    # A stream for each, so that switching one off does not change the others.
    noise, stripes, bad = (np.random.default_rng((draw.seed, i)) for i in range(3))
    img = vignette(blur(img, draw.blur), draw.vignetting)
    img = add_noise(img, draw.read_noise, draw.shot_noise, noise)
    img = add_stripes(img, draw.column_noise, draw.row_noise, stripes)
    return add_bad_pixels(img, draw.bad_pixels, bad)


# What values a parameter may take, and in words.
_LIMITS = {
    'blur': (0, np.inf, 'at least 0'),
    'vignetting': (-1, 1, 'in [-1, 1]'),
    'read_noise': (0, np.inf, 'at least 0'),
    'shot_noise': (0, np.inf, 'at least 0'),
    'column_noise': (0, np.inf, 'at least 0'),
    'row_noise': (0, np.inf, 'at least 0'),
    'bad_pixels': (0, 1, 'in [0, 1]'),
    'gain': (np.finfo(float).tiny, np.inf, 'positive'),
    'offset': (-255, 255, 'in [-255, 255]'),
    'gamma': (np.finfo(float).tiny, np.inf, 'positive'),
}


@TRANSFORMS.register_module()
class InfraredPhotometric(ShownByArguments, BaseTransform):
    """Change an image as another infrared camera, or another setting of it, would: optics, detector, gray levels.

    Each effect is applied with probability ``prob``, its strength uniform in its range (gain and gamma: uniform in the
    logarithm, so that doubling is as probable as halving). They follow each other as in a camera, in the order of the
    arguments below, on float32; ``img`` is rounded once at the end, clipped, and keeps its type and shape. ``None``
    switches an effect off. Masks stay as they are. docs/how-to/augmentation.md has the formulas and the sources of the
    defaults, which are meant for 8-bit pictures of automatic gain, levels being those of 0..255.

    Targets stay: where gain, offset and gamma together would cost a target more than ``1 - min_contrast`` of its
    contrast with its surroundings, mostly by driving both into white, they are left out for this image.

    Every image takes the same number of draws from numpy's generator, whatever its size and whatever is switched off;
    noise comes from generators of its own that are seeded with one of these draws.

    Args:
        prob: Probability of each effect.
        blur: Standard deviation of the Gaussian point spread function, in pixels.
        vignetting: Loss in the corners, as a share of the level; negative: bright corners.
        read_noise: Standard deviation of the noise that is the same at all levels.
        shot_noise: Standard deviation, at white, of the noise that grows with the square root of the level.
        column_noise: Standard deviation of the offsets of columns (fixed-pattern noise).
        row_noise: Likewise of rows.
        bad_pixels: Share of pixels that are 0 or 255. A hot pixel looks like a target of one pixel.
        gain: Factor on the difference from the image's mean.
        offset: Added levels.
        gamma: Exponent on levels in 0..1.
        invert: Probability of 255 - img. Targets of the public sets are brighter than their surroundings, with few
            exceptions: only for data of both polarities.
        min_contrast: See above; 0 turns the check off. It needs ``gt_seg_map``.

    Raises:
        ValueError: If an argument is out of its range, naming it; if an image is neither uint8 nor floating on the
            scale 0..255.
    """

    def __init__(
        self,
        prob: float = 0.5,
        blur: Range = (0.0, 0.5),
        vignetting: Range = (-0.1, 0.2),
        read_noise: Range = (0.0, 3.0),
        shot_noise: Range = (0.0, 1.5),
        column_noise: Range = (0.0, 1.5),
        row_noise: Range = (0.0, 1.0),
        bad_pixels: Range = None,
        gain: Range = (0.7, 1.4),
        offset: Range = (-30.0, 30.0),
        gamma: Range = (0.7, 1.4),
        invert: float = 0.0,
        min_contrast: float = 0.5,
    ) -> None:
        for name, value in {'prob': prob, 'invert': invert, 'min_contrast': min_contrast}.items():
            if not _is_number(value) or not 0 <= value <= 1:
                raise ValueError(f'InfraredPhotometric: {name} must be a number in [0, 1], got {value!r}')
        ranges = {
            'blur': blur,
            'vignetting': vignetting,
            'read_noise': read_noise,
            'shot_noise': shot_noise,
            'column_noise': column_noise,
            'row_noise': row_noise,
            'bad_pixels': bad_pixels,
            'gain': gain,
            'offset': offset,
            'gamma': gamma,
        }
        self.ranges = {name: _checked_range(name, value) for name, value in ranges.items()}
        self.prob = prob
        self.invert = invert
        self.min_contrast = min_contrast

    def draw(self) -> Draw:
        """Draw what happens to one image."""
        apply = np.random.rand(len(_LIMITS) + 1)
        where = np.random.rand(len(_LIMITS))
        seed = np.random.randint(2**31)
        strengths = {
            name: _between(bounds, u, logarithmic=name in ('gain', 'gamma'))
            for (name, bounds), a, u in zip(self.ranges.items(), apply, where, strict=False)
            if bounds is not None and a < self.prob
        }
        return Draw(**strengths, invert=bool(apply[-1] < self.invert), seed=seed)

    def transform(self, results: dict) -> dict:
        """Replace ``img``, leaving the array given as it was; ``photometric`` becomes the dict of what was applied."""
        draw = self.draw()
        img = results['img']
        levels = _to_float(img)
        if draw._replace(seed=0) == Draw():
            results['photometric'] = {}
            return results
        sensed = sense(levels, draw)
        adjusted = adjust_levels(sensed, draw.gain, draw.offset, draw.gamma)
        if (draw.gain, draw.offset, draw.gamma) != (1, 0, 1) and self._loses_target(sensed, adjusted, results):
            draw = draw._replace(gain=1, offset=0, gamma=1)
            adjusted = adjust_levels(sensed)
        if draw.invert:
            adjusted = invert(adjusted)
        results['photometric'] = {
            k: v for k, v in draw._asdict().items() if v != Draw._field_defaults[k] and k != 'seed'
        }
        adjusted = np.asarray(np.rint(adjusted) if img.dtype == np.uint8 else adjusted, img.dtype)
        if adjusted.shape[2] < img.reshape(*img.shape[:2], -1).shape[2]:
            adjusted = cv2.merge([adjusted] * img.shape[2])
        results['img'] = adjusted.reshape(img.shape)
        return results

    def _loses_target(self, before: np.ndarray, after: np.ndarray, results: dict) -> bool:
        mask = results.get('gt_seg_map')
        if not self.min_contrast or mask is None or not (mask == 1).any():
            return False
        targets = label_components(mask == 1)
        old, new = (
            target_statistics(x[..., :1], mask, width=5, gap=1, components=targets).contrast for x in (before, after)
        )
        return bool((np.abs(new) < self.min_contrast * np.abs(old)).any())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _checked_range(name: str, value: object) -> Range:
    """A range as a tuple; raises ValueError naming the key."""
    if value is None:
        return None
    low, high, words = _LIMITS[name]
    form = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
    if not form or not all(_is_number(v) and np.isfinite(v) for v in value) or value[0] > value[1]:
        raise ValueError(f'InfraredPhotometric: {name} must be a range (low, high) or None, got {value!r}')
    if value[0] < low or value[1] > high:
        raise ValueError(f'InfraredPhotometric: {name} must be {words}, got {value!r}')
    return tuple(value)


def _between(bounds: tuple[float, float], u: float, logarithmic: bool) -> float:
    low, high = np.log(bounds) if logarithmic else bounds
    value = float(low + (high - low) * u)
    return float(np.exp(value)) if logarithmic else value


def _to_float(img: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, C) as float32 (H, W, C); (H, W, 1) where all channels are equal: so they stay, and save time."""
    if img.dtype != np.uint8:
        if not np.issubdtype(img.dtype, np.floating):
            raise ValueError(
                f'InfraredPhotometric: img is {img.dtype}; it must be uint8, or floating on the scale 0..255'
            )
        # Not the extremes: interpolation and pasted targets may overshoot. A mean that is nan fails too.
        if not 0 <= (mean := float(img.mean(dtype=np.float64))) <= 255:
            raise ValueError(
                f'InfraredPhotometric: img has a mean of {mean:g}; floating images must be finite, on the scale 0..255'
            )
    gray = img if img.ndim == 2 else equal_channel(img)
    return (img if gray is None else gray[..., None]).astype(np.float32)
