"""Position encodings of image grids of any size, as (1, H * W, C)."""

import math

import torch
from torch import Tensor, nn


def sine_position(
    height: int, width: int, channels: int, *, temperature: float = 10000.0, device: torch.device | None = None
) -> Tensor:
    """Sine position encoding of a grid (Carion et al., DETR, ECCV 2020), normalised to 2 pi.

    The first half of the channels encodes y, the second x; sine and cosine alternate.

    Args:
        height: H.
        width: W.
        channels: C, a multiple of 4.
        temperature: ratio of the longest to the shortest wavelength.
        device: where the result lives.

    Returns:
        float32 (1, H * W, C).

    Raises:
        ValueError: if `channels` is not a multiple of 4.
    """
    if channels % 4:
        raise ValueError(f'a sine position encoding needs a multiple of 4 channels, got {channels}')
    half = channels // 2
    wavelength = temperature ** (torch.arange(0, half, 2, dtype=torch.float32, device=device) / half)

    def axis(n: int) -> Tensor:
        position = torch.arange(1, n + 1, dtype=torch.float32, device=device) / (n + 1e-6) * 2 * math.pi
        angle = position[:, None] / wavelength
        return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)

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
        points, frequency = 2 * points.float() - 1, self.positional_encoding_gaussian_matrix.float()
        # Not a matrix product: autocast would round the angles to half precision.
        angle = 2 * math.pi * (points[..., :1] * frequency[0] + points[..., 1:] * frequency[1])
        return torch.cat((angle.sin(), angle.cos()), dim=-1)

    def forward(self, height: int, width: int) -> Tensor:
        """Encode the pixel centres of a grid: float32 (1, H * W, C)."""
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1)
        return self.encode(grid).flatten(0, 1)[None]
