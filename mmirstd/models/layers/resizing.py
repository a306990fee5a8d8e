"""Resizing of feature maps."""

import torch.nn.functional as F
from torch import Tensor


def resize_like(x: Tensor, like: Tensor) -> Tensor:
    """Resize (B, C, h, w) bilinearly to the height and width of `like` (B, C', H, W)."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, like.shape[2:], mode='bilinear', align_corners=False)
