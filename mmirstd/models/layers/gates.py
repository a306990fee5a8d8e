"""Gates that weigh channels or pixels by pooled statistics (Woo et al., CBAM, ECCV 2018)."""

import torch
from torch import Tensor, nn

from mmirstd.models.layers.reparam import ConvBN


class ChannelGate(nn.Module):
    """Weighs each channel by its mean and its maximum over the image, through one small network.

    Args:
        channels: channels of the map.
        reduction: hidden channels are a `reduction`-th, at least one.
        bias: whether the small network has biases.
        maximum: False for the mean alone (Hu et al., squeeze and excitation, CVPR 2018).
    """

    def __init__(self, channels: int, reduction: int = 16, bias: bool = False, maximum: bool = True) -> None:
        super().__init__()
        self.maximum = maximum
        hidden = max(channels // reduction, 1)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=bias), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1, bias=bias)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), as it came."""
        logits = self.mlp(x.mean((2, 3), keepdim=True))
        if self.maximum:
            logits = logits + self.mlp(x.amax((2, 3), keepdim=True))
        return x * logits.sigmoid()


class SpatialGate(nn.Module):
    """Weighs each pixel by the mean and the maximum over its channels, through one convolution.

    Args:
        kernel_size: size of the convolution.
        norm: whether a batch norm follows it.
    """

    def __init__(self, kernel_size: int = 7, norm: bool = False) -> None:
        super().__init__()
        self.conv = (
            ConvBN(2, 1, kernel_size) if norm else nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        )

    def weights(self, x: Tensor) -> Tensor:
        """Weights (B, 1, H, W) in (0, 1) of a map (B, C, H, W)."""
        pooled = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), dim=1)
        return self.conv(pooled).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), as it came."""
        return x * self.weights(x)
