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
