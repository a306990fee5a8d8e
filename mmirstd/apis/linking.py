"""Detections over the frames of a sequence joined into tracks, by the package `trackers`."""

from typing import TYPE_CHECKING

import numpy as np

from mmirstd.ops.detections import Detections
from mmirstd.utils.errors import MissingExtraError

if TYPE_CHECKING:
    from trackers import SORTTracker

# Boxes of a few pixels do not overlap from frame to frame: they are grown by this many pixels on each side.
REACH = 8
# A track may be without a detection for so many frames.
PATIENCE = 5


class Linker:
    """Gives the detections of consecutive frames the number of their track.

    SORT (Bewley et al., "Simple online and realtime tracking", ICIP 2016): a Kalman filter predicts where each track
    is, and the assignment of largest overlap says which detection continues it. Boxes are grown by `REACH` pixels
    before they are compared, so that a target of three pixels may move by 15 from its predicted place.

    Args:
        min_frames: A track has a number from this many detections in a row on.

    Raises:
        MissingExtraError: If the package `trackers` is not installed.
    """

    def __init__(self, min_frames: int = 2) -> None:
        self._tracker: SORTTracker = _sort()(
            lost_track_buffer=PATIENCE,
            track_activation_threshold=0.0,
            minimum_consecutive_frames=min_frames,
            minimum_iou_threshold=0.1,
        )

    def __call__(self, found: Detections | None) -> list[int | None]:
        """Return the track of each detection of the next frame, from 1 on; None where there is none yet.

        Args:
            found: None for a frame without a prediction: tracks go on without it.
        """
        import supervision

        boxes = np.zeros((0, 4)) if found is None else found.boxes[:, [1, 0, 3, 2]] + [-REACH, -REACH, REACH, REACH]
        scores = np.zeros(0) if found is None else found.scores
        given = supervision.Detections(xyxy=boxes.astype(np.float32), confidence=scores.astype(np.float32))
        numbers = self._tracker.update(given).tracker_id
        return [None if number < 0 else int(number) + 1 for number in numbers]


def _sort() -> type['SORTTracker']:
    try:
        from trackers import SORTTracker
    except ImportError as error:
        raise MissingExtraError('--link needs', 'video', error) from error
    return SORTTracker
