"""Small targets of synthetic infrared scenes: their images, their masks and their strength."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import ndtr

from mmirstd.ops.components import label_components
from mmirstd.ops.target_statistics import signal_to_clutter
from mmirstd.synthesis.config import SceneConfig

FRAME = 10  # width in pixels of the surroundings that a target is compared with
MIN_GROUND = 32  # pixels that surroundings must have
TRIES = 24  # places tried per target
SATURATION = 250  # gray level that a target's mean may reach
OVERSAMPLING = 4


@dataclass(frozen=True)
class SceneTarget:
    """What was put into a scene.

    Attributes:
        kind: A key of :data:`KINDS`.
        center: Row and column of the mask's centroid.
        area: Pixels of the mask.
        contrast: Mean over the mask minus mean of the surroundings, in gray levels.
        scr: ``contrast`` over the standard deviation of the surroundings, sensor noise included.
    """

    kind: str
    center: tuple[float, float]
    area: int
    contrast: float
    scr: float


def point_spread(sigma: tuple[float, float], angle: float, shift: tuple[float, float]) -> np.ndarray:
    """A Gaussian spot, its peak about 1.

    Args:
        sigma: Spread along and across ``angle``, in pixels. Equal spreads are integrated over each pixel, exactly.
        angle: In radians.
        shift: Row and column of its center relative to the middle of the patch.

    Returns:
        float32 (K, K), K odd.
    """
    radius = math.ceil(3.5 * max(sigma) + 1)
    axis = np.arange(-radius, radius + 1)
    if sigma[0] == sigma[1]:
        rows, cols = (np.diff(ndtr((np.append(axis - 0.5, radius + 0.5) - s) / sigma[0])) for s in shift)
        spot = np.outer(rows, cols)
    else:
        y, x = axis[:, None] - shift[0], axis - shift[1]
        along = (math.cos(angle) * x + math.sin(angle) * y) / sigma[0]
        across = (math.cos(angle) * y - math.sin(angle) * x) / sigma[1]
        spot = np.exp(-0.5 * (along**2 + across**2))
    return (spot / spot.max()).astype(np.float32)


def _blob(rng: np.random.Generator) -> list[tuple[float, np.ndarray]]:
    t = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    radius = 0.5 + 0.06 * sum(rng.normal() * np.cos(k * t + rng.uniform(0, 6)) for k in (2, 3, 4))
    outline = radius[:, None] * np.stack([np.cos(t), rng.uniform(0.4, 0.9) * np.sin(t)], 1)
    return [(1, outline), (rng.uniform(0.9, 1.3), outline * rng.uniform(0.3, 0.7) + rng.normal(0, 0.08, 2))]


def _streak(rng: np.random.Generator) -> list[tuple[float, np.ndarray]]:
    half = rng.uniform(0.07, 0.17)
    return [(1, np.array([(-0.5, -half), (0.5, -half * rng.uniform(0.4, 1)), (0.5, half), (-0.5, half)]))]


def _plane(rng: np.random.Generator) -> list[tuple[float, np.ndarray]]:
    span, sweep, chord = rng.uniform(0.2, 0.5), rng.uniform(-0.05, 0.3), rng.uniform(0.08, 0.16)
    view = rng.uniform(0.3, 1)  # wings foreshortened
    body = np.array([(-0.5, 0.05), (-0.5, -0.05), (0.35, -0.06), (0.5, 0), (0.35, 0.06)])
    wing = np.array([(0.12, 0), (0.12 - sweep, span), (0.12 - sweep - chord, span), (0.12 - 1.8 * chord, 0)])
    tail = wing * rng.uniform(0.35, 0.5) - (0.42, 0)
    flip = np.array([1, -1])
    scale = np.array([1, view])
    parts = [(1, body)] + [(rng.uniform(0.6, 1), p * scale * f) for p in (wing, tail) for f in (1, flip)]
    if rng.random() < 0.5:
        engine = np.array([(-0.5, -0.07), (-0.3, -0.07), (-0.3, 0.07), (-0.5, 0.07)])
        parts.append((rng.uniform(1.0, 1.6), engine))
    return parts


def _drone(rng: np.random.Generator) -> list[tuple[float, np.ndarray]]:
    view, reach = rng.uniform(0.25, 0.9), rng.uniform(0.22, 0.4)
    arm, pod = rng.uniform(0.03, 0.06), rng.uniform(0.05, 0.09)
    box = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    strut = np.array([(0, -arm), (reach, -arm), (reach, arm), (0, arm)])
    parts = [(1, box * (rng.uniform(0.1, 0.2), rng.uniform(0.06, 0.14)))]
    for angle in np.arange(4) * math.pi / 2 + math.pi / 4 + rng.normal(0, 0.15, 4):
        turn = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
        parts.append((rng.uniform(0.3, 0.8), strut @ turn * (1, view)))
        parts.append((rng.uniform(0.4, 1), (box * pod + (reach, 0)) @ turn * (1, view)))
    return parts


def _ship(rng: np.random.Generator) -> list[tuple[float, np.ndarray]]:
    deck, keel, bow = rng.uniform(0.03, 0.1), rng.uniform(0.05, 0.12), rng.uniform(0.05, 0.15)
    x, width, height = rng.uniform(-0.25, 0.15), rng.uniform(0.08, 0.2), rng.uniform(0.1, 0.25)
    hull = np.array([(-0.5, -deck), (0.5, -deck), (0.5 - bow, keel), (-0.45, keel)])
    house = np.array([(x - width, -deck), (x - 0.7 * width, -height), (x + 0.6 * width, -height), (x + width, -deck)])
    return [(rng.uniform(0.7, 1), hull), (rng.uniform(0.9, 1.3), house)]


# Polygons (x, y) of unit length with their brightness; drawn in this order, turned at random but for ships.
KINDS = {'point': None, 'blob': _blob, 'streak': _streak, 'plane': _plane, 'drone': _drone, 'ship': _ship}


def draw_target(rng: np.random.Generator, kind: str, sigma: float, length: float) -> np.ndarray:
    """The image of a target on a cold ground, its center at a random sub-pixel position.

    Args:
        rng: Source of randomness.
        kind: A key of :data:`KINDS`.
        sigma: Blur in pixels; of a point target, its spread.
        length: In pixels; unused for point targets.

    Returns:
        float32 (K, K), K odd, peak 1: the fraction of the target's radiance that a pixel sees.
    """
    shift = rng.uniform(-0.5, 0.5, 2)
    if kind == 'point':
        longer = rng.uniform(1, 1.6) if rng.random() < 0.6 else 1.0
        return point_spread((sigma * longer**0.5, sigma / longer**0.5), rng.uniform(0, math.pi), tuple(shift))
    angle = rng.normal(0, 0.06) if kind == 'ship' else rng.uniform(0, 2 * math.pi)
    turn = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    radius = math.ceil(0.75 * length + 3 * sigma + 1)
    side = 2 * radius + 1
    canvas = np.zeros((side * OVERSAMPLING,) * 2, np.float32)
    for value, polygon in KINDS[kind](rng):
        # Corner (0, 0) of the patch is -0.5 in pixel coordinates; 4 fractional bits.
        corners = ((polygon @ turn) * length + shift + radius + 0.5) * OVERSAMPLING - 0.5
        cv2.fillPoly(canvas, [np.round(corners * 16).astype(np.int32)], float(value), cv2.LINE_8, 4)
    spot = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    if sigma > 0.2:
        spot = cv2.GaussianBlur(spot, (0, 0), sigma)
    return spot / max(float(spot.max()), 1e-6)


def cut_mask(spot: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Mask of a target: pixels above ``fraction`` of its peak that are 8-connected to it.

    Returns:
        spot: float32 (K, K), without the parts that are bright yet apart from the peak.
        mask: bool (K, K), one component.
    """
    bright = spot > fraction * spot.max()
    label = label_components(bright).label_map(spot.shape)
    mask = label == label.flat[spot.argmax()]
    return np.where(mask | ~bright, spot, 0), mask


def _window(box: tuple[slice, slice], pad: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    """``box``, wider by ``pad`` on all sides, cut to an image of ``shape``."""
    return tuple(slice(max(0, s.start - pad), max(0, min(n, s.stop + pad))) for s, n in zip(box, shape, strict=True))


def _surroundings(image: np.ndarray, taken: np.ndarray, box: tuple[slice, slice]) -> np.ndarray:
    """Pixels in a frame around the box of a target; two pixels next to it, where its blur reaches, are left out."""
    outer, inner = (_window(box, pad, image.shape) for pad in (FRAME, 2))
    free = ~taken[outer]
    free[tuple(slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))] = False
    return image[outer][free]


def insert_target(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray,
    taken: np.ndarray,
    cfg: SceneConfig,
    kind: str,
    spot: np.ndarray,
    noise: float,
) -> SceneTarget | None:
    """Put one target at a random free place of a scene. Changes ``image``, ``mask`` and ``taken``.

    Ratio and place are drawn together until they give a contrast that is allowed and stays below saturation. If none
    of :data:`TRIES` draws does, the contrast is cut to the allowed range at the last free place below saturation.

    Args:
        rng: Source of randomness.
        image: float32 (H, W), gray levels.
        mask: uint8 (H, W).
        taken: bool (H, W), the boxes of earlier targets and the gap around them.
        cfg: Ratio, contrast, margin, gap and mask fraction.
        kind: A key of :data:`KINDS`.
        spot: float32 (K, K) from :func:`draw_target`.
        noise: Standard deviation of what the sensor will add, in gray levels.

    Returns:
        The target, or None where no place was free.
    """
    h, w = image.shape
    spot, shape = cut_mask(spot, cfg.mask_fraction)
    radius = spot.shape[0] // 2
    extent = tuple(
        (int(np.flatnonzero(shape.any(1 - a))[0]), int(np.flatnonzero(shape.any(1 - a))[-1])) for a in (0, 1)
    )
    margin = min(cfg.target_margin, (min(h, w) - 1) / 2)
    best = None
    for _ in range(TRIES):
        center = int(rng.uniform(margin, h - margin)), int(rng.uniform(margin, w - margin))
        ratio = math.exp(rng.uniform(*np.log(cfg.scr)))
        box = tuple(slice(c - radius + e[0], c - radius + e[1] + 1) for c, e in zip(center, extent, strict=True))
        place = _window(tuple(slice(c - radius, c + radius + 1) for c in center), 0, image.shape)
        part = tuple(slice(p.start - c + radius, p.stop - c + radius) for p, c in zip(place, center, strict=True))
        if not shape[part].any() or taken[_window(box, 0, image.shape)].any():
            continue
        ground = _surroundings(image, taken, box)
        if ground.size < MIN_GROUND:
            continue
        # 1/12 is the variance of rounding to integers.
        mean, sigma = float(ground.mean()), math.sqrt(float(ground.var()) + noise**2 + 1 / 12)
        low, high = cfg.target_contrast[0], min(cfg.target_contrast[1], SATURATION - mean)
        if low <= high:
            best = box, place, part, mean, sigma, min(max(ratio * sigma, low), high)
            if low <= ratio * sigma <= high:
                break
    if best is None:
        return None
    box, place, part, mean, sigma, contrast = best
    signal, visible, ground = spot[part], shape[part], image[place]
    # A shaped target hides what is behind it, a point does not fill its pixels.
    behind = ground if kind == 'point' else ground + signal * (mean - ground)
    ground[:] = behind + signal * (float(mean + contrast - behind[visible].mean()) / float(signal[visible].mean()))
    mask[place][visible] = 1
    taken[_window(box, cfg.target_gap, image.shape)] = True
    rows, cols = np.nonzero(visible)
    centroid = float(rows.mean() + place[0].start), float(cols.mean() + place[1].start)
    return SceneTarget(kind, centroid, len(rows), contrast, float(signal_to_clutter(contrast, sigma)))
