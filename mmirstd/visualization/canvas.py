"""Drawing on a canvas: how images are shown, boxes and magnified views, colors and fonts."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from PIL import ImageFont

COLORS = {  # in order of what is worth a closer look
    'missed': (50, 130, 255),
    'false': (255, 205, 0),
    'detected': (235, 40, 40),
    'target': (50, 200, 90),
    'predicted': (50, 200, 90),
}
OUTLINE = (0, 235, 120)
PAPER, INK = (255, 255, 255), (30, 30, 30)
GAP = 12


class MarkedBox(NamedTuple):
    """A box to draw: its kind (a key of COLORS) and (top, left, bottom, right) in image pixels, half open."""

    kind: str
    box: tuple[int, int, int, int]


def to_display(image: np.ndarray) -> np.ndarray:
    """An image (H, W), (H, W, 1) or (H, W, 3) of any real type as uint8 RGB (H, W, 3).

    8-bit images stay as they are. Others are stretched from their 0.1 to their 99.99 percentile; values that are not
    finite become black.
    """
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise ValueError(f'an image must be (H, W), (H, W, 1) or (H, W, 3), got {image.shape}')
    if image.dtype != np.uint8:
        image = image.astype(np.float64)
        finite = np.isfinite(image)
        low, high = np.percentile(image[finite], (0.1, 99.99)) if finite.any() else (0.0, 0.0)
        image = np.where(finite, image, low)
        image = np.clip((image - low) / max(high - low, np.finfo(float).tiny) * 255, 0, 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def place_box(mark: MarkedBox, scale: float, left: int, top: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Place a marked box on the canvas, large enough to be seen, within its panel.

    Args:
        mark: The box in image pixels.
        scale: Canvas pixels per image pixel.
        left: Column of the panel on the canvas.
        top: Row of the panel on the canvas.
        width: Of the panel.
        height: Of the panel.

    Returns:
        (x0, y0, x1, y1), the corners on the canvas.
    """
    y0, x0, y1, x1 = (position * scale for position in mark.box)
    sides = []
    for low, high, start, length in ((x0, x1, left, width), (y0, y1, top, height)):
        half = max((high - low) / 2 + max(4, scale), 9)
        middle = (low + high) / 2
        sides.append((start + max(1, round(middle - half)), start + min(length - 2, round(middle + half))))
    (x0, x1), (y0, y1) = sides
    return x0, y0, x1, y1


def draw_inset(
    canvas: np.ndarray,
    image: np.ndarray,
    contour: np.ndarray | None,
    mark: MarkedBox,
    place: tuple[int, int, int],
    thickness: int,
    stretch: bool = True,
) -> None:
    """Magnify a square window around a marked box, by nearest neighbor, and outline the mask in it.

    Args:
        canvas: (H', W', 3) uint8 RGB, drawn on.
        image: (H, W), (H, W, 1) or (H, W, 3) uint8 RGB that the window is cut from.
        contour: (H, W) bool mask to outline, or None.
        mark: The box, in pixels of the image.
        place: (x, y, size) of the view on the canvas.
        thickness: Of the frame, in pixels.
        stretch: Whether the contrast is raised.
    """
    x, y, size = place
    top, left, bottom, right = mark.box
    side = min(max(16, 2 * max(bottom - top, right - left)), *image.shape[:2])
    row = min(max(0, (top + bottom - side) // 2), image.shape[0] - side)
    col = min(max(0, (left + right - side) // 2), image.shape[1] - side)
    view = canvas[y : y + size, x : x + size]
    pixels = image[row : row + side, col : col + side]
    pixels = _stretch(pixels) if stretch else pixels
    view[:] = to_display(cv2.resize(pixels, (size, size), interpolation=cv2.INTER_NEAREST))
    if contour is not None:
        window = contour[row : row + side, col : col + side].astype(np.uint8)
        window = cv2.resize(window, (size, size), interpolation=cv2.INTER_NEAREST)
        thick = np.ones((5, 5) if size >= 6 * side else (3, 3), np.uint8)
        view[cv2.dilate(window, thick) > window] = OUTLINE
    cv2.rectangle(canvas, (x, y), (x + size - 1, y + size - 1), COLORS[mark.kind], thickness)


def _stretch(window: np.ndarray) -> np.ndarray:
    """Raise the contrast of a uint8 window, at most fourfold, so that dim targets show."""
    low, high = float(window.min()), float(window.max())
    gain = 255 / max(high - low, 64)
    return np.clip((window - (low + high) / 2) * gain + 127.5, 0, 255).astype(np.uint8)


def resize_panel(picture: np.ndarray, height: int, width: int, smooth: bool) -> np.ndarray:
    """Bring a picture to the size of its panel; without ``smooth``, a mask whose small targets stay visible."""
    if height < picture.shape[0]:
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        return small if smooth else np.where(small > 0, 255, 0).astype(np.uint8)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST)


@lru_cache
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Load the font of all pictures, which comes with matplotlib."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), 'fonts/ttf/DejaVuSans.ttf'), size)
