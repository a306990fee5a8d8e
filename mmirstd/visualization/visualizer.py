"""Pictures of detections: boxes for detected, missed and false targets, and magnified views of each.

The colours are those of IRSAM's Fig. 4 (Zhang et al., ECCV 2024): red detected, blue missed, yellow false. The
magnified views stand in strips above and below the panels, so that they hide nothing.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import mmcv
import numpy as np
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer
from PIL import Image, ImageDraw, ImageFont
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from mmirstd.evaluation.functional.exact import Matches, image_counts, match_targets
from mmirstd.ops.components import Connectivity, label_components
from mmirstd.registry import VISUALIZERS

COLOURS = {  # in order of what is worth a closer look
    'missed': (50, 130, 255),
    'false': (255, 205, 0),
    'detected': (235, 40, 40),
    'target': (50, 200, 90),
    'predicted': (50, 200, 90),
}
_OUTLINE = (0, 235, 120)
_PAPER, _INK, _IGNORED = (255, 255, 255), (30, 30, 30), (90, 90, 90)
_GAP = 12
_PER_STRIP = 4


class Finding(NamedTuple):
    """A box to draw: its kind (a key of COLOURS) and (top, left, bottom, right) in image pixels, half open."""

    kind: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class _Panel:
    title: str
    picture: np.ndarray  # (H, W, 3) what is shown
    contour: np.ndarray | None  # (H, W) bool, outlined in the magnified views


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
) -> np.ndarray:
    """Draw image, ground truth and prediction side by side, with boxes, magnified views and a caption.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3) RGB of any real type, stretched for display where it is not 8 bit.
        gt: (H, W) bool or {0, 1, ignore}, or None.
        pred: (H, W) bool, {0, 1} or probabilities to cut at 0.5, or None.
        distance: As in :func:`mmirstd.evaluation.match_targets`, like `connectivity` and `ignore`.
        connectivity: 4 or 8.
        ignore: Label of the pixels that do not count; drawn grey.
        panel_size: Length of a panel's long side, in pixels of the picture.
        max_insets: At most so many targets are magnified: missed ones first, then false, then detected.
        name: Shown in the caption.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    if panel_size < 256 or not 0 <= max_insets <= 16:
        raise ValueError(f'panel_size >= 256 and 0 <= max_insets <= 16 are needed, got {panel_size} and {max_insets}')
    shown = to_display(image)
    for what, mask in (('ground truth', gt), ('prediction', pred)):
        if mask is not None and mask.shape != shown.shape[:2]:
            raise ValueError(f'{name}: the {what} is {mask.shape}, the image {shown.shape[:2]}')
    pred = None if pred is None else pred > 0.5
    caption = []
    if gt is not None and pred is not None:
        findings = _findings(match_targets(pred, gt, distance=distance, connectivity=connectivity, ignore=ignore))
        counts = image_counts(pred, gt, distance=distance, connectivity=connectivity, ignore=ignore)
        caption = [
            ('detected', f'{counts.detected} of {counts.targets} detected'),
            ('missed', f'{counts.targets - counts.detected} missed'),
            ('false', f'{counts.false_components} false'),
            (None, 'IoU undefined' if counts.empty_images else f'IoU {counts.iou_sum:.3f}'),
        ]
    elif gt is not None or pred is not None:
        kind, mask = ('target', gt == 1) if gt is not None else ('predicted', pred)
        boxes = label_components(mask, connectivity).boxes.tolist()
        findings = [Finding(kind, tuple(box)) for box in boxes]
        caption = [(kind, f'{len(boxes)} {kind}' + ('s' if kind == 'target' and len(boxes) != 1 else ''))]
    else:
        findings = []
    panels = [_Panel('Image', shown, None)]
    if gt is not None:
        panels.append(_Panel('Ground truth', _mask_picture(gt, ignore), gt == 1))
    if pred is not None:
        panels.append(_Panel('Prediction', _mask_picture(pred, ignore), pred))
    magnified = sorted(findings, key=lambda finding: list(COLOURS).index(finding.kind))[:max_insets]
    if magnified:
        caption.append(('outline', 'outline of the mask'))
    if len(magnified) < len(findings):
        caption.append((None, f'{len(magnified)} of {len(findings)} magnified'))
    return _compose(panels, findings, magnified, caption, name, panel_size)


@VISUALIZERS.register_module()
class IRSTDVisualizer(SegLocalVisualizer):
    """Draws image, ground truth and prediction with the targets detected (red), missed (blue) and false (yellow).

    Args:
        threshold: None draws `pred_sem_seg`; a number in [0, 1) draws the pixels of `seg_logits` (one channel of
            probabilities) above it. Give `distance`, `connectivity` and this the values the metric has.
        distance: A target is detected by a component whose centroid is nearer than this, in pixels.
        connectivity: 4 or 8 neighbours make a component.
        ignore_index: Label of pixels that do not count.
        panel_size: Length of a panel's long side, in pixels of the picture.
        max_insets: At most so many targets of an image are magnified.
        **kwargs: Of mmseg's visualizer: `vis_backends`, `save_dir`.
    """

    def __init__(
        self,
        name: str = 'visualizer',  # mmengine looks for it in the signature
        *,
        threshold: float | None = None,
        distance: float = 3.0,
        connectivity: Connectivity = 8,
        ignore_index: int = 255,
        panel_size: int = 512,
        max_insets: int = 8,
        **kwargs: object,
    ) -> None:
        super().__init__(name, **kwargs)
        self.threshold = threshold
        self.drawing = {
            'distance': distance,
            'connectivity': connectivity,
            'ignore': ignore_index,
            'panel_size': panel_size,
            'max_insets': max_insets,
        }

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: SegDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
        with_labels: bool | None = None,
        with_image: bool | None = None,
    ) -> None:
        """Draw a sample; show it in a window, write it to `out_file`, or hand it to the backends.

        `image` is (H, W), (H, W, 1) or RGB (H, W, 3), of any real type. Ground truth and prediction are drawn where the
        sample has them. `with_labels` and `with_image`, which mmseg's inferencer passes, have no meaning here.
        """
        gt = _array(data_sample.get('gt_sem_seg')) if draw_gt and data_sample is not None else None
        pred = self._prediction(name, data_sample) if draw_pred and data_sample is not None else None
        drawn = draw_detections(image, gt, pred, name=name, **self.drawing)
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is not None:
            mmcv.imwrite(mmcv.rgb2bgr(drawn), out_file)
        else:
            self.add_image(name, drawn, step)

    def _prediction(self, name: str, data_sample: SegDataSample) -> np.ndarray | None:
        if self.threshold is None:
            return _array(data_sample.get('pred_sem_seg'))
        probabilities = data_sample.get('seg_logits')
        if probabilities is None:
            return None
        if len(probabilities.data) != 1:
            shape = tuple(probabilities.data.shape)
            raise ValueError(f'{name}: a threshold needs probabilities of one channel, got {shape}')
        return _array(probabilities) > self.threshold


def _array(pixels: PixelData | None) -> np.ndarray | None:
    if pixels is None:
        return None
    data = pixels.data[0].detach().cpu()
    return (data.float() if data.is_floating_point() else data).numpy()  # numpy has no bfloat16


def _findings(matches: Matches) -> list[Finding]:
    targets, predictions = matches.targets.boxes, matches.predictions.boxes
    findings = [Finding('false', tuple(predictions[i].tolist())) for i in matches.false]
    findings += [Finding('missed', tuple(targets[i].tolist())) for i in matches.missed]
    for target, component in matches.detected:
        a, b = targets[target], predictions[component]
        box = np.concatenate([np.minimum(a[:2], b[:2]), np.maximum(a[2:], b[2:])])
        findings.append(Finding('detected', tuple(box.tolist())))
    return findings


def _mask_picture(mask: np.ndarray, ignore: int) -> np.ndarray:
    picture = np.zeros((*mask.shape, 3), np.uint8)
    picture[mask == 1] = 255
    picture[mask == ignore] = _IGNORED
    return picture


def _compose(
    panels: list[_Panel],
    findings: list[Finding],
    magnified: list[Finding],
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
    font = _font(panel_size // 30)
    line = round(font.size * 1.6)
    top = _GAP + line + (upper_size + _GAP if upper else 0)
    bottom = top + height + (_GAP + lower_size if lower else 0)
    strips = ((upper, upper_size, top - _GAP - upper_size), (lower, lower_size, bottom - lower_size))

    caption_width = sum(_entry_width(font, *entry) for entry in caption) + round(font.getlength(name)) + 2 * _GAP
    total_width = max(_GAP + len(panels) * (column + _GAP), caption_width)
    canvas = np.full((bottom + _GAP + line, total_width, 3), _PAPER, np.uint8)
    thickness = max(1, panel_size // 256)
    lefts = [_GAP + i * (column + _GAP) for i in range(len(panels))]
    for panel, left in zip(panels, lefts, strict=True):
        inner = left + (column - width) // 2
        shown = _resize(panel.picture, height, width, panel.contour is None)
        canvas[top : top + height, inner : inner + width] = shown
        boxes = {finding: _place(finding, scale, inner, top, width, height) for finding in findings}
        for strip, size, row in strips:
            ends = [((x0 + x1) // 2, y0 if row < top else y1) for x0, y0, x1, y1 in map(boxes.get, strip)]
            for finding, end, x in zip(strip, ends, _columns(ends, row, left, size, column), strict=True):
                _draw_inset(canvas, image, panel.contour, finding, (x, row, size), thickness)
                start = (x + size // 2, row + size if row < top else row)
                cv2.line(canvas, start, end, COLOURS[finding.kind], 1, cv2.LINE_AA)
        for x0, y0, x1, y1 in boxes.values():  # no line runs across a target
            canvas[y0:y1, x0:x1] = shown[y0 - top : y1 - top, x0 - inner : x1 - inner]
        for finding, (x0, y0, x1, y1) in boxes.items():
            cv2.rectangle(canvas, (x0, y0), (x1, y1), COLOURS[finding.kind], thickness)
    titles = [(left + column // 2, panel.title) for panel, left in zip(panels, lefts, strict=True)]
    return _write(canvas, font, titles, caption, name, bottom + _GAP + line // 2)


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
        pen.text((x, _GAP), title, _INK, font, anchor='ma')
    x, half = _GAP, font.size // 3
    for kind, text in caption:
        if kind == 'outline':
            pen.rectangle((x, y - half, x + 2 * half, y + half), None, _OUTLINE, width=2)
        elif kind:
            pen.rectangle((x, y - half, x + 2 * half, y + half), COLOURS[kind], _INK)
        pen.text((x + (round(1.1 * font.size) if kind else 0), y), text, _INK, font, anchor='lm')
        x += _entry_width(font, kind, text)
    pen.text((canvas.shape[1] - _GAP, y), name, _INK, font, anchor='rm')
    return np.array(picture)


def _strips(magnified: list[Finding], height: int) -> tuple[list[Finding], list[Finding]]:
    """What is magnified above and below the panels: few views stand together, on the side they are nearer to."""
    by_row = sorted(magnified, key=lambda finding: finding.box[0] + finding.box[2])
    if len(by_row) > _PER_STRIP:
        cut = len(by_row) // 2
    else:
        cut = len(by_row) if sum(f.box[0] + f.box[2] - height for f in by_row) < 0 else 0
    return by_row[:cut], by_row[cut:]


def _inset_size(number: int, width: int, panel_size: int) -> int:
    return min((width - (number - 1) * _GAP) // number, panel_size // 3) if number else 0


def _columns(ends: list[tuple[int, int]], row: int, left: int, size: int, width: int) -> list[int]:
    """x of the view for each box end (x, y): near it, views side by side within the width, no two lines crossing."""
    if not ends:
        return []
    lefts, edge = [], left
    for x, _ in sorted(ends):
        lefts.append(max(edge, x - size // 2))
        edge = lefts[-1] + size + _GAP
    limit = left + width - size
    for i in reversed(range(len(lefts))):
        lefts[i] = min(lefts[i], limit)
        limit = lefts[i] - size - _GAP
    # Lines of least total length do not cross.
    lengths = cdist(ends, [(x + size / 2, row) for x in lefts])
    return [lefts[i] for i in linear_sum_assignment(lengths)[1]]


def _place(finding: Finding, scale: float, left: int, top: int, width: int, height: int) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of a box around a finding on the canvas, large enough to be seen, within its panel."""
    y0, x0, y1, x1 = (position * scale for position in finding.box)
    sides = []
    for low, high, start, length in ((x0, x1, left, width), (y0, y1, top, height)):
        half = max((high - low) / 2 + max(4, scale), 9)
        middle = (low + high) / 2
        sides.append((start + max(1, round(middle - half)), start + min(length - 2, round(middle + half))))
    (x0, x1), (y0, y1) = sides
    return x0, y0, x1, y1


def _draw_inset(
    canvas: np.ndarray,
    image: np.ndarray,
    contour: np.ndarray | None,
    finding: Finding,
    place: tuple[int, int, int],
    thickness: int,
) -> None:
    """Magnify a square window around a finding, by nearest neighbour, and outline the mask in it."""
    x, y, size = place
    top, left, bottom, right = finding.box
    side = min(max(16, 2 * max(bottom - top, right - left)), *image.shape[:2])
    row = min(max(0, (top + bottom - side) // 2), image.shape[0] - side)
    col = min(max(0, (left + right - side) // 2), image.shape[1] - side)
    view = canvas[y : y + size, x : x + size]
    pixels = _stretch(image[row : row + side, col : col + side])
    view[:] = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_NEAREST)
    if contour is not None:
        window = contour[row : row + side, col : col + side].astype(np.uint8)
        window = cv2.resize(window, (size, size), interpolation=cv2.INTER_NEAREST)
        thick = np.ones((5, 5) if size >= 6 * side else (3, 3), np.uint8)
        view[cv2.dilate(window, thick) > window] = _OUTLINE
    cv2.rectangle(canvas, (x, y), (x + size - 1, y + size - 1), COLOURS[finding.kind], thickness)


def _stretch(window: np.ndarray) -> np.ndarray:
    """Raise the contrast of a uint8 window, at most fourfold, so that dim targets show."""
    low, high = float(window.min()), float(window.max())
    gain = 255 / max(high - low, 64)
    return np.clip((window - (low + high) / 2) * gain + 127.5, 0, 255).astype(np.uint8)


def _resize(picture: np.ndarray, height: int, width: int, smooth: bool) -> np.ndarray:
    if height < picture.shape[0]:
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        return small if smooth else np.where(small > 0, 255, 0).astype(np.uint8)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path(), 'fonts/ttf/DejaVuSans.ttf'), size)


def _entry_width(font: ImageFont.FreeTypeFont, kind: str | None, text: str) -> int:
    return round(font.getlength(text)) + font.size * (3 if kind else 2)
