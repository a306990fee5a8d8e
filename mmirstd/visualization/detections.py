"""Pictures of detections: boxes for detected, missed and false targets, and magnified views of each.

The colors are those of IRSAM's Fig. 4 (Zhang et al., ECCV 2024): red detected, blue missed, yellow false. The
magnified views stand in strips above and below the panels, so that they hide nothing.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from mmirstd.evaluation.functional.counts import count_image
from mmirstd.evaluation.functional.evaluated_image import EvaluatedImage
from mmirstd.evaluation.functional.matching import Matches
from mmirstd.evaluation.functional.protocols import get_protocol
from mmirstd.ops.components import Connectivity, label_components
from mmirstd.ops.pairs import check_probabilities
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

_IGNORED = 90  # gray level
_PER_STRIP = 4


@dataclass(frozen=True)
class _Panel:
    title: str
    picture: np.ndarray  # (H, W), (H, W, 1) or (H, W, 3) uint8, what is shown
    contour: np.ndarray | None  # (H, W) bool, outlined in the magnified views
    magnified: np.ndarray | None = None  # like picture, what these views show; None: the image


def draw_detections(
    image: np.ndarray,
    gt: np.ndarray | None = None,
    pred: np.ndarray | None = None,
    *,
    distance: float = 3.0,
    connectivity: Connectivity = 8,
    ignore: int = 255,
    panel_size: int = 512,
    max_insets: int = 8,
    name: str = '',
    probability: np.ndarray | None = None,
) -> np.ndarray:
    """Draw image, ground truth, probability and prediction side by side, with boxes, magnified views and a caption.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) RGB of any real type, stretched for display where it is not 8 bit.
        gt: (H, W) bool or {0, 1, ignore}, or None.
        pred: (H, W) bool, {0, 1} or probabilities to cut at 0.5, or None.
        distance: As in :func:`mmirstd.evaluation.match_targets`, like `connectivity` and `ignore`.
        connectivity: 4 or 8.
        ignore: Label of the pixels that do not count; drawn gray.
        panel_size: Length of a panel's long side, in pixels of the picture.
        max_insets: At most so many targets are magnified: missed ones first, then false, then detected.
        name: Shown in the caption.
        probability: (H, W) floats in [0, 1], shown from black to white; or None.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    if panel_size < 256 or not 0 <= max_insets <= 16:
        raise ValueError(f'panel_size >= 256 and 0 <= max_insets <= 16 are needed, got {panel_size} and {max_insets}')
    # A large gray image is not made three times as large.
    shown = (
        image if image.dtype == np.uint8 and image.size and image.shape[2:] in ((), (1,), (3,)) else to_display(image)
    )
    for what, mask in (('ground truth', gt), ('prediction', pred), ('probability map', probability)):
        if mask is not None and mask.shape != shown.shape[:2]:
            raise ValueError(f'{name}: the {what} is {mask.shape}, the image {shown.shape[:2]}')
    pred = None if pred is None else pred > 0.5
    caption = []
    if gt is not None and pred is not None:
        protocol = get_protocol('exact', distance=distance, connectivity=connectivity)
        evaluated = EvaluatedImage.from_labels(pred, gt, ignore)
        marks, counts = _matched_boxes(evaluated.matches(protocol)), count_image(evaluated, protocol)
        caption = [
            ('detected', f'{counts.detected} of {counts.targets} detected'),
            ('missed', f'{counts.targets - counts.detected} missed'),
            ('false', f'{counts.false_components} false'),
            (None, 'IoU undefined' if counts.empty_images else f'IoU {counts.iou_sum:.3f}'),
        ]
    elif gt is not None or pred is not None:
        kind, mask = ('target', gt == 1) if gt is not None else ('predicted', pred)
        boxes = label_components(mask, connectivity).boxes.tolist()
        marks = [MarkedBox(kind, tuple(box)) for box in boxes]
        caption = [(kind, f'{len(boxes)} {kind}' + ('s' if kind == 'target' and len(boxes) != 1 else ''))]
    else:
        marks = []
    panels = [_Panel('Image', shown, None)]
    if gt is not None:
        panels.append(_Panel('Ground truth', _mask_picture(gt, ignore), gt == 1))
    if probability is not None:
        check_probabilities(probability, name)
        levels = (probability * 255).round().astype(np.uint8)
        panels.append(_Panel('Probability', levels, None, levels))
    if pred is not None:
        panels.append(_Panel('Prediction', _mask_picture(pred, ignore), pred))
    magnified = sorted(marks, key=lambda mark: list(COLORS).index(mark.kind))[:max_insets]
    if magnified:
        caption.append(('outline', 'outline of the mask'))
    if len(magnified) < len(marks):
        caption.append((None, f'{len(magnified)} of {len(marks)} magnified'))
    return _compose(panels, marks, magnified, caption, name, panel_size)


def _matched_boxes(matches: Matches) -> list[MarkedBox]:
    targets, predictions = matches.targets.boxes, matches.predictions.boxes
    marks = [MarkedBox('false', tuple(predictions[i].tolist())) for i in matches.false]
    marks += [MarkedBox('missed', tuple(targets[i].tolist())) for i in matches.missed]
    for target, component in matches.detected:
        a, b = targets[target], predictions[component]
        box = np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])
        marks.append(MarkedBox('detected', tuple(box.tolist())))
    return marks


def _mask_picture(mask: np.ndarray, ignore: int) -> np.ndarray:
    picture = np.zeros(mask.shape, np.uint8)
    picture[mask == 1] = 255
    picture[mask == ignore] = _IGNORED
    return picture


def _compose(
    panels: list[_Panel],
    marks: list[MarkedBox],
    magnified: list[MarkedBox],
    caption: list[tuple[str | None, str]],
    name: str,
    panel_size: int,
) -> np.ndarray:
    """Titles, upper strip, panels, lower strip, caption, from top to bottom."""
    image = panels[0].picture
    scale = panel_size / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    column = max(width, panel_size // 2)  # room for title and strips where the image is tall
    upper, lower = _strips(magnified, image.shape[0])
    upper_size, lower_size = (_inset_size(len(strip), column, panel_size) for strip in (upper, lower))
    font = load_font(panel_size // 30)
    line = round(font.size * 1.6)
    top = GAP + line + (upper_size + GAP if upper else 0)
    bottom = top + height + (GAP + lower_size if lower else 0)
    strips = ((upper, upper_size, top - GAP - upper_size), (lower, lower_size, bottom - lower_size))

    caption_width = sum(_entry_width(font, *entry) for entry in caption) + round(font.getlength(name)) + 2 * GAP
    total_width = max(GAP + len(panels) * (column + GAP), caption_width)
    canvas = np.full((bottom + GAP + line, total_width, 3), PAPER, np.uint8)
    thickness = max(1, panel_size // 256)
    lefts = [GAP + i * (column + GAP) for i in range(len(panels))]
    for panel, left in zip(panels, lefts, strict=True):
        inner = left + (column - width) // 2
        shown = to_display(resize_panel(panel.picture, height, width, panel.contour is None))
        canvas[top : top + height, inner : inner + width] = shown
        boxes = {mark: place_box(mark, scale, inner, top, width, height) for mark in marks}
        for strip, size, row in strips:
            ends = [((x0 + x1) // 2, y0 if row < top else y1) for x0, y0, x1, y1 in map(boxes.get, strip)]
            for mark, end, x in zip(strip, ends, _columns(ends, row, left, size, column), strict=True):
                shows = image if panel.magnified is None else panel.magnified
                draw_inset(
                    canvas, shows, panel.contour, mark, (x, row, size), thickness, stretch=panel.magnified is None
                )
                start = (x + size // 2, row + size if row < top else row)
                cv2.line(canvas, start, end, COLORS[mark.kind], 1, cv2.LINE_AA)
        for x0, y0, x1, y1 in boxes.values():  # no line runs across a target
            canvas[y0:y1, x0:x1] = shown[y0 - top : y1 - top, x0 - inner : x1 - inner]
        for mark, (x0, y0, x1, y1) in boxes.items():
            cv2.rectangle(canvas, (x0, y0), (x1, y1), COLORS[mark.kind], thickness)
    titles = [(left + column // 2, panel.title) for panel, left in zip(panels, lefts, strict=True)]
    return _write(canvas, font, titles, caption, name, bottom + GAP + line // 2)


def _write(
    canvas: np.ndarray,
    font: ImageFont.FreeTypeFont,
    titles: list[tuple[int, str]],
    caption: list[tuple[str | None, str]],
    name: str,
    y: int,
) -> np.ndarray:
    """Titles at their x and the caption at height y, the name at its right end."""
    picture = Image.fromarray(canvas)
    pen = ImageDraw.Draw(picture)
    for x, title in titles:
        pen.text((x, GAP), title, INK, font, anchor='ma')
    x, half = GAP, font.size // 3
    for kind, text in caption:
        if kind == 'outline':
            pen.rectangle((x, y - half, x + 2 * half, y + half), None, OUTLINE, width=2)
        elif kind:
            pen.rectangle((x, y - half, x + 2 * half, y + half), COLORS[kind], INK)
        pen.text((x + (round(1.1 * font.size) if kind else 0), y), text, INK, font, anchor='lm')
        x += _entry_width(font, kind, text)
    pen.text((canvas.shape[1] - GAP, y), name, INK, font, anchor='rm')
    return np.array(picture)


def _strips(magnified: list[MarkedBox], height: int) -> tuple[list[MarkedBox], list[MarkedBox]]:
    """What is magnified above and below the panels: few views stand together, on the side they are nearer to."""
    by_row = sorted(magnified, key=lambda mark: mark.box[0] + mark.box[2])
    if len(by_row) > _PER_STRIP:
        cut = len(by_row) // 2
    else:
        cut = len(by_row) if sum(f.box[0] + f.box[2] - height for f in by_row) < 0 else 0
    return by_row[:cut], by_row[cut:]


def _inset_size(number: int, width: int, panel_size: int) -> int:
    return min((width - (number - 1) * GAP) // number, panel_size // 3) if number else 0


def _columns(ends: list[tuple[int, int]], row: int, left: int, size: int, width: int) -> list[int]:
    """x of the view for each box end (x, y): near it, views side by side within the width, no two lines crossing."""
    if not ends:
        return []
    lefts, edge = [], left
    for x, _ in sorted(ends):
        lefts.append(max(edge, x - size // 2))
        edge = lefts[-1] + size + GAP
    limit = left + width - size
    for i in reversed(range(len(lefts))):
        lefts[i] = min(lefts[i], limit)
        limit = lefts[i] - size - GAP
    # Lines of least total length do not cross.
    lengths = cdist(ends, [(x + size / 2, row) for x in lefts])
    return [lefts[i] for i in linear_sum_assignment(lengths)[1]]


def _entry_width(font: ImageFont.FreeTypeFont, kind: str | None, text: str) -> int:
    return round(font.getlength(text)) + font.size * (3 if kind else 2)
