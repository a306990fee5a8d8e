"""What synthetic scenes look like, as one checked value."""

import math
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields

import numpy as np

MIN_SIZE = 32
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
    """What scenes look like. A pair is a range a value is drawn from; gray levels are those of the 8-bit image.

    The defaults are chosen so that targets per image, mask areas, contrast, signal-to-clutter ratio and the images'
    mean and spread are close to those of NUDT-SIRST, NUAA-SIRST and IRSTD-1k (table in ``docs/concepts/synthetic.md``).

    Args:
        backgrounds: Relative frequency of each background, names as in ``backgrounds.BACKGROUNDS``.
        level: Gray level of the background's median.
        contrast: Factor on the background's own range of contrast.
        glow_prob: Probability of a sun glow or a light shaft.
        vignetting_prob: Probability of vignetting: dark corners or, uncorrected housing radiation, bright ones.
        vignetting: Its strength at the corners, in gray levels, negative is dark.
        psf_sigma: Standard deviation of the optical blur of the background and of shaped targets, in pixels.
        clutter: Mean number of small things that are no targets, soft puffs and dark spots, per 256 x 256 pixels;
            glints, crests, windows and cloud edges come with the backgrounds.
        dead_pixels: Mean number of dead or hot detector elements per 256 x 256 pixels.
        target_counts: Probability of 0, 1, 2, ... targets in a scene.
        target_kinds: Relative frequency of each kind of target, names as in ``targets.KINDS``.
        target_sigma: Standard deviation of a point target's spread (optics and motion), in pixels, log-uniform.
        target_size: Length of a shaped target in pixels, log-uniform.
        scr: Signal-to-clutter ratio, see :func:`render_scene`, log-uniform.
        target_contrast: Allowed mean of a target above its surroundings, in gray levels; ratio and place are drawn
            together until they give such a contrast.
        mask_fraction: A pixel is in a target's mask when the target's signal there exceeds this fraction of its peak.
        target_margin: Least distance of a target's center from the image border, in pixels.
        target_gap: Least distance between the masks of two targets, in pixels.
        noise_sigma: Standard deviation of the temporal noise, in gray levels, log-uniform.
        noise_grain: Blur of the noise (interpolation, filtering in the camera), sigma in pixels.
        stripe_prob: Probability of fixed-pattern stripes along columns or rows.
        stripe_sigma: Standard deviation of their offsets, in gray levels.
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
            if key.default is MISSING:  # weights by name; the defaults name all that there are
                value = _check_weights(name, value, key.default_factory())
            else:
                if isinstance(key.default, tuple):
                    value = _check_numbers(name, value)
                elif isinstance(value, bool) or not isinstance(value, (int, type(key.default))):
                    raise TypeError(f'{name} must be of type {type(key.default).__name__}, got {value!r}')
                low, high = (0, 1) if name.endswith('_prob') else BOUNDS.get(name, (-math.inf, math.inf))
                if not all(low <= v <= high for v in np.atleast_1d(value)):
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
