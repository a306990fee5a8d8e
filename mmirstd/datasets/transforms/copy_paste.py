"""Copy-paste of small targets with their halo."""

from collections.abc import Sized
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmirstd.datasets.transforms.shown import ShownByArguments
from mmirstd.ops.components import label_components
from mmirstd.ops.target_statistics import signal_to_clutter
from mmirstd.registry import TRANSFORMS

# ruff: noqa: NPY002 - mmengine seeds numpy's global generator in every worker, so transforms draw from that one


class TargetPatch(NamedTuple):
    """A cut-out target: ``residual`` (h, w, C) float32 over its local background, 0 at the rim, and ``mask`` (h, w)."""

    residual: np.ndarray
    mask: np.ndarray


def cut_target(img: np.ndarray, mask: np.ndarray, halo: int) -> TargetPatch:
    """Separate the target in a window from its background.

    The background is the plane that fits the pixels farther than ``halo`` from the target best, channel by channel.
    What exceeds it is kept whole on the target and fades over the halo with a raised cosine, so that the light the
    optics spread beyond the annotated pixels comes along, and no edge.

    Args:
        img: (h, w, C), window around one target with a margin of at least halo + 1 pixels on all sides.
        mask: (h, w) bool, its pixels.
        halo: Width of the fading rim in pixels.
    """
    img = img.astype(np.float32)
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    design = _plane(*mask.shape)
    ground = distance > halo
    plane, *_ = np.linalg.lstsq(design[ground], img[ground], rcond=None)
    weight = 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance / (halo + 1), 1))
    return TargetPatch((img - design @ plane) * weight[..., None], mask)


@lru_cache(maxsize=1024)
def _plane(height: int, width: int) -> np.ndarray:
    """(h, w, 3) float32: 1, x and y, each from -1 to 1."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    return np.stack([np.ones_like(x), x, y], axis=-1)


def add_target(window: np.ndarray, patch: TargetPatch, min_scr: float = 0) -> np.ndarray | None:
    """Add a target to a window (h, w, C) of equal size; integer types are rounded and clipped to their range.

    Returns:
        The new window, of the same type; None where the target would be hard to see: where its signal-to-clutter
        ratio, the mean change over its mask after clipping divided by the standard deviation of the window before, is
        below ``min_scr`` in all channels, or where clipping takes away more than half of its contrast.
    """
    new = window + patch.residual
    if np.issubdtype(window.dtype, np.integer):
        limits = np.iinfo(window.dtype)
        new = np.rint(new).clip(limits.min, limits.max)
    contrast = np.abs((new - window)[patch.mask].mean(axis=0))
    wanted = np.abs(patch.residual[patch.mask].mean(axis=0))
    scr = signal_to_clutter(contrast, window.std(axis=(0, 1)))
    if (contrast < wanted / 2).all() or (scr < min_scr).all():
        return None
    return new.astype(window.dtype)


@TRANSFORMS.register_module()
class CopyPasteTargets(ShownByArguments, BaseTransform):
    """Paste up to ``max_num`` targets, from this image or another random sample of the dataset.

    Targets of other samples come through MMSegmentation's ``MultiImageMixDataset``: this transform is part of the
    wrapper's pipeline, and the dataset inside loads samples.

    A target comes with its halo as a difference from its local background (:func:`cut_target`), optionally flipped,
    rotated by multiples of 90 degrees and scaled in contrast, and is added at a uniformly random place where its window
    holds neither a target nor ignored pixels, and where it stays visible (:func:`add_target`). Targets closer than
    ``halo`` + 1 pixels to another or to the border are not copied. A place is tried ten times per target.

    Targets of another sample keep their native size: put this after the crop, and after scale jitter only if that is
    wanted.

    Args:
        prob: Probability that an image gets targets at all.
        max_num: Largest number of pasted targets; the number is uniform from 1.
        other_prob: Probability that they come from another sample.
        halo: Width of the halo in pixels.
        gain: Range of the factor on a target's contrast.
        min_scr: Smallest signal-to-clutter ratio, see :func:`add_target`; 1 in 100 targets of the public sets has less
            than 1.0 (NUDT-SIRST) to 2.0 (NUAA-SIRST).
        flip: Whether to flip a target, each axis with probability 0.5.
        rotate: Whether to rotate it by a random multiple of 90 degrees.
    """

    def __init__(
        self,
        prob: float = 0.5,
        max_num: int = 3,
        other_prob: float = 0.5,
        halo: int = 4,
        gain: tuple[float, float] = (0.8, 1.2),
        min_scr: float = 1.5,
        flip: bool = True,
        rotate: bool = True,
    ) -> None:
        for name, value in {'prob': prob, 'other_prob': other_prob}.items():
            if not 0 <= value <= 1:
                raise ValueError(f'CopyPasteTargets: {name} must lie in [0, 1], got {value}')
        if max_num < 1 or halo < 0 or min_scr < 0:
            raise ValueError(
                'CopyPasteTargets: max_num must be at least 1, halo and min_scr not negative, '
                f'got {max_num}, {halo} and {min_scr}'
            )
        if not 0 < gain[0] <= gain[1]:
            raise ValueError(f'CopyPasteTargets: gain must be a range of positive factors, got {gain}')
        self.prob = prob
        self.max_num = max_num
        self.other_prob = other_prob
        self.halo = halo
        self.gain = gain
        self.min_scr = min_scr
        self.flip = flip
        self.rotate = rotate

    def get_indices(self, dataset: Sized) -> list[int]:
        """Draw the sample that targets are taken from: its index, or none with probability 1 - prob * other_prob."""
        if np.random.rand() < self.prob * self.other_prob:
            return [np.random.randint(len(dataset))]
        return []

    def transform(self, results: dict) -> dict:
        """Change ``img`` and ``gt_seg_map``; the arrays given are left as they were.

        Raises:
            KeyError: If ``results['mix_results']`` is missing, which ``MultiImageMixDataset`` gives, or what it holds
                is not loaded.
        """
        if self.other_prob and 'mix_results' not in results:
            raise KeyError(
                "CopyPasteTargets: other_prob > 0 needs results['mix_results'], which MultiImageMixDataset gives to "
                'the transforms of its own pipeline; elsewhere set other_prob=0'
            )
        donor = self._choose_donor(results)
        if donor is None:
            return results
        donor_img = _three_d(donor['img'])
        windows = self._donor_windows(donor['gt_seg_map'])
        if not windows:
            return results
        img, mask = results['img'].copy(), results['gt_seg_map'].copy()
        for _ in range(np.random.randint(1, self.max_num + 1)):
            window, target = windows[np.random.randint(len(windows))]
            self._paste(_three_d(img), mask, self._vary(cut_target(donor_img[window], target, self.halo)))
        results['img'], results['gt_seg_map'] = img, mask
        return results

    def _donor_windows(self, mask: np.ndarray) -> list[tuple[tuple[slice, slice], np.ndarray]]:
        """Windows around the targets that stand free, each with the target's own mask."""
        targets = label_components(mask == 1)
        labels = targets.label_map(mask.shape)
        margin = self.halo + 1
        windows = []
        for k, (top, left, bottom, right) in enumerate(targets.boxes, 1):
            if min(top, left) < margin or bottom + margin > mask.shape[0] or right + margin > mask.shape[1]:
                continue
            window = slice(top - margin, bottom + margin), slice(left - margin, right + margin)
            target = labels[window] == k
            if not mask[window][~target].any():
                windows.append((window, target))
        return windows

    def _vary(self, patch: TargetPatch) -> TargetPatch:
        residual, mask = patch.residual * np.float32(np.random.uniform(*self.gain)), patch.mask
        if self.rotate:
            turns = np.random.randint(4)
            residual, mask = np.rot90(residual, turns), np.rot90(mask, turns)
        if self.flip:
            axes = tuple(np.flatnonzero(np.random.rand(2) < 0.5))
            residual, mask = np.flip(residual, axes), np.flip(mask, axes)
        return TargetPatch(residual, mask)

    def _paste(self, img: np.ndarray, mask: np.ndarray, patch: TargetPatch) -> None:
        free = [size - extent for size, extent in zip(mask.shape, patch.mask.shape, strict=True)]
        if min(free) < 0:
            return
        for _ in range(10):
            window = tuple(
                slice(start := np.random.randint(room + 1), start + extent)
                for room, extent in zip(free, patch.mask.shape, strict=True)
            )
            if mask[window].any() or (new := add_target(img[window], patch, self.min_scr)) is None:
                continue
            img[window] = new
            mask[window][patch.mask] = 1
            return

    def _choose_donor(self, results: dict) -> dict | None:
        """The other sample where there is one; this one as often as makes up for :meth:`get_indices`, or none."""
        if others := results.get('mix_results'):
            if missing := {'img', 'gt_seg_map'} - others[0].keys():
                raise KeyError(
                    f'CopyPasteTargets: the other sample has no {" and no ".join(sorted(missing))}; the dataset inside '
                    'MultiImageMixDataset must load samples and not pack them'
                )
            return others[0]
        from_other = self.prob * self.other_prob
        return results if np.random.rand() * (1 - from_other) < self.prob - from_other else None


def _three_d(img: np.ndarray) -> np.ndarray:
    """View of a gray image, which mmcv's resizing makes two-dimensional, with its channel axis."""
    return img[..., None] if img.ndim == 2 else img
