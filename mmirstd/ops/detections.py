"""What was found in one image: a probability map, its mask, and one row of numbers for each target."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmirstd.io.tables import csv_rows, json_bytes
from mmirstd.ops.components import Connectivity, label_pixels
from mmirstd.ops.pairs import check_probabilities
from mmirstd.ops.target_statistics import target_statistics

# Of a table of targets.
COLUMNS = ('image', 'row', 'col', 'top', 'left', 'bottom', 'right', 'area', 'score', 'peak', 'contrast', 'scr')


@dataclass(frozen=True, eq=False)
class Detections:
    """The N targets found in one image of H x W pixels, in raster order of their first pixels.

    Attributes:
        probability: (H, W) float32, of each pixel to belong to a target; None where it was not kept.
        mask: (H, W) bool, the pixels of the targets.
        threshold: A pixel is target when its probability is above.
        connectivity: 4 or 8 neighbors make a target.
        centroids: (N, 2) float64, (row, column) means of pixel indices.
        boxes: (N, 4) int64 (top, left, bottom, right), half open.
        areas: (N,) int64, in pixels.
        scores: (N,) float64, the mean probability over the pixels of a target.
        peaks: (N,) float64, the highest probability of a target.
        contrasts: (N,) float64, local contrast in levels of the image: the mean over a target less that over its
            surroundings, see :func:`mmirstd.ops.target_statistics.target_statistics`; nan where there are none. None
            without an image.
        scr: (N,) float64, the local signal-to-clutter ratio, likewise.
        name: Name of the image.
    """

    probability: np.ndarray | None = field(repr=False)
    mask: np.ndarray = field(repr=False)
    threshold: float
    connectivity: Connectivity
    centroids: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    scores: np.ndarray
    peaks: np.ndarray
    contrasts: np.ndarray | None = None
    scr: np.ndarray | None = None
    name: str = ''

    def __len__(self) -> int:
        return len(self.areas)

    def rows(self) -> list[dict[str, Any]]:
        """One row of plain values for each target, with the keys :data:`COLUMNS`; None where there is no value."""
        nothing = [None] * len(self)
        columns = (
            [self.name] * len(self),
            *self.centroids.T.tolist(),
            *self.boxes.T.tolist(),
            self.areas.tolist(),
            self.scores.tolist(),
            self.peaks.tolist(),
            nothing if self.contrasts is None else self.contrasts.tolist(),
            nothing if self.scr is None else self.scr.tolist(),
        )
        return [dict(zip(COLUMNS, values, strict=True)) for values in zip(*columns, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Name and size of the image, the threshold and the :meth:`rows`, without the maps."""
        height, width = self.mask.shape
        return {
            'image': self.name,
            'height': height,
            'width': width,
            'threshold': self.threshold,
            'connectivity': self.connectivity,
            'targets': [{key: row[key] for key in COLUMNS[1:]} for row in self.rows()],
        }

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON; nan becomes null and infinity ``"inf"``."""
        return json_bytes(self.to_dict()).decode()

    def to_csv(self) -> str:
        """A line for each target under a header; what has no value is empty."""
        return csv_rows(self.rows(), COLUMNS).decode()


def detect_targets(
    probability: np.ndarray,
    image: np.ndarray | None = None,
    *,
    threshold: float = 0.5,
    connectivity: Connectivity = 8,
    min_area: int = 1,
    name: str = '',
) -> Detections:
    """Find the targets in a probability map: the connected components of the pixels above a threshold.

    Args:
        probability: (H, W), floats in [0, 1].
        image: (H, W), (H, W, 1) or BGR (H, W, 3) of any real type, for local contrast and signal-to-clutter ratio.
        threshold: In [0, 1).
        connectivity: 4 or 8 neighbors make a component.
        min_area: Components of fewer pixels are left out.
        name: Name of the image.

    Raises:
        ValueError: If the map is not of that kind, the image is of another size, or an option is out of its range.

    >>> import numpy as np
    >>> probability = np.zeros((6, 8))
    >>> probability[1, 2], probability[1, 3], probability[4, 6] = 0.9, 0.7, 0.6
    >>> found = detect_targets(probability, min_area=2)
    >>> len(found), found.boxes.tolist(), found.centroids.tolist(), round(float(found.scores[0]), 3)
    (1, [[1, 2, 2, 4]], [[1.0, 2.5]], 0.8)
    """
    where = f'{name}: ' if name else ''
    if probability.ndim != 2 or not probability.size or probability.dtype.kind != 'f':
        raise ValueError(f'{where}probabilities must be (H, W) floats, got {probability.shape} of {probability.dtype}')
    check_probabilities(probability, name)
    flat = np.flatnonzero(probability > threshold)
    return detect_pixels(
        flat,
        probability.ravel()[flat],
        probability.shape,
        image,
        threshold=threshold,
        connectivity=connectivity,
        min_area=min_area,
        name=name,
        probability=probability,
    )


def detect_pixels(
    flat: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    image: np.ndarray | None = None,
    *,
    threshold: float,
    connectivity: Connectivity = 8,
    min_area: int = 1,
    name: str = '',
    probability: np.ndarray | None = None,
) -> Detections:
    """Find the targets among the pixels of an image that are above the threshold, see :func:`detect_targets`.

    Args:
        flat: (P,) flat indices of these pixels, ascending.
        values: (P,) their probabilities.
        shape: Height and width of the image.
        image: As in :func:`detect_targets`.
        threshold: In [0, 1), what was compared with.
        connectivity: 4 or 8 neighbors make a component.
        min_area: Components of fewer pixels are left out.
        name: Name of the image.
        probability: The whole map, where it is kept.

    Raises:
        ValueError: If the image is of another size, or an option is out of its range.
    """
    where = f'{name}: ' if name else ''
    if not 0 <= threshold < 1 or min_area < 1:
        raise ValueError(f'{where}a threshold in [0, 1) and min_area >= 1 are needed, got {threshold} and {min_area}')
    if image is not None and image.shape[:2] != shape:
        raise ValueError(f'{where}the image is {image.shape[:2]}, the probabilities {shape}')
    found = label_pixels(flat, shape, connectivity)
    if min_area > 1 and len(found):
        kept = found.area[found.index] >= min_area
        flat, values = flat[kept], values[kept]
        found = label_pixels(flat, shape, connectivity)
    mask = np.zeros(shape, bool)
    mask.ravel()[flat] = True
    values = values.astype(np.float64)
    peaks = np.zeros(len(found))
    np.maximum.at(peaks, found.index, values)
    local = None if image is None else target_statistics(image, mask, connectivity=connectivity, components=found)
    return Detections(
        probability=probability,
        mask=mask,
        threshold=threshold,
        connectivity=connectivity,
        centroids=found.centroid,
        boxes=found.boxes,
        areas=found.area,
        scores=np.bincount(found.index, values, minlength=len(found)) / found.area,
        peaks=peaks,
        contrasts=None if local is None else local.contrast,
        scr=None if local is None else local.scr,
        name=name,
    )
