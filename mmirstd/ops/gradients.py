"""Gradients of images and masks."""

import torch.nn.functional as F
from torch import Tensor


def gradient_magnitude(x: Tensor, eps: float = 1e-6) -> Tensor:
    """Length of the differences between the two neighbors of a pixel, down and right; zero lies beyond the border.

    It is sqrt((x[i + 1, j] - x[i - 1, j])^2 + (x[i, j + 1] - x[i, j - 1])^2 + eps), of each channel alone, as in the
    public code of ISNet (RuiZhang97/ISNet at c5a7548).

    Args:
        x: (B, C, H, W), of a floating type.
        eps: keeps the derivative finite where all is flat.

    Returns:
        (B, C, H, W).
    """
    kernels = x.new_zeros(2, 1, 3, 3)
    kernels[0, 0, 0, 1] = kernels[1, 0, 1, 0] = -1
    kernels[0, 0, 2, 1] = kernels[1, 0, 1, 2] = 1
    channels = x.shape[1]
    differences = F.conv2d(x, kernels.repeat(channels, 1, 1, 1), padding=1, groups=channels).unflatten(1, (channels, 2))
    return (differences.square().sum(2) + eps).sqrt()
