"""A frame of a video with the boxes of its detections and the numbers of their tracks."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mmirstd.visualization.canvas import COLORS, MarkedBox, load_font, place_box, to_display

# Frames with a longer side below this are magnified by a whole number.
_LEAST_SIDE = 512


def draw_frame(image: np.ndarray, boxes: np.ndarray, labels: Sequence[str] = (), caption: str = '') -> np.ndarray:
    """Draw boxes with labels into a frame, which is magnified where it is small.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) RGB of any real type.
        boxes: (N, 4) top, left, bottom, right, half open, in pixels of the image.
        labels: A text for each box, such as the number of its track; none at all leaves them out.
        caption: Text at the lower left.

    Returns:
        (K * H, K * W, 3) uint8 RGB.
    """
    scale = max(1, -(-_LEAST_SIDE // max(image.shape[:2])))
    height, width = scale * image.shape[0], scale * image.shape[1]
    canvas = cv2.resize(to_display(image), (width, height), interpolation=cv2.INTER_NEAREST)
    font = load_font(max(12, max(height, width) // 40))
    places = [place_box(MarkedBox('predicted', tuple(box)), scale, 0, 0, width, height) for box in boxes.tolist()]
    for x0, y0, x1, y1 in places:
        cv2.rectangle(canvas, (x0, y0), (x1, y1), COLORS['predicted'], max(1, max(height, width) // 512))
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    outline = {'stroke_width': 2, 'stroke_fill': (0, 0, 0)}
    for (x0, y0, _, y1), label in zip(places, labels, strict=bool(labels)):
        above = y0 > 1.5 * font.size
        place, anchor = ((x0, y0 - 3), 'ls') if above else ((x0, y1 + 3), 'la')
        pen.text(place, label, COLORS['false'], font, anchor, **outline)
    pen.text((font.size // 2, height - font.size // 2), caption, (255, 255, 255), font, 'ls', **outline)
    return np.array(picture)
