"""Resizing of feature maps, at sizes that an export may leave open."""

import torch
import torch.nn.functional as F
from torch import Tensor


def is_open(*sizes: int | torch.SymInt) -> bool:
    """Whether an export, or a compilation, leaves one of the sizes open.

    A condition on such a size would fix it, or bound it to what the example has. Code then takes the general way, which
    for the sizes that have a short cut gives the same values.
    """
    return any(isinstance(size, torch.SymInt) for size in sizes)


def resize_like(x: Tensor, like: Tensor, align_corners: bool = False) -> Tensor:
    """Resize (B, C, h, w) bilinearly to the height and width of `like` (B, C', H, W).

    `align_corners` puts the outer pixels of both maps on each other, as older networks do.
    """
    if not is_open(*x.shape[2:], *like.shape[2:]) and x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, like.shape[2:], mode='bilinear', align_corners=align_corners)


def adaptive_mean(x: Tensor, parts: int) -> Tensor:
    """Means (B, C, `parts`, `parts`) of a map (B, C, H, W), as ``torch.nn.functional.adaptive_avg_pool2d``.

    That function has no graph for open sizes; there, rows and columns are averaged by two multiplications.
    """
    height, width = x.shape[2:]
    if not is_open(height, width):
        return F.adaptive_avg_pool2d(x, parts)
    return _shares(height, parts, x) @ x @ _shares(width, parts, x).transpose(0, 1)


def _shares(size: int | torch.SymInt, parts: int, like: Tensor) -> Tensor:
    """Matrix (parts, size) that averages each part of a row; a part holds each pixel that it touches."""
    part = torch.arange(parts, device=like.device)[:, None]
    pixel = torch.arange(size, device=like.device)
    # Pixel p touches part i where p + 1 > i * size / parts and p < (i + 1) * size / parts.
    inside = ((pixel + 1) * parts > part * size) & (pixel * parts < (part + 1) * size)
    return inside.to(like.dtype) / inside.sum(1, keepdim=True).to(like.dtype)
