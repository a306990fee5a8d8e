"""Random fields on the pixel grid, and what is done to them to make textures."""

import math
from functools import lru_cache

import cv2
import numpy as np
from scipy import fft

Array = np.ndarray


@lru_cache(maxsize=16)
def _frequencies(h: int, w: int) -> tuple[Array, Array]:
    return np.meshgrid(fft.fftfreq(h).astype(np.float32), fft.fftfreq(w).astype(np.float32), indexing='ij')


@lru_cache(maxsize=16)
def pixel_grid(h: int, w: int) -> tuple[Array, Array]:
    """Read-only y and x coordinates, float32 (H, W) each."""
    grid = np.meshgrid(np.arange(h, dtype=np.float32), np.arange(w, dtype=np.float32), indexing='ij')
    for axis in grid:
        axis.flags.writeable = False
    return tuple(grid)


def random_fields(
    rng: np.random.Generator,
    h: int,
    w: int,
    beta: float,
    stretch: float = 1.0,
    angle: float = 0.0,
    wavelength: float | None = None,
    tile: bool = False,
) -> tuple[Array, Array]:
    """Two independent Gaussian random fields of zero mean and unit variance, power ~ 1/f^beta.

    Args:
        rng: Source of randomness.
        h: Height in pixels.
        w: Width in pixels.
        beta: Exponent of the power spectrum; 0 is white, 3 is smooth as clouds.
        stretch: Features are this many times longer along ``angle`` than across.
        angle: Direction of the long axis in radians, from the x axis.
        wavelength: Longest wavelength in pixels; power is flat beyond. Default: the whole size.
        tile: The field wraps around. Otherwise it is cut from a larger one so that opposite edges are unrelated.
    """
    nh, nw = (h, w) if tile else (fft.next_fast_len(h + h // 6 + 1), fft.next_fast_len(w + w // 6 + 1))
    fy, fx = _frequencies(nh, nw)
    along = (math.cos(angle) * fx + math.sin(angle) * fy) * math.sqrt(stretch)
    across = (math.cos(angle) * fy - math.sin(angle) * fx) / math.sqrt(stretch)
    f2 = along * along + across * across
    f2 += 1 / (wavelength or max(nh, nw)) ** 2
    amplitude = np.exp(np.log(f2) * (-beta / 4))
    amplitude[0, 0] = 0
    # Uniform coefficients are five times faster to draw than normal ones; their many-term sums are as good as normal.
    spectrum = (rng.random((nh, nw, 2), dtype=np.float32) - 0.5).view(np.complex64)[..., 0]
    # A white complex spectrum has no Hermitian symmetry: real and imaginary part are two independent real fields.
    spectrum *= amplitude
    field = fft.ifft2(spectrum, workers=1, overwrite_x=True)[:h, :w]
    scale = math.sqrt(12) / math.sqrt(np.square(amplitude).sum(dtype=np.float64)) * (nh * nw)
    field *= scale
    return np.ascontiguousarray(field.real), np.ascontiguousarray(field.imag)


def smoothstep(x: Array, low: float, width: float) -> Array:
    """0 below ``low``, 1 above ``low + width``, a cubic between."""
    t = np.clip((x - low) / width, 0, 1)
    return t * t * (3 - 2 * t)


def warp(image: Array, dy: Array, dx: Array, border: int = cv2.BORDER_REFLECT) -> Array:
    """Sample an image (H, W) beside each pixel, at an offset of ``dy`` and ``dx`` pixels."""
    y, x = pixel_grid(*dy.shape)
    return cv2.remap(image, x + dx, y + dy, cv2.INTER_LINEAR, borderMode=border)


def quantile(x: Array, q: float) -> float:
    """Take a quantile over every fourth row and column."""
    return float(np.quantile(x[::4, ::4], q))


def gradient(rng: np.random.Generator, h: int, w: int) -> Array:
    """Sky brightness over elevation, at a small roll: warm haze at the lower edge, 0 to 1."""
    y, x = pixel_grid(h, w)
    t = (y + rng.normal(0, 0.2) * x) / h
    if rng.random() < 0.25:
        t = 1 - t
    return np.exp(rng.uniform(0.5, 4) * (t - 1))


def billow(field: Array) -> Array:
    """Rounded lumps with dark creases, as on cumulus clouds and tree crowns."""
    return 1 - np.exp(-1.2 * np.abs(field))


def standardize(image: Array) -> Array:
    """Zero median and unit spread, a third of the 5-95 % range: a few hot pixels must not set the scale."""
    low, mid, high = np.quantile(image[::3, ::3], [0.05, 0.5, 0.95]).tolist()
    return (image - mid) / (max(high - low, 1e-6) / 3.3)
