"""Position encodings of image grids of any size, as (1, H * W, C)."""

import math

import torch
from torch import Tensor, nn


def sine_position(
    height: int,
    width: int,
    channels: int,
    *,
    temperature: float = 10000.0,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Sine position encoding of a grid (Carion et al., DETR, ECCV 2020), normalized to 2 pi.

    The first half of the channels encodes y, the second x; sine and cosine alternate.

    Args:
        height: H.
        width: W.
        channels: C, a multiple of 4.
        temperature: ratio of the longest to the shortest wavelength.
        device: where the result lives.
        dtype: its type; half precision is rounded at the end.

    Returns:
        (1, H * W, C).

    Raises:
        ValueError: if `channels` is not a multiple of 4.
    """
    if channels % 4:
        raise ValueError(f'a sine position encoding needs a multiple of 4 channels, got {channels}')
    half = channels // 2
    wide = torch.promote_types(dtype, torch.float32)
    wavelength = temperature ** (torch.arange(0, half, 2, dtype=wide, device=device) / half)

    def axis(n: int) -> Tensor:
        position = torch.arange(1, n + 1, dtype=wide, device=device) / (n + 1e-6) * 2 * math.pi
        angle = position[:, None] / wavelength
        return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1).to(dtype)

    y = axis(height)[:, None].expand(height, width, half)
    x = axis(width)[None].expand(height, width, half)
    return torch.cat((y, x), dim=2).flatten(0, 1)[None]


class FourierPosition(nn.Module):
    """Random Fourier features of positions, as in SAM's prompt encoder (Tancik et al., NeurIPS 2020).

    Args:
        channels: C, even.
        scale: standard deviation of the random frequencies.
    """

    def __init__(self, channels: int = 256, scale: float = 1.0) -> None:
        super().__init__()
        if channels % 2:
            raise ValueError(f'a Fourier position encoding needs an even number of channels, got {channels}')
        # Named as in segment-anything, so that its checkpoints load.
        self.register_buffer('positional_encoding_gaussian_matrix', scale * torch.randn(2, channels // 2))

    def encode(self, points: Tensor) -> Tensor:
        """Encode points (..., 2), as (x, y) in [0, 1], to (..., C)."""
        matrix = self.positional_encoding_gaussian_matrix
        frequency = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
        points = 2 * points.to(frequency.dtype) - 1
        # Not a matrix product: autocast would round the angles to half precision.
        angle = 2 * math.pi * (points[..., :1] * frequency[0] + points[..., 1:] * frequency[1])
        return torch.cat((angle.sin(), angle.cos()), dim=-1)

    def forward(self, height: int, width: int) -> Tensor:
        """Encode the pixel centers of a grid: (1, H * W, C) in float32, or float64 where the module is."""
        matrix = self.positional_encoding_gaussian_matrix
        like = {'device': matrix.device, 'dtype': torch.promote_types(matrix.dtype, torch.float32)}
        y = (torch.arange(height, **like) + 0.5) / height
        x = (torch.arange(width, **like) + 0.5) / width
        grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1)
        return self.encode(grid).flatten(0, 1)[None]
