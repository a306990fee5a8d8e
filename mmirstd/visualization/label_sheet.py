"""A sheet of grown targets, to be looked at before they are trained on."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw

from mmirstd.ops.growing import GrownTarget
from mmirstd.visualization.canvas import COLORS, GAP, INK, PAPER, MarkedBox, draw_inset, load_font, to_display

_SMALLEST, _VIEW, _PER_ROW = 16, 160, 4


class SheetView(NamedTuple):
    """A target on the sheet: (S, S) uint8 of its image, (S, S) bool its pixels, its box there, and a title."""

    image: np.ndarray
    mask: np.ndarray
    box: tuple[int, int, int, int]
    title: str


def cut_view(gray: np.ndarray, grown: GrownTarget, title: str) -> SheetView:
    """Cut the surroundings of a grown target out of its image (H, W)."""
    top, left, bottom, right = grown.box
    side = min(max(_SMALLEST, 2 * max(bottom - top, right - left)), *gray.shape)
    row = min(max(0, (top + bottom - side) // 2), gray.shape[0] - side)
    col = min(max(0, (left + right - side) // 2), gray.shape[1] - side)
    whole = np.zeros(gray.shape, bool)
    whole[top:bottom, left:right] = grown.mask
    window = slice(row, row + side), slice(col, col + side)
    levels = gray[window].astype(np.float64)
    low, high = levels.min(), levels.max()
    shown = ((levels - low) / max(high - low, np.finfo(float).tiny) * 255).round().astype(np.uint8)
    return SheetView(shown, whole[window], (top - row, left - col, bottom - row, right - col), title)


def draw_label_sheet(views: Sequence[SheetView], heading: str = '') -> np.ndarray:
    """Draw targets, each as it is, and beside with the box that it was grown in and the outline of its pixels.

    Args:
        views: Of the targets, at least one.
        heading: First line.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    font, columns = load_font(13), min(_PER_ROW, len(views))
    line = round(font.size * 1.8)
    width, height = 2 * _VIEW + 2 * GAP, _VIEW + line
    rows = -(-len(views) // columns)
    total = GAP + columns * width, GAP + line + rows * height
    canvas = np.full((total[1], max(total[0], GAP * 2 + round(font.getlength(heading))), 3), PAPER, np.uint8)
    titles = []
    for number, view in enumerate(views):
        x, y = GAP + number % columns * width, GAP + line + number // columns * height
        image, side = to_display(view.image), view.image.shape[0]
        whole = MarkedBox('target', (0, 0, *view.image.shape))
        for place, contour in ((x, None), (x + _VIEW + GAP // 2, view.mask)):
            draw_inset(canvas, image, contour, whole, (place, y, _VIEW), 1)
        top, left, bottom, right = (round(position * _VIEW / side) for position in view.box)
        place = x + _VIEW + GAP // 2
        corner = place + min(right, _VIEW - 1), y + min(bottom, _VIEW - 1)
        cv2.rectangle(canvas, (place + left, y + top), corner, COLORS['false'], 1)
        titles.append((x, y + _VIEW + line // 2, view.title))
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    pen.text((GAP, GAP), heading, INK, font)
    for x, y, title in titles:
        pen.text((x, y), title, INK, font, anchor='lm')
    return np.array(picture)
