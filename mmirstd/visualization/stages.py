"""Pictures of what a pipeline does to samples: a row for each transform, a column for each sample."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmirstd.ops.components import label_components
from mmirstd.visualization.canvas import (
    COLORS,
    GAP,
    INK,
    OUTLINE,
    PAPER,
    MarkedBox,
    draw_inset,
    load_font,
    place_box,
    resize_panel,
    to_display,
)

_GRAY, _MARK, _IGNORED = (130, 130, 130), COLORS['target'], (150, 90, 200)
_INSETS = 3


class Stage(NamedTuple):
    """A sample after one transform: `image` BGR (H, W, C) or gray (H, W), `mask` (H, W) in {0, 1, 255}, or None.

    `note` is a line on what was drawn.
    """

    title: str
    image: np.ndarray | None
    mask: np.ndarray | None
    note: str = ''


def draw_stages(
    samples: Sequence[tuple[str, Sequence[Stage]]], *, panel_size: int = 256, heading: str = ''
) -> np.ndarray:
    """Draw the stages of one or more samples of one pipeline.

    A row shows the image with the outline of its mask (ignored pixels violet), and up to three of its targets
    magnified, in raster order. Where neither image nor mask of any sample changed, the row is a line of text.

    Args:
        samples: (name, stages), all with the same titles.
        panel_size: Length of an image's long side, in pixels of the picture.
        heading: First line.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    titles = [stage.title for stage in samples[0][1]]
    if any([stage.title for stage in stages] != titles for _, stages in samples):
        raise ValueError('draw_stages: the samples come from different pipelines')
    if panel_size < 128:
        raise ValueError(f'panel_size must be at least 128, got {panel_size}')
    font, bold = load_font(max(11, panel_size // 22)), load_font(max(12, panel_size // 19))
    inset = (panel_size - (_INSETS - 1) * GAP) // _INSETS
    column = panel_size + GAP + inset
    width = 2 * GAP + len(samples) * column + (len(samples) - 1) * 2 * GAP
    lefts = [GAP + i * (column + 2 * GAP) for i in range(len(samples))]
    strips = [_text_strip(width, [(GAP, heading, INK)], bold)] if heading else []
    strips.append(
        _text_strip(
            width, [(x, _fit(name, font, column), INK) for x, (name, _) in zip(lefts, samples, strict=True)], font
        )
    )
    for row, title in enumerate(titles):
        stages = [stages[row] for _, stages in samples]
        before = [stages[row - 1] if row else None for _, stages in samples]
        same = [_same(a, b) for a, b in zip(before, stages, strict=True)]
        strips.append(_title_strip(width, f'{row + 1}  {title}', bold))
        texts = [_wrap(_facts(s, unchanged), font, column) for s, unchanged in zip(stages, same, strict=True)]
        for lines in zip_longest(*texts, fillvalue=''):
            strips.append(_text_strip(width, [(x, text, _GRAY) for x, text in zip(lefts, lines, strict=True)], font))
        if not all(same):
            strips.append(_picture_strip(width, lefts, stages, panel_size, inset))
    strips.append(np.full((GAP // 2, width, 3), PAPER, np.uint8))
    return np.concatenate(strips)


def _same(a: Stage | None, b: Stage) -> bool:
    """Whether image (type included) and mask (labels) are as before."""
    if a is None or a.image is None or b.image is None:
        return b.image is None
    masks = (a.mask is None) == (b.mask is None) and (a.mask is None or np.array_equal(a.mask, b.mask))
    return masks and a.image.dtype == b.image.dtype and np.array_equal(a.image, b.image)


def _facts(stage: Stage, unchanged: bool) -> str:
    """What the image is, and what was drawn."""
    image, mask = stage.image, stage.mask
    if image is None:
        return '; '.join(filter(None, ['no image', stage.note]))
    if unchanged:
        return '; '.join(filter(None, ['unchanged', stage.note]))
    height, width = image.shape[:2]
    channels = image.shape[2] if image.ndim == 3 else 1
    gray = channels > 1 and bool((image == image[..., :1]).all())
    words = f'{channels} {"equal " if gray else ""}channel' + ('s' if channels > 1 else '')
    low, high = (f'{v:.4g}' for v in (image.min(), image.max()))
    parts = [f'{width} x {height}, {image.dtype}, {words}, {low} to {high}']
    if mask is not None:
        number = len(label_components(mask == 1))
        parts.append(f'{number} target' + ('s' if number != 1 else ''))
    return '; '.join(filter(None, [*parts, stage.note]))


def _title_strip(width: int, title: str, font: ImageFont.FreeTypeFont) -> np.ndarray:
    """A rule and the title."""
    rule = [np.full((GAP // 2, width, 3), PAPER, np.uint8), np.full((1, width, 3), _GRAY, np.uint8)]
    lines = _wrap(title, font, width - 2 * GAP, most=2)
    return np.concatenate(rule + [_text_strip(width, [(GAP, line, INK)], font) for line in lines])


def _wrap(text: str, font: ImageFont.FreeTypeFont, room: int, most: int = 4) -> list[str]:
    """Break at spaces into lines that fit; what does not fit into the last one is cut."""
    lines, words = [], text.split(' ')
    while words:
        count = 1
        while count < len(words) and font.getlength(' '.join(words[: count + 1])) <= room:
            count += 1
        if len(lines) == most - 1:
            count = len(words)
        lines.append(_fit(' '.join(words[:count]), font, room))
        words = words[count:]
    return lines


def _fit(text: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + '...') > room:
        text = text[:-1]
    return text + '...'


def _text_strip(
    width: int, cells: list[tuple[int, str, tuple[int, int, int]]], font: ImageFont.FreeTypeFont
) -> np.ndarray:
    height = round(font.size * 1.45)
    picture = Image.new('RGB', (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    for x, text, color in cells:
        pen.text((x, height // 2), text, color, font, anchor='lm')
    return np.array(picture)


def _picture_strip(width: int, lefts: list[int], stages: list[Stage], panel_size: int, inset: int) -> np.ndarray:
    sizes = [_panel(stage.image, panel_size) for stage in stages]
    tall = max(size[0] for size in sizes)
    insets = [min(_INSETS, len(label_components(s.mask == 1))) if s.mask is not None else 0 for s in stages]
    tall = max([tall, *(n * inset + (n - 1) * GAP for n in insets)])
    canvas = np.full((tall + GAP // 2, width, 3), PAPER, np.uint8)
    for left, stage, (height, wide) in zip(lefts, stages, sizes, strict=True):
        if stage.image is not None:
            _draw_cell(canvas, stage, (left, 0, wide, height), left + panel_size + GAP, inset)
    return canvas


def _panel(image: np.ndarray | None, panel_size: int) -> tuple[int, int]:
    if image is None:
        return 0, 0
    scale = panel_size / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    return height, width


def _draw_cell(canvas: np.ndarray, stage: Stage, place: tuple[int, int, int, int], inset_left: int, inset: int) -> None:
    left, top, width, height = place
    shown = _shown(stage.image)
    view = canvas[top : top + height, left : left + width]
    view[:] = resize_panel(shown, height, width, smooth=True)
    if stage.mask is None:
        return
    target = stage.mask == 1
    ignored = cv2.resize((stage.mask == 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    view[ignored] = (0.7 * view[ignored] + 0.3 * np.array(_IGNORED)).astype(np.uint8)
    # A mask that shrinks keeps its pixels, so that no outline gets lost.
    region = (resize_panel(target.astype(np.float32), height, width, smooth=False) > 0).astype(np.uint8)
    view[cv2.dilate(region, np.ones((3, 3), np.uint8)) > region] = OUTLINE
    scale = width / target.shape[1]
    for i, box in enumerate(label_components(target).boxes[:_INSETS].tolist()):
        mark = MarkedBox('target', tuple(box))
        y = top + i * (inset + GAP)
        draw_inset(canvas, shown, target, mark, (inset_left, y, inset), 1)
        x0, y0, x1, y1 = place_box(mark, scale, left, top, width, height)
        cv2.rectangle(canvas, (x0, y0), (x1, y1), _MARK, 1)
        cv2.line(canvas, (x1, (y0 + y1) // 2), (inset_left - 1, y + inset // 2), _MARK, 1, cv2.LINE_AA)


def _shown(image: np.ndarray) -> np.ndarray:
    """RGB uint8; floating images on the scale 0..255 as they are, others stretched."""
    if image.ndim == 3:
        image = image[..., ::-1]
    if (
        np.issubdtype(image.dtype, np.floating)
        and np.isfinite(image).all()
        and 1 < image.max() <= 255
        and image.min() >= 0
    ):
        image = np.rint(image).astype(np.uint8)
    return to_display(image)
