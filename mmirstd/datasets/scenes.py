"""Synthetic infrared scenes with small targets, rendered from a seed.

A scene is a background (:mod:`mmirstd.datasets.scene_backgrounds`) seen through optics, set to grey levels, with
targets and things that are mistaken for targets in it, and what a sensor adds. Everything drawn at random comes from
the one generator that is passed in, so a scene depends on nothing but its seed.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields

import cv2
import numpy as np

from mmirstd.datasets.scene_backgrounds import BACKGROUNDS, pixel_grid, standardise
from mmirstd.datasets.scene_targets import KINDS, Target, draw_target, insert_target

PARTS = {'train': 0, 'val': 1, 'test': 2}
MIN_SIZE = 32
KNOWN_NAMES: dict[str, Collection[str]] = {'backgrounds': BACKGROUNDS, 'target_kinds': KINDS}
BOUNDS: dict[str, tuple[float, float]] = {
    'level': (0, 255),
    'contrast': (0, 100),
    'vignetting': (-255, 255),
    'psf_sigma': (0, 16),
    'clutter': (0, 1000),
    'dead_pixels': (0, 65536),
    'target_sigma': (0.3, 8),
    'target_size': (2, 40),
    'scr': (0.01, 1e6),
    'target_contrast': (1, 255),
    'mask_fraction': (0.05, 0.95),
    'target_margin': (0, 1e6),
    'target_gap': (2, 64),
    'noise_sigma': (0, 255),
    'noise_grain': (0, 16),
    'stripe_sigma': (0, 255),
    'sharpen': (0, 16),
    'jpeg_quality': (1, 100),
}


@dataclass(frozen=True)
class SceneConfig:
    """What scenes look like. A pair is a range a value is drawn from; grey levels are those of the 8-bit image.

    The defaults are chosen so that targets per image, mask areas, contrast, signal-to-clutter ratio and the images'
    mean and spread are close to those of NUDT-SIRST, NUAA-SIRST and IRSTD-1k (table in ``docs/synthetic.md``).

    Args:
        backgrounds: Relative frequency of each background, names as in ``scene_backgrounds.BACKGROUNDS``.
        level: Grey level of the background's median.
        contrast: Factor on the background's own range of contrast.
        glow_prob: Probability of a sun glow or a light shaft.
        vignetting_prob: Probability of vignetting: dark corners or, uncorrected housing radiation, bright ones.
        vignetting: Its strength at the corners, in grey levels, negative is dark.
        psf_sigma: Standard deviation of the optical blur of the background and of shaped targets, in pixels.
        clutter: Mean number of small things that are no targets, soft puffs and dark spots, per 256 x 256 pixels;
            glints, crests, windows and cloud edges come with the backgrounds.
        dead_pixels: Mean number of dead or hot detector elements per 256 x 256 pixels.
        target_counts: Probability of 0, 1, 2, ... targets in a scene.
        target_kinds: Relative frequency of each kind of target, names as in ``scene_targets.KINDS``.
        target_sigma: Standard deviation of a point target's spread (optics and motion), in pixels, log-uniform.
        target_size: Length of a shaped target in pixels, log-uniform.
        scr: Signal-to-clutter ratio, see :func:`render_scene`, log-uniform.
        target_contrast: Allowed mean of a target above its surroundings, in grey levels; ratio and place are drawn
            together until they give such a contrast.
        mask_fraction: A pixel is in a target's mask when the target's signal there exceeds this fraction of its peak.
        target_margin: Least distance of a target's centre from the image border, in pixels.
        target_gap: Least distance between the masks of two targets, in pixels.
        noise_sigma: Standard deviation of the temporal noise, in grey levels, log-uniform.
        noise_grain: Blur of the noise (interpolation, filtering in the camera), sigma in pixels.
        stripe_prob: Probability of fixed-pattern stripes along columns or rows.
        stripe_sigma: Standard deviation of their offsets, in grey levels.
        sharpen_prob: Probability of detail enhancement (unsharp masking), which leaves dark rings around targets.
        sharpen: Its strength.
        jpeg_prob: Probability that the image went through JPEG.
        jpeg_quality: Its quality.

    Raises:
        TypeError: An unknown key (from the constructor), or a value of the wrong type.
        ValueError: A value out of its range. Both name the key.
    """

    backgrounds: dict[str, float] = field(
        default_factory=lambda: {
            'clear': 0.17,
            'stratus': 0.13,
            'cirrus': 0.07,
            'cumulus': 0.17,
            'sea': 0.05,
            'sea_horizon': 0.06,
            'terrain': 0.1,
            'foliage': 0.03,
            'urban': 0.07,
            'skyline': 0.15,
        }
    )
    level: tuple[float, float] = (10, 170)
    contrast: tuple[float, float] = (0.8, 1.6)
    glow_prob: float = 0.12
    vignetting_prob: float = 0.3
    vignetting: tuple[float, float] = (-25, 45)
    psf_sigma: tuple[float, float] = (0.6, 1.4)
    clutter: float = 1.0
    dead_pixels: float = 0.15
    target_counts: tuple[float, ...] = (0.04, 0.62, 0.25, 0.06, 0.03)
    target_kinds: dict[str, float] = field(
        default_factory=lambda: {
            'point': 0.5,
            'streak': 0.1,
            'blob': 0.14,
            'plane': 0.12,
            'drone': 0.05,
            'ship': 0.09,
        }
    )
    target_sigma: tuple[float, float] = (0.9, 2.0)
    target_size: tuple[float, float] = (5, 20)
    scr: tuple[float, float] = (3, 60)
    target_contrast: tuple[float, float] = (18, 140)
    mask_fraction: float = 0.35
    target_margin: float = 2
    target_gap: int = 4
    noise_sigma: tuple[float, float] = (0.15, 1.8)
    noise_grain: tuple[float, float] = (0, 0.8)
    stripe_prob: float = 0.3
    stripe_sigma: tuple[float, float] = (0.2, 1.2)
    sharpen_prob: float = 0.25
    sharpen: tuple[float, float] = (0.2, 1.0)
    jpeg_prob: float = 0.35
    jpeg_quality: tuple[float, float] = (60, 95)

    def __post_init__(self) -> None:
        for key in fields(self):
            name, value = key.name, getattr(self, key.name)
            if name in KNOWN_NAMES:
                value = _check_weights(name, value, KNOWN_NAMES[name])
            elif isinstance(key.default, tuple):
                value = _check_numbers(name, value)
            elif isinstance(value, bool) or not isinstance(value, (int, type(key.default))):
                raise TypeError(f'{name} must be of type {type(key.default).__name__}, got {value!r}')
            low, high = (0, 1) if name.endswith('_prob') else BOUNDS.get(name, (-math.inf, math.inf))
            if name not in KNOWN_NAMES and not all(low <= v <= high for v in np.atleast_1d(value)):
                raise ValueError(f'{name} must lie within {low} and {high}, got {value!r}')
            object.__setattr__(self, name, value)


def _check_weights(key: str, value: object, known: Collection[str]) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise TypeError(f'{key} must be a dict of name to weight, got {value!r}')
    if unknown := sorted(set(value) - set(known)):
        raise ValueError(f'{key} has unknown names {unknown}; known are {sorted(known)}')
    _check_distribution(key, _to_floats(key, value.values()))
    # Sorted, because the order of keys in a config must not change the scenes.
    return {name: float(value[name]) for name in sorted(value)}


def _check_numbers(key: str, value: object) -> tuple[float, ...]:
    value = _to_floats(key, value)
    if key == 'target_counts':
        _check_distribution(key, value)
    elif len(value) != 2 or not value[0] <= value[1]:
        raise ValueError(f'{key} must be a pair (low, high) with low <= high, got {value!r}')
    return value


def _to_floats(key: str, values: object) -> tuple[float, ...]:
    try:
        return tuple(float(v) for v in values)
    except (TypeError, ValueError):
        raise TypeError(f'{key} must hold numbers, got {values!r}') from None


def _check_distribution(key: str, weights: tuple[float, ...]) -> None:
    if not all(0 <= weight < math.inf for weight in weights) or sum(weights) <= 0:
        raise ValueError(f'{key} needs finite weights >= 0, one of them positive, got {weights!r}')


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
        info: ``background`` (its name) and ``targets``, a list of :class:`~mmirstd.datasets.scene_targets.Target`.
    """
    if not isinstance(rng, np.random.Generator):
        rng = np.random.Generator(np.random.PCG64(rng))
    cfg = cfg or SceneConfig()
    h, w = size
    if min(h, w) < MIN_SIZE:
        raise ValueError(f'size must be at least {MIN_SIZE} x {MIN_SIZE}, got {size}')
    name = _choose(rng, cfg.backgrounds)
    draw, contrast = BACKGROUNDS[name]
    image = standardise(draw(rng, h, w))
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
) -> tuple[np.ndarray, list[Target]]:
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
