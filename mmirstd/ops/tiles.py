"""Prediction by tiles: an image of any size through a function that takes a window of it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mmirstd.utils.errors import ArgumentError

# (top, bottom) to rows of an image, (h, W) or (h, W, C); and a window (h, w) or (h, w, C) to its probabilities (h, w).
ReadRows = Callable[[int, int], np.ndarray]
PredictWindow = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Tiling:
    """How an image is cut into tiles.

    Neighbors share at least `overlap` pixels. In the middle quarter of these one prediction fades into the other (half
    a cosine); what a tile says of its outer :attr:`margin` pixels counts for nothing, because context is missing there.
    Where the margin is at least the receptive field of a network, tiles therefore predict what the whole image does.

    Attributes:
        size: Longest side of a tile in pixels.
        overlap: In pixels, at most half of `size`.
        align: Tiles begin at multiples of this, and all but the last end at one: the strides of a network then meet
            the pixels that they meet in the whole image.

    Raises:
        ArgumentError: If there is no room for such tiles.
    """

    size: int = 1024
    overlap: int = 256
    align: int = 1

    def __post_init__(self) -> None:
        if self.align < 1 or not 0 <= self.overlap <= self.size // 2:
            raise ArgumentError(f'tiles of {self.size} pixels overlap by 0 to {self.size // 2}, not {self.overlap}')
        if self.size // self.align * self.align - self.overlap < 2 * self.align:
            raise ArgumentError(
                f'tiles of {self.size} pixels with an overlap of {self.overlap} are too small for a network that works '
                f'at multiples of {self.align}: at least {self.overlap + 2 * self.align} are needed'
            )

    @property
    def margin(self) -> int:
        """Pixels at the inner sides of a tile whose prediction counts for nothing."""
        return 3 * self.overlap // 8

    def spans(self, length: int) -> list[tuple[int, int]]:
        """Cut an axis of `length` pixels into (start, end), as even as the alignment allows.

        >>> Tiling(100, 20).spans(250)
        [(0, 97), (77, 174), (153, 250)]
        """
        if length <= self.size:
            return [(0, length)]
        whole = self.size // self.align * self.align
        shared = self.overlap + (self.align if self.align > 1 else 0)  # starts are rounded up by less than `align`
        number = math.ceil((length - shared) / (whole - shared))
        side = math.ceil((length + (number - 1) * shared) / number / self.align) * self.align
        starts = [
            -(-i * (length - side) // ((number - 1) * self.align)) * self.align if i else 0 for i in range(number)
        ]
        return [(start, min(start + side, length)) for start in starts]

    def weights(self, length: int) -> list[np.ndarray]:
        """Return the weight of each pixel of each span, float32; over all spans the weights of a pixel sum to one."""
        spans = self.spans(length)
        fade = max(self.overlap / 4, 1)
        crossed = [np.ones(length)]
        for (_, end), (start, _) in pairwise(spans):
            at = (np.arange(length) + 0.5 - (start + end) / 2) / fade + 0.5
            crossed.append((1 - np.cos(np.pi * np.clip(at, 0, 1))) / 2)
        crossed.append(np.zeros(length))
        return [(crossed[i] - crossed[i + 1])[a:b].astype(np.float32) for i, (a, b) in enumerate(spans)]


def predict_bands(
    read: ReadRows, shape: tuple[int, int], predict: PredictWindow, tiling: Tiling
) -> Iterator[tuple[int, np.ndarray]]:
    """Predict an image tile by tile, in memory that its height does not change.

    Args:
        read: Returns rows of the image; each row of tiles is read once, from top to bottom.
        shape: Height and width of the image.
        predict: Returns the probabilities of a window.
        tiling: How the image is cut.

    Yields:
        The first row of a finished band, and its probabilities (h, W), float32, from top to bottom without gaps.

    Raises:
        ValueError: If `predict` returns another shape than it was given.
    """
    height, width = shape
    rows, columns = tiling.spans(height), tiling.spans(width)
    across = tiling.weights(width)
    begun = np.zeros((0, width), np.float32)
    for i, ((top, bottom), down) in enumerate(zip(rows, tiling.weights(height), strict=True)):
        image = read(top, bottom)
        band = np.zeros((bottom - top, width), np.float32)
        for (left, right), weight in zip(columns, across, strict=True):
            probability = predict(np.ascontiguousarray(image[:, left:right]))
            if probability.shape != (bottom - top, right - left):
                raise ValueError(f'a tile of {(bottom - top, right - left)} gave a map of {probability.shape}')
            band[:, left:right] += probability * weight
        band *= down[:, None]
        band[: len(begun)] += begun
        done = (rows[i + 1][0] if i + 1 < len(rows) else bottom) - top
        yield top, np.clip(band[:done], 0, 1)
        begun = band[done:].copy()


def predict_tiles(image: np.ndarray, predict: PredictWindow, tiling: Tiling) -> np.ndarray:
    """Predict an image (H, W) or (H, W, C) that is in memory, see :func:`predict_bands`; returns (H, W) float32.

    >>> image = np.random.default_rng(0).random((70, 90), np.float32)
    >>> same = predict_tiles(image, lambda window: window, Tiling(32, 8))
    >>> bool(np.allclose(same, image))
    True
    """
    bands = predict_bands(lambda top, bottom: image[top:bottom], image.shape[:2], predict, tiling)
    return np.concatenate([band for _, band in bands])
