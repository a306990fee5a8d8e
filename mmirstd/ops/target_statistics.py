"""Statistics of infrared images and of the targets in them, as pure functions on arrays (numpy and scipy only)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from mmirstd.ops.components import Components, Connectivity, label_components
from mmirstd.ops.pairs import split_labels

_BT601_BGR = np.array([0.114, 0.587, 0.299])
_HIGH_PASS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])


class ImageStatistics(NamedTuple):
    """Of one image; levels are in the units of the image, counts in pixels."""

    height: int
    width: int
    mean: float
    std: float
    low: float
    high: float
    noise: float
    targets: int
    target_pixels: int
    ignored_pixels: int

    @property
    def empty(self) -> bool:
        """Whether the image has no target."""
        return self.targets == 0


@dataclass(frozen=True, eq=False)
class TargetStatistics:
    """Of the N targets of an image, in raster order of their first pixels, as :func:`match_targets` numbers them.

    `area` (N,) is in pixels. `contrast` (N,), signed, and `clutter` (N,), the standard deviation of the background, are
    in the units of the image, `scr` (N,) is |contrast| / clutter, and `background` (N,) the number of pixels behind
    them. `boxes` (N, 4) are top, left, bottom and right, half open; `at_border` (N,) says whether a target touches the
    border of the image, where a part of it may be missing.
    """

    area: np.ndarray
    contrast: np.ndarray
    clutter: np.ndarray
    scr: np.ndarray
    background: np.ndarray
    boxes: np.ndarray
    at_border: np.ndarray

    def __len__(self) -> int:
        return len(self.area)


def to_gray(image: np.ndarray) -> np.ndarray:
    """(H, W), (H, W, 1) or BGR (H, W, 3) of any real type to float64 (H, W).

    Three equal channels give exactly that channel, others are weighted as in ITU-R BT.601.
    """
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(f'an image must be (H, W), (H, W, 1) or (H, W, 3), got {image.shape}')
    if image.ndim == 3 and image.shape[2] == 3 and not (image == image[..., :1]).all():
        return image.astype(np.float64) @ _BT601_BGR
    return (image if image.ndim == 2 else image[..., 0]).astype(np.float64)


def noise_level(gray: np.ndarray) -> float:
    """Estimate the standard deviation of white noise in (H, W) by Immerkaer's second differences; nan below 3 x 3.

    J. Immerkaer, "Fast noise variance estimation", Computer Vision and Image Understanding 64(2), 1996. Fine texture
    counts as noise, and noise that was filtered does not: a bound for the cameras of a set rather than a measurement.
    """
    if min(gray.shape) < 3:
        return float('nan')
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(ndimage.convolve(gray, _HIGH_PASS)[1:-1, 1:-1]).mean())


def signal_to_clutter(contrast: np.ndarray | float, clutter: np.ndarray | float) -> np.ndarray:
    """|contrast| / clutter, the signal-to-clutter ratio; inf where only the clutter is 0, nan where both are.

    >>> signal_to_clutter([-6.0, 6.0], [2.0, 0.0]).tolist()
    [3.0, inf]
    """
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.abs(contrast) / np.asarray(clutter, np.float64)


def image_statistics(
    image: np.ndarray,
    mask: np.ndarray,
    *,
    connectivity: Connectivity = 8,
    ignore: int = 255,
    components: Components | None = None,
) -> ImageStatistics:
    """Statistics of an image (see :func:`to_gray`) and its mask (H, W) in {0, 1, ignore}.

    `mean`, `std`, `low` and `high` are of all pixels, `noise` is that of :func:`noise_level`.

    Args:
        image: Any image that :func:`to_gray` takes.
        mask: (H, W).
        connectivity: 4 or 8 neighbors make a target.
        ignore: Label of pixels that are neither target nor background.
        components: Those of ``mask == 1``, where they are known already.
    """
    target, ignored = _checked(image, mask, ignore)
    gray = to_gray(image)
    components = label_components(target, connectivity) if components is None else components
    return ImageStatistics(
        *gray.shape,
        mean=float(gray.mean()),
        std=float(gray.std()),
        low=float(gray.min()),
        high=float(gray.max()),
        noise=noise_level(gray),
        targets=len(components),
        target_pixels=int(components.area.sum()),
        ignored_pixels=0 if ignored is None else int(np.count_nonzero(ignored)),
    )


def target_statistics(
    image: np.ndarray,
    mask: np.ndarray,
    *,
    width: int = 20,
    gap: int = 0,
    connectivity: Connectivity = 8,
    ignore: int = 255,
    components: Components | None = None,
) -> TargetStatistics:
    """Area, contrast and local signal-to-clutter ratio of every target of a mask (H, W) in {0, 1, ignore}.

    SCR = |mu_t - mu_b| / sigma_b (Gao et al., "Infrared patch-image model for small target detection in a single
    image", IEEE TIP 22(12), 2013), with mu_t the mean over the target's pixels, and mu_b and sigma_b the mean and the
    standard deviation over its surroundings: the bounding box, a x b, grown to (a + 2 `width`) x (b + 2 `width`) and
    cut at the border of the image, without the pixels of this and any other target and without ignored ones. With
    rounded boxes and widths of their own, published numbers are comparable only where both agree.

    What has no value is not hidden: a background that is constant has `clutter` 0 and `scr` inf (nan if the contrast is
    0 too); where targets and ignored pixels fill the surroundings, `contrast`, `clutter` and `scr` are nan. A target at
    the border is judged by what is in the image.

    Args:
        image: Any image that :func:`to_gray` takes.
        mask: (H, W).
        width: Width of the surroundings in pixels; 20 is common in papers.
        gap: Pixels within this distance (Chebyshev) of any target are not background either, so that the halo of a
            target does not count as clutter; 0 is the field's definition.
        connectivity: 4 or 8 neighbors make a target.
        ignore: Label of pixels that are neither target nor background.
        components: Those of ``mask == 1``, where they are known already, for example
            ``match_targets(...).targets``.
    """
    if width < 1 or not 0 <= gap < width:
        raise ValueError(f'width must be at least 1 and gap in [0, width), got {width} and {gap}')
    target, ignored = _checked(image, mask, ignore)
    components = label_components(target, connectivity) if components is None else components
    number, boxes = len(components), components.boxes
    contrast, clutter = np.full(number, np.nan), np.full(number, np.nan)
    background = np.zeros(number, np.int64)
    levels = to_gray(image[components.rows, components.cols][:, None])[:, 0]
    sums = np.bincount(components.index, weights=levels, minlength=number)
    for i, (top, left, bottom, right) in enumerate(boxes.tolist()):
        window = slice(max(0, top - width), bottom + width), slice(max(0, left - width), right + width)
        # The gap of targets outside the window reaches into it.
        halo = tuple(slice(max(0, s.start - gap), s.stop + gap) for s in window)
        taken = target[halo]
        if gap:
            taken = ndimage.binary_dilation(taken, np.ones((3, 3), bool), iterations=gap)
        inner = tuple(
            slice(w.start - h.start, min(w.stop, n) - h.start) for w, h, n in zip(window, halo, mask.shape, strict=True)
        )
        left_out = taken[inner] if ignored is None else taken[inner] | ignored[window]
        around = to_gray(image[window])[~left_out]  # by windows: there may be no room for a large image in float64
        background[i] = around.size
        if around.size:
            contrast[i] = sums[i] / components.area[i] - around.mean()
            # A rounding error in the mean of a constant must not pass for clutter.
            clutter[i] = around.std() if np.ptp(around) else 0.0
    scr = signal_to_clutter(contrast, clutter)
    at_border = (boxes[:, :2] == 0).any(1) | (boxes[:, 2:] == mask.shape).any(1)
    return TargetStatistics(components.area, contrast, clutter, scr, background, boxes, at_border)


def quantiles(values: Iterable[float], at: Sequence[float] = (0, 0.01, 0.1, 0.5, 0.9, 0.99, 1)) -> list[float]:
    """Quantiles of the values that are a number, inf included; nan where there are none.

    An observed value each, the lower of two neighbors, so that counts stay whole and inf does not spread.
    """
    numbers = np.asarray(list(values), np.float64)
    numbers = numbers[~np.isnan(numbers)]
    if not numbers.size:
        return [float('nan')] * len(at)
    return np.quantile(numbers, at, method='inverted_cdf').tolist()


def _checked(image: np.ndarray, mask: np.ndarray, ignore: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The targets and the ignored pixels, (H, W) bool each; None where no pixel is ignored."""
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(f'an image must be (H, W), (H, W, 1) or (H, W, 3), got {image.shape}')
    if mask.shape != image.shape[:2] or not mask.size:
        raise ValueError(f'image and mask must be of one size, and not empty: got {image.shape} and {mask.shape}')
    return split_labels(mask, ignore)
