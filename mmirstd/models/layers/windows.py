"""Splitting of maps (B, H, W, C) into attention windows, at any size, and back."""

import torch.nn.functional as F
from torch import Tensor


def split_windows(x: Tensor, size: int) -> Tensor:
    """Cut (B, H, W, C) into windows (B * n, size, size, C), row by row.

    Where `size` does not divide H or W, zeros are added at the bottom and on the right. They take part in attention, as
    in the models of which the weights are.
    """
    height, width = x.shape[1:3]
    bottom, right = -height % size, -width % size
    if bottom or right:
        x = F.pad(x, (0, 0, 0, right, 0, bottom))
    x = x.unflatten(2, (-1, size)).unflatten(1, (-1, size))
    return x.transpose(2, 3).flatten(0, 2)


def join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Undo :func:`split_windows`: (B * n, size, size, C) to (B, height, width, C)."""
    size = windows.shape[1]
    rows, columns = -(-height // size), -(-width // size)
    x = windows.unflatten(0, (-1, rows, columns)).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2)[:, :height, :width]
