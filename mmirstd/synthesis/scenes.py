"""Synthetic infrared scenes with small targets, rendered from a seed.

A scene is a background (:mod:`mmirstd.synthesis.backgrounds`) seen through optics, set to gray levels, with
targets and things that are mistaken for targets in it, and what a sensor adds. Everything drawn at random comes from
the one generator that is passed in, so a scene depends on nothing but its seed.
"""

import math

import cv2
import numpy as np

from mmirstd.synthesis.backgrounds import BACKGROUNDS
from mmirstd.synthesis.config import MIN_SIZE, SceneConfig
from mmirstd.synthesis.fields import pixel_grid, standardize
from mmirstd.synthesis.targets import SceneTarget, draw_target, insert_target

PARTS = {'train': 0, 'val': 1, 'test': 2}


def scene_generator(seed: int, part: str, index: int) -> np.random.Generator:
    """The generator of scene ``index`` of ``part`` ('train', 'val' or 'test'); parts and indices share no stream."""
    if part not in PARTS:
        raise ValueError(f'part must be one of {list(PARTS)}, got {part!r}')
    if seed < 0 or index < 0:
        raise ValueError(f'seed and index must be >= 0, got seed={seed}, index={index}')
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, PARTS[part], index])))


def _choose(rng: np.random.Generator, weights: dict[str, float]) -> str:
    p = np.array(list(weights.values()))
    return list(weights)[rng.choice(len(p), p=p / p.sum())]


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    if bounds[0] <= 0:  # no logarithm of zero
        return rng.uniform(*bounds)
    return math.exp(rng.uniform(math.log(bounds[0]), math.log(bounds[1])))


def render_scene(
    rng: np.random.Generator | int, size: tuple[int, int] = (256, 256), cfg: SceneConfig | None = None
) -> tuple[np.ndarray, np.ndarray, dict]:
    """Render one scene.

    A target's strength is set by its signal-to-clutter ratio SCR = |mu_t - mu_b| / sigma_b (Gao et al., "Infrared
    patch-image model for small target detection in a single image", TIP 2013): mu_t is the mean over its mask, mu_b
    and sigma_b the mean and standard deviation of its surroundings, a frame 10 pixels wide around its box, with noise
    and rounding included. Stripes, sharpening, clipping and compression come after and may change it.

    Args:
        rng: A generator, or a seed for one.
        size: Height and width in pixels, each at least 32.
        cfg: What scenes look like.

    Returns:
        image: uint8 (H, W).
        mask: uint8 (H, W), 1 on targets.
        info: ``background`` (its name) and ``targets``, a list of :class:`~mmirstd.synthesis.targets.SceneTarget`.
    """
    if not isinstance(rng, np.random.Generator):
        rng = np.random.Generator(np.random.PCG64(rng))
    cfg = cfg or SceneConfig()
    h, w = size
    if min(h, w) < MIN_SIZE:
        raise ValueError(f'size must be at least {MIN_SIZE} x {MIN_SIZE}, got {size}')
    name = _choose(rng, cfg.backgrounds)
    draw, contrast = BACKGROUNDS[name]
    image = standardize(draw(rng, h, w))
    psf = rng.uniform(*cfg.psf_sigma)
    if psf > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), psf)
    image *= _log_uniform(rng, contrast) * rng.uniform(*cfg.contrast)
    image += rng.uniform(*cfg.level)
    _illumination(rng, image, cfg)
    np.clip(image, 0, 255, out=image)

    noise = _log_uniform(rng, cfg.noise_sigma)
    _clutter(rng, image, cfg, psf)
    mask, targets = _insert_targets(rng, image, cfg, noise, psf)
    return _sensor(rng, image, cfg, noise), mask, {'background': name, 'targets': targets}


def _illumination(rng: np.random.Generator, image: np.ndarray, cfg: SceneConfig) -> None:
    """Add sun glow or a light shaft, and vignetting."""
    h, w = image.shape
    y, x = pixel_grid(h, w)
    if rng.random() < cfg.glow_prob:
        angle = rng.uniform(0, math.pi)
        dy, dx = y - rng.uniform(-0.2, 1.2) * h, x - rng.uniform(-0.2, 1.2) * w
        across = (math.cos(angle) * dy - math.sin(angle) * dx) / (min(h, w) * rng.uniform(0.08, 0.35))
        distance = np.square(across)
        if rng.random() < 0.6:
            along = (math.sin(angle) * dy + math.cos(angle) * dx) / (min(h, w) * rng.uniform(0.15, 0.5))
            distance += np.square(along)
        image += rng.uniform(20, 160) * np.exp(-np.sqrt(distance + 0.05) * rng.uniform(0.7, 1.5))
    if rng.random() < cfg.vignetting_prob:
        cy, cx = rng.normal(0.5, 0.06, 2) * (h, w)
        radius = np.square((y - cy) / (0.5 * h)) + np.square((x - cx) / (0.5 * w))
        image += rng.uniform(*cfg.vignetting) * np.power(radius / 2, rng.uniform(1, 2.5), dtype=np.float32)


def _clutter(rng: np.random.Generator, image: np.ndarray, cfg: SceneConfig, psf: float) -> None:
    """Add what is small but no target: soft puffs and dark spots of up to a few pixels' spread."""
    h, w = image.shape
    for _ in range(rng.poisson(cfg.clutter * h * w / 65536)):
        cy, cx = rng.uniform(0, h), rng.uniform(0, w)
        if dark := rng.random() < 0.4:
            sy, sx = rng.uniform(0.8, 2.5, 2)
        else:
            sy, sx = rng.uniform(3.5, 8), rng.uniform(4, 14)
        rows, cols = (slice(max(0, int(c - 3 * s)), int(c + 3 * s) + 2) for c, s in ((cy, sy), (cx, sx)))
        y, x = (axis[rows, cols] for axis in pixel_grid(h, w))
        bump = np.exp(-0.5 * (np.square((y - cy) / math.hypot(sy, psf)) + np.square((x - cx) / math.hypot(sx, psf))))
        image[rows, cols] += bump * (-rng.uniform(8, 40) if dark else rng.uniform(4, 20))
    np.clip(image, 0, 255, out=image)


def _insert_targets(
    rng: np.random.Generator, image: np.ndarray, cfg: SceneConfig, noise: float, psf: float
) -> tuple[np.ndarray, list[SceneTarget]]:
    mask = np.zeros(image.shape, np.uint8)
    taken = np.zeros(image.shape, bool)
    counts = np.array(cfg.target_counts)
    targets = []
    for _ in range(rng.choice(len(counts), p=counts / counts.sum())):
        kind = _choose(rng, cfg.target_kinds)
        spread = _log_uniform(rng, cfg.target_sigma) if kind == 'point' else psf * rng.uniform(0.7, 1.2)
        spot = draw_target(rng, kind, spread, _log_uniform(rng, cfg.target_size))
        target = insert_target(rng, image, mask, taken, cfg, kind, spot, noise)
        if target:
            targets.append(target)
    return mask, targets


def _sensor(rng: np.random.Generator, image: np.ndarray, cfg: SceneConfig, noise: float) -> np.ndarray:
    """Noise, stripes, dead elements, detail enhancement, 8 bits and compression."""
    h, w = image.shape
    grain = rng.standard_normal((h, w), dtype=np.float32)
    blur = rng.uniform(*cfg.noise_grain)
    if blur > 0.3:
        grain = cv2.GaussianBlur(grain, (0, 0), blur)
        grain /= max(float(grain[::4, ::4].std()), 1e-6)
    image = image + noise * grain
    if rng.random() < cfg.stripe_prob:
        sigma = rng.uniform(*cfg.stripe_sigma)
        if rng.random() < 0.8:
            image += sigma * rng.standard_normal(w, dtype=np.float32)
        else:
            image += sigma * rng.standard_normal((h, 1), dtype=np.float32)
    for _ in range(rng.poisson(cfg.dead_pixels * h * w / 65536)):
        image[rng.integers(h), rng.integers(w)] += rng.choice([-1, 1]) * rng.uniform(20, 120)
    if rng.random() < cfg.sharpen_prob:
        image += rng.uniform(*cfg.sharpen) * (image - cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 2.5)))
    image = np.rint(np.clip(image, 0, 255)).astype(np.uint8)
    if rng.random() < cfg.jpeg_prob:
        quality = round(rng.uniform(*cfg.jpeg_quality))
        image = cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
    return image
