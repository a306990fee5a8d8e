"""Wavelet transform Perona-Malik diffusion (WPMD), the smoothing that keeps edges of IRSAM's encoder.

IRSAM (M. Zhang et al., ECCV 2024) names it and never released it. Built here is what the name can mean without
contradiction, the equivalence of Haar shrinkage and nonlinear diffusion: P. Mrazek, J. Weickert, G. Steidl,
"Correspondences between wavelet shrinkage and nonlinear diffusion", Scale Space 2003, and for images, with the details
of one place shrunk together, P. Mrazek, J. Weickert, "From two-dimensional nonlinear diffusion to coupled Haar wavelet
shrinkage", JVCIR 2007. docs/concepts/wpmd.md derives it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

_R2, _R3, _R6 = math.sqrt(2), math.sqrt(3), math.sqrt(6)
_DB2 = [(1 + _R3) / 8, (3 + _R3) / 8, (3 - _R3) / 8, (1 - _R3) / 8]
# Filters of one axis, the low-pass first. Their squared frequency responses add up to 1, so that analysis followed by
# its transpose is the identity. 'linear' and 'cubic' are the B-spline frames of A. Ron, Z. Shen, "Affine systems in
# L2(Rd): the analysis of the analysis operator", J. Functional Analysis 1997; the low-pass of 'cubic' is the B3 spline.
FILTERS: dict[str, list[list[float]]] = {
    'haar': [[1 / 2, 1 / 2], [1 / 2, -1 / 2]],
    'db2': [_DB2, [_DB2[3], -_DB2[2], _DB2[1], -_DB2[0]]],
    'linear': [[1 / 4, 1 / 2, 1 / 4], [_R2 / 4, 0, -_R2 / 4], [-1 / 4, 1 / 2, -1 / 4]],
    'cubic': [
        [1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16],
        [1 / 8, 1 / 4, 0, -1 / 4, -1 / 8],
        [-_R6 / 16, 0, _R6 / 8, 0, -_R6 / 16],
        [-1 / 8, 1 / 4, 0, -1 / 4, 1 / 8],
        [1 / 16, -1 / 4, 3 / 8, -1 / 4, 1 / 16],
    ],
}
# Neither symmetric nor antisymmetric: run on the mirrored images too, or the mean would not be kept at the border.
_ASYMMETRIC = ('db2',)


@dataclass(frozen=True)
class WaveletDiffusion:
    """Diffuse each image of (..., H, W): in every step, details d become (1 - dt g(|d| / k)) d, g(s) = 1 / (1 + s^2).

    The details are those of a stationary (shift-invariant) wavelet transform; the image is mirrored at its borders
    (c b a | a b c), so no gray value flows through them. With ``wavelet='haar', levels=1`` a step is one explicit step
    of Perona-Malik diffusion, du/dt = div(g(|grad u| / k) grad u), of duration dt / 4 on a grid of unit spacing. d is
    scaled so that white noise of standard deviation s has details of standard deviation s at every level; for Haar, the
    first details then are the derivatives, and k is a slope in gray levels per pixel.

    For every wavelet and 0 < dt <= 1 details shrink without a change of sign: the energy of x less its mean does not
    rise. For coupled Haar with one level no value leaves the range of its neighbors. Beyond dt = 1 the finest details
    change their sign in every step, and beyond dt = 2 they grow without bound: such dt are refused.

    Args:
        num_steps: Number of steps.
        dt: Step size, in (0, 1].
        wavelet: One of ``FILTERS``.
        levels: Levels of the transform; level j sees structures of about 2^j pixels.
        decimated: Use the transform of disjoint blocks, Haar only: 4 times less to compute, and blocky.
        coupled: |d| is the norm of all details of one level and place, as the gradient has one norm; False shrinks each
            detail by itself, which favors edges along the axes.

    Raises:
        ValueError: If an argument is out of its range; the message names it.
    """

    num_steps: int = 5
    dt: float = 0.5
    wavelet: str = 'haar'
    levels: int = 1
    decimated: bool = False
    coupled: bool = True

    def __post_init__(self) -> None:
        if self.wavelet not in FILTERS:
            raise ValueError(f'wavelet must be one of {sorted(FILTERS)}, got {self.wavelet!r}')
        if not 0 < self.dt <= 1:
            raise ValueError(f'dt must be in (0, 1], got {self.dt}: above 1 details change their sign')
        for name in ('num_steps', 'levels'):
            if (value := getattr(self, name)) < 1 or int(value) != value:
                raise ValueError(f'{name} must be a positive integer, got {value}')
        if self.decimated and self.wavelet != 'haar':
            raise ValueError(f"decimated=True goes with wavelet='haar', got {self.wavelet!r}")

    def __call__(self, x: Tensor, k: float | Tensor) -> Tensor:
        """Diffuse images.

        Args:
            x: (..., H, W), floating; half precision is computed in float32 and returned as it came.
            k: The detail at which diffusion has half its speed, positive: a number, or a tensor with one value per
                image that broadcasts to x, such as (C, 1, 1).

        Returns:
            (..., H, W), of the type of x.

        Raises:
            TypeError: If x is not floating.
            ValueError: If x has no pixel, or k is not positive or has another shape.
        """
        if not x.is_floating_point():
            raise TypeError(f'diffusion needs floating values, got {x.dtype}')
        if x.dim() < 2 or not x.numel():
            raise ValueError(f'diffusion needs images (..., H, W) with at least one pixel, got {tuple(x.shape)}')
        if isinstance(k, Tensor) and k.dim() and k.shape[-2:] not in ((1, 1), (1,)):
            raise ValueError(f'k must have one value per image, as (..., 1, 1), got {tuple(k.shape)}')
        if not isinstance(k, Tensor) and not 0 < k < math.inf:
            raise ValueError(f'k must be positive, got {k}')
        dtype = torch.promote_types(x.dtype, torch.float32)
        u = x.to(dtype)
        k2 = torch.as_tensor(k, dtype=dtype, device=x.device).square() + torch.finfo(dtype).tiny ** 0.5
        for _ in range(self.num_steps):
            u = u - self._removed(u, k2)
        return u.to(x.dtype)

    def _removed(self, u: Tensor, k2: Tensor) -> Tensor:
        """What a step takes away."""
        if self.decimated:
            return _removed_by_blocks(u, k2, self.dt, self.levels, self.coupled)
        if self.wavelet == 'haar':
            return _removed_by_haar(u, k2, self.dt, self.levels, self.coupled)

        def removed(v: Tensor) -> Tensor:
            return _removed_by_filters(v, k2, self.dt, self.wavelet, self.levels, self.coupled)

        if self.wavelet in _ASYMMETRIC:
            return sum(removed(u.flip(axes)).flip(axes) / 4 for axes in ((), (-1,), (-2,), (-2, -1)))
        return removed(u)


def wavelet_diffusion(x: Tensor, k: float | Tensor, *args: object, **options: object) -> Tensor:
    """Diffuse images (..., H, W) once: ``WaveletDiffusion(*args, **options)(x, k)``."""
    return WaveletDiffusion(*args, **options)(x, k)


def check_k(k: float, k_unit: str) -> None:
    """Raise ValueError, naming the argument, for a k that is not positive or a unit that is not known."""
    if not 0 < k < math.inf:
        raise ValueError(f'k must be positive, got {k}')
    if k_unit not in ('mean', 'median', 'level'):
        raise ValueError(f"k_unit must be 'mean', 'median' or 'level', got {k_unit!r}")


def detail_scale(x: Tensor, statistic: Literal['median', 'mean'] = 'median', skip_flat: bool = False) -> Tensor:
    """Estimate the standard deviation of the first Haar details of each image of (..., H, W): (..., 1, 1).

    'median' is the median of |d| over 0.6745, their median absolute deviation as if they were Gaussian about zero
    (Donoho, Johnstone, Biometrika 1994; for k in Perona-Malik diffusion, Black et al., "Robust anisotropic diffusion",
    TIP 1998): edges and targets do not enter, and where more than half of the details are 0 it is 0. 'mean' is
    sqrt(pi / 2) times the mean of |d|: faster and smoother, and moved by edges. The image of one pixel has scale 0.

    With `skip_flat` details of 0, to the rounding of float32, do not count. An image has then the same scale whatever
    area of one value is put around it; without, one padded to four times its area has a quarter of the mean.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    height, width = x.shape[-2:]
    dx, dy = x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]
    if height > 1:
        dx = (dx[..., 1:, :] + dx[..., :-1, :]) / 2
    if width > 1:
        dy = (dy[..., 1:] + dy[..., :-1]) / 2
    details = torch.cat((dx.flatten(-2), dy.flatten(-2)), dim=-1).abs()
    if statistic not in ('median', 'mean'):
        raise ValueError(f"statistic must be 'median' or 'mean', got {statistic!r}")
    if not details.shape[-1]:
        return x.new_zeros((*x.shape[:-2], 1, 1))
    if skip_flat:
        largest = x.detach().abs().amax((-2, -1))[..., None]
        counted = details.detach() > 8 * torch.finfo(torch.float32).eps * largest
        if statistic == 'mean':
            scale = torch.where(counted, details, 0).sum(-1) / counted.sum(-1).clamp(min=1)
        else:
            scale = torch.where(counted, details, torch.nan).nanmedian(dim=-1).values.nan_to_num()
    else:
        scale = details.mean(dim=-1) if statistic == 'mean' else _median(details)
    return (scale * math.sqrt(math.pi / 2) if statistic == 'mean' else scale / 0.6745)[..., None, None]


def _median(x: Tensor) -> Tensor:
    """The lower median over the last axis."""
    if x.device.type != 'cpu' or x.requires_grad or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return x.median(dim=-1).values
    # The same number, ten times as fast: numpy's selection is vectorized.
    middle = (x.shape[-1] - 1) // 2
    return torch.from_numpy(np.partition(x.numpy(), middle, axis=-1)[..., middle].copy())


def _rates(details: Sequence[Tensor], k2: Tensor, gain: float, coupled: bool) -> list[Tensor]:
    """`gain` k2 / (k2 + |d|^2) d of each detail."""
    if not coupled:
        return [gain * k2 / (d.square() + k2) * d for d in details]
    norm2 = details[0].square()
    for d in details[1:]:
        norm2 = torch.addcmul(norm2, d, d)
    rate = gain * k2 / (norm2 + k2)
    return [rate * d for d in details]


def _mirror(x: Tensor, margin: int) -> Tensor:
    """Extend (..., H, W) by `margin` on each side, c b a | a b c; farther than the image reaches, again and again."""
    for dim in (-2, -1):
        left = margin
        while left:
            n = min(left, x.shape[dim])
            first, last = x.narrow(dim, 0, n), x.narrow(dim, -n, n)
            x = torch.cat((first.flip(dim), x, last.flip(dim)), dim)
            left -= n
    return x


def _crop(x: Tensor, margin: int) -> Tensor:
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin] if margin else x


def _removed_by_haar(u: Tensor, k2: Tensor, dt: float, levels: int, coupled: bool) -> Tensor:
    """What a step takes away, by sums and differences of shifted images alone.

    They are not normalized: a detail of level j is 2^j times too large, and the sum over the 4^j blocks that hold a
    pixel, each of which gives 4^-j of its detail, comes to a factor 16^-j in all.
    """
    c = _mirror(u, 2**levels - 1)
    kept = []
    for level in range(levels):
        d = 2**level
        s, t = c[..., d:, :] + c[..., :-d, :], c[..., d:, :] - c[..., :-d, :]
        x, y, xy = s[..., d:] - s[..., :-d], t[..., d:] + t[..., :-d], t[..., d:] - t[..., :-d]
        four = 4.0 ** (level + 1)
        kept.append(_rates((x, y, xy), four * k2, dt / four**2, coupled))
        c = s[..., d:] + s[..., :-d] if level + 1 < levels else c
    removed = None
    for level in reversed(range(levels)):
        d = 2**level
        x, y, xy = kept[level] if removed is None else (_crop(w, 2**levels - 2 * d) for w in kept[level])
        s = x[..., :-d] - x[..., d:]
        if removed is not None:
            s = s + removed[..., :-d] + removed[..., d:]
        t = (xy + y)[..., :-d] + (y - xy)[..., d:]
        removed = (s + t)[..., :-d, :] + (s - t)[..., d:, :]
    return removed


def _removed_by_blocks(u: Tensor, k2: Tensor, dt: float, levels: int, coupled: bool) -> Tensor:
    """What a step of the decimated Haar transform takes away.

    Blocks that reach beyond the image are left alone along the axis on which they do: pixels outside would take up what
    is removed inside, and the mean would not be kept.
    """
    height, width = u.shape[-2:]
    size = 2**levels
    c = torch.cat((u, u[..., -1:, :].expand(*u.shape[:-2], -height % size, width)), -2)
    c = torch.cat((c, c[..., -1:].expand(*c.shape[:-1], -width % size)), -1)
    kept = []
    for level in range(levels):
        s, t = c[..., ::2, :] + c[..., 1::2, :], c[..., ::2, :] - c[..., 1::2, :]
        x, y, xy = s[..., ::2] - s[..., 1::2], t[..., ::2] + t[..., 1::2], t[..., ::2] - t[..., 1::2]
        whole_y, whole_x = (
            torch.arange(n, device=u.device) < total // 2 ** (level + 1)
            for n, total in ((x.shape[-2], height), (x.shape[-1], width))
        )
        x, y, xy = x * whole_x, y * whole_y[:, None], xy * (whole_x & whole_y[:, None])
        four = 4.0 ** (level + 1)
        kept.append(_rates((x, y, xy), four * k2, dt / four, coupled))
        c = s[..., ::2] + s[..., 1::2]
    removed = torch.zeros_like(c)
    for x, y, xy in reversed(kept):
        s = torch.stack((removed + x, removed - x), -1).flatten(-2)
        t = torch.stack((y + xy, y - xy), -1).flatten(-2)
        removed = torch.stack((s + t, s - t), -2).flatten(-3, -2)
    return removed[..., :height, :width]


def _removed_by_filters(u: Tensor, k2: Tensor, dt: float, wavelet: str, levels: int, coupled: bool) -> Tensor:
    """What a step takes away, by the filters of any of ``FILTERS``."""
    filters = FILTERS[wavelet]
    reach = len(filters[0]) - 1
    pairs = [(i, j) for i in range(len(filters)) for j in range(len(filters)) if (i, j) != (0, 0)]
    c = _mirror(u, reach * (2**levels - 1))
    kept = []
    for level in range(levels):
        rows = [_filter(c, f, 2**level, -2) for f in filters]
        details = [_filter(rows[i], filters[j], 2**level, -1) for i, j in pairs]
        # |d| / k with d scaled up is |d| / k with k scaled down.
        kept.append(_rates(details, k2 * atom_norm(wavelet, level) ** 2, dt, coupled))
        c = _filter(rows[0], filters[0], 2**level, -1)
    removed = None
    for level in reversed(range(levels)):
        bands = dict(zip(pairs, kept[level], strict=True))
        if removed is not None:
            bands = {key: _crop(w, reach * (2**levels - 2 * 2**level)) for key, w in bands.items()}
            bands[0, 0] = removed
        rows = [
            sum(_filter(bands[i, j], f[::-1], 2**level, -1) for j, f in enumerate(filters) if (i, j) in bands)
            for i in range(len(filters))
        ]
        removed = sum(_filter(row, f[::-1], 2**level, -2) for row, f in zip(rows, filters, strict=True))
    return removed


def _filter(x: Tensor, taps: Sequence[float], dilation: int, dim: int) -> Tensor:
    """Correlate along `dim` where all taps are inside."""
    n = x.shape[dim] - (len(taps) - 1) * dilation
    return sum(tap * x.narrow(dim, i * dilation, n) for i, tap in enumerate(taps) if tap)


@lru_cache
def atom_norm(wavelet: str, level: int) -> float:
    """Norm of what the first details of a level (0 is the finest) correlate an image with: (high-pass) x (low-pass)."""
    low, high = np.ones(1), np.ones(1)
    for i in range(level + 1):
        smooth, rough = (np.zeros((len(f) - 1) * 2**i + 1) for f in FILTERS[wavelet][:2])
        smooth[:: 2**i], rough[:: 2**i] = FILTERS[wavelet][:2]
        low, high = np.convolve(low, smooth), np.convolve(low, rough)
    return float(np.linalg.norm(low) * np.linalg.norm(high))
