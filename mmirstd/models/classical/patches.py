"""Images as overlapping patches, and back."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Overlap = Literal['mean', 'median', 'last']


@dataclass(frozen=True)
class PatchGrid:
    """Where the patches of an image lie: column by column, downward in each, as public codes order them.

    Attributes:
        shape: Height and width of the image.
        size: Side of the patches in pixels; no more than the shorter side of the image.
        step: Distance of neighbors. The last patch of a row or column ends at the border, whatever its distance.
        whole: Take that last patch. False leaves pixels beyond the last whole step uncovered, where a target is missed.
    """

    shape: tuple[int, int]
    size: int
    step: int
    whole: bool = True

    @classmethod
    def of(cls, image: np.ndarray, size: int, step: int, whole: bool = True) -> 'PatchGrid':
        """Lay a grid over an image (H, W); patches shrink to an image that is smaller.

        Raises:
            ValueError: If size or step is below 1.
        """
        if size < 1 or step < 1:
            raise ValueError(f'patches: size and step must be at least 1, got {size} and {step}')
        return cls(image.shape, min(size, *image.shape), step, whole)

    @property
    def rows(self) -> np.ndarray:
        """Top of each row of patches."""
        return self._starts(self.shape[0])

    @property
    def columns(self) -> np.ndarray:
        """Left side of each column of patches."""
        return self._starts(self.shape[1])

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def split(self, image: np.ndarray) -> np.ndarray:
        """Return the patches (N, size, size) of an image."""
        windows = sliding_window_view(image, (self.size, self.size))
        return windows[self.rows[None], self.columns[:, None]].reshape(-1, self.size, self.size)

    def join(self, patches: np.ndarray, overlap: Overlap = 'mean') -> np.ndarray:
        """Make an image (H, W) of patches (N, size, size).

        Args:
            patches: In the order of :meth:`split`.
            overlap: What a pixel of several patches gets: their mean, their median, or the value of the last one.

        Returns:
            float64; pixels of no patch are 0.

        Raises:
            ValueError: If there is no such rule.
        """
        places = self.split(np.arange(self.shape[0] * self.shape[1]).reshape(self.shape)).ravel()
        values = np.asarray(patches, np.float64).ravel()
        image = np.zeros(self.shape[0] * self.shape[1])
        if overlap == 'last':
            image[places] = values
            return image.reshape(self.shape)
        counts = np.bincount(places, minlength=len(image))
        covered = counts > 0
        if overlap == 'mean':
            image[covered] = np.bincount(places, values, len(image))[covered] / counts[covered]
        elif overlap == 'median':
            values = values[np.lexsort((values, places))]  # pixel by pixel, rising in each
            first = np.cumsum(counts) - counts
            low, high = ((first + half)[covered] for half in ((counts - 1) // 2, counts // 2))
            image[covered] = (values[low] + values[high]) / 2
        else:
            raise ValueError(f"patches: overlap must be 'mean', 'median' or 'last', got {overlap!r}")
        return image.reshape(self.shape)

    def _starts(self, extent: int) -> np.ndarray:
        last = extent - self.size
        return np.append(np.arange(0, last, self.step), last) if self.whole else np.arange(0, last + 1, self.step)
