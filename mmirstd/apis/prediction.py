"""What is predicted for one image: its detections, its picture, or why there is none."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mmirstd.apis.tiled import AUTOMATIC_PIXELS
from mmirstd.ops.components import Connectivity
from mmirstd.ops.detections import Detections, detect_targets
from mmirstd.utils.errors import describe
from mmirstd.visualization import draw_detections

# Long side of a large image in a picture, in pixels.
_LARGE_PANEL = 1024


class Prediction(NamedTuple):
    """Detections, and the image they were found in as (H, W, 1) or (H, W, 3), RGB."""

    detections: Detections
    image: np.ndarray

    def at(self, threshold: float, connectivity: Connectivity | None = None, min_area: int = 1) -> 'Prediction':
        """Find the targets again by another threshold, without the network.

        Args:
            threshold: A pixel is target when its probability is above.
            connectivity: 4 or 8 neighbors make a target; by default as before.
            min_area: Targets of fewer pixels are left out.

        Raises:
            ValueError: If the probability map was not kept, or the threshold is not in [0, 1).
        """
        before = self.detections
        if before.probability is None:
            raise ValueError(f'{before.name}: the probability map was not kept')
        found = detect_targets(
            before.probability,
            self.image[..., ::-1],
            threshold=threshold,
            connectivity=connectivity or before.connectivity,
            min_area=min_area,
            name=before.name,
        )
        return Prediction(found, self.image)


def draw_prediction(
    image: np.ndarray, found: Detections, drawing: Mapping[str, Any], probability: bool = False
) -> np.ndarray:
    """Draw an image with the targets found.

    Args:
        image: (H, W, 1) or (H, W, 3), RGB.
        found: What was found in it.
        drawing: ``panel_size`` and ``max_insets`` of :func:`mmirstd.visualization.draw_detections`.
        probability: Whether the probability map is shown, too.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    options = dict(drawing) | {'connectivity': found.connectivity}
    if found.mask.size > AUTOMATIC_PIXELS:  # boxes would hide the image
        options['panel_size'] = max(options['panel_size'], _LARGE_PANEL)
    if probability:
        options['probability'] = found.probability
    return draw_detections(image, pred=found.mask, name=found.name, **options)


def report_failure(failures: dict[str, str], item: Mapping[str, Any], error: BaseException, addition: str = '') -> None:
    """Note why there is no prediction, by the file's path; by its unique name where it was given twice."""
    key = item['source'] if isinstance(item['source'], str) else item['name']
    plain = isinstance(error, (OSError, ValueError, RuntimeError)) and str(error)
    message = ' '.join(f'{error if plain else describe(error)}{addition}'.split())
    failures[item['name'] if key in failures else key] = message
