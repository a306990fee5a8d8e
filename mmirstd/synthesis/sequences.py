"""Synthetic sequences: a scene that drifts past the camera, and point targets that move through it."""

import math
from dataclasses import replace

import cv2
import numpy as np

from mmirstd.synthesis.config import SceneConfig
from mmirstd.synthesis.scenes import render_scene
from mmirstd.synthesis.targets import SATURATION, point_spread

DRIFT, SPEED = 1.0, 2.0  # largest motion of the scene and of a target, in pixels a frame along each axis


def render_sequence(
    rng: np.random.Generator, frames: int, size: tuple[int, int] = (256, 256), cfg: SceneConfig | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Render the frames of one sequence.

    The background is a scene without targets, larger than the frame, that drifts at a constant velocity. Targets are
    points as the optics spread them, of constant velocity and contrast. Their number, spread, signal-to-clutter ratio
    in the first frame and mask are those of ``cfg``. Each frame has noise of its own.

    Args:
        rng: Source of randomness.
        frames: Number of frames.
        size: Height and width in pixels, each at least 32.
        cfg: What scenes look like.

    Returns:
        images: uint8 (T, H, W).
        masks: uint8 (T, H, W), 1 on targets. A target may leave the frame.

    Raises:
        ValueError: If there is no frame, or the size is too small.
    """
    if frames < 1:
        raise ValueError(f'a sequence has at least one frame, got {frames}')
    cfg = cfg or SceneConfig()
    height, width = size
    margin = math.ceil(DRIFT * frames)
    still = replace(cfg, target_counts=(1.0,), noise_sigma=(0, 0), dead_pixels=0, stripe_sigma=(0, 0))
    scene, _, _ = render_scene(rng, (height + 2 * margin, width + 2 * margin), still)
    drift = rng.uniform(-DRIFT, DRIFT, 2)
    noise = rng.uniform(*cfg.noise_sigma)
    steps = np.arange(frames) - (frames - 1) / 2
    middles = (np.array(scene.shape) - 1) / 2 + steps[:, None] * drift
    views = np.stack([cv2.getRectSubPix(scene.astype(np.float32), (width, height), (x, y)) for y, x in middles])
    masks = np.zeros(views.shape, np.uint8)
    for _ in range(rng.choice(len(cfg.target_counts), p=np.array(cfg.target_counts) / sum(cfg.target_counts))):
        _add_target(rng, views, masks, cfg, noise)
    views += rng.normal(0, noise, views.shape)
    return np.clip(np.rint(views), 0, 255).astype(np.uint8), masks


def _add_target(rng: np.random.Generator, views: np.ndarray, masks: np.ndarray, cfg: SceneConfig, noise: float) -> None:
    """Put a target into the frames (T, H, W) and their masks."""
    _, height, width = views.shape
    spread = math.exp(rng.uniform(*np.log(cfg.target_sigma)))
    ratio = math.exp(rng.uniform(*np.log(cfg.scr)))
    start = rng.uniform(0.1, 0.9, 2) * (height - 1, width - 1)
    velocity = rng.uniform(-SPEED, SPEED, 2)
    amplitude = 0.0
    for i, (view, mask) in enumerate(zip(views, masks, strict=True)):
        center = start + i * velocity
        cell = np.rint(center).astype(int)
        spot = point_spread((spread, spread), 0.0, tuple(center - cell))
        radius = len(spot) // 2
        low, high = np.maximum(cell - radius, 0), np.minimum(cell + radius + 1, (height, width))
        if (low >= high).any():
            continue  # it has left
        place = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        part = tuple(slice(a, b) for a, b in zip(low - cell + radius, high - cell + radius, strict=True))
        shape = spot[part] > cfg.mask_fraction * spot.max()
        if not amplitude:
            around = view[max(cell[0] - 10, 0) : cell[0] + 11, max(cell[1] - 10, 0) : cell[1] + 11]
            sigma = math.sqrt(float(around.var()) + noise**2 + 1 / 12)
            contrast = np.clip(ratio * sigma, *cfg.target_contrast)
            amplitude = max(min(contrast, SATURATION - float(around.mean())), 1.0) / float(spot[part][shape].mean())
        view[place] += amplitude * spot[part]
        mask[place] |= shape.astype(np.uint8)
