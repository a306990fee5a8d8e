"""Padding of maps (B, H, W, C) to multiples of a size, and splitting into attention windows, at any size, and back.

Everything is computed from whole windows, so that an export can leave batch, height and width open.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmirstd.models.layers.resizing import is_open


def missing_to_multiple(extent: int, size: int) -> int:
    """How much is missing from `extent` to the next multiple of `size`."""
    # Not -extent % size: what is missing and what is there must add up to a product without knowing the extent.
    return (extent + size - 1) // size * size - extent


def split_windows(x: Tensor, size: int) -> Tensor:
    """Cut (B, H, W, C) into windows (B * n, size, size, C), row by row.

    Where `size` does not divide H or W, zeros are added at the bottom and on the right. They take part in attention, as
    in the models of which the weights are.
    """
    height, width = x.shape[1:3]
    bottom, right = (missing_to_multiple(extent, size) for extent in (height, width))
    if is_open(height, width) or bottom or right:
        x = F.pad(x, (0, 0, 0, right, 0, bottom))
    rows, columns = ((extent + size - 1) // size for extent in (height, width))
    x = x.unflatten(2, (columns, size)).unflatten(1, (rows, size))
    return x.transpose(2, 3).flatten(0, 2)


def join_windows(windows: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Undo :func:`split_windows`: (B * n, size, size, C) to (B, H, W, C); `shape` is (B, H, W)."""
    size = windows.shape[1]
    batch, height, width = shape
    rows, columns = ((extent + size - 1) // size for extent in (height, width))
    x = windows.unflatten(0, (batch, rows, columns)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    if is_open(height, width):  # a slice would ask whether it takes everything
        return _head(_head(x, 1, height), 2, width)
    return x[:, :height, :width]


def _head(x: Tensor, dim: int, length: int) -> Tensor:
    return x.index_select(dim, torch.arange(length, device=x.device))
