"""Convolutions and residual blocks (He et al., CVPR 2016) that published IRSTD networks are made of."""

from torch import Tensor, nn

from mmirstd.models.layers.reparam import ConvBN


class ConvBNReLU(nn.Sequential):
    """Bias-free convolution with "same" padding, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> None:
        super().__init__(ConvBN(in_channels, out_channels, kernel_size, stride), nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut, which is a 1x1 convolution where the shape changes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the first convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(in_channels, out_channels, 3, stride)
        self.conv2 = ConvBN(out_channels, out_channels, 3)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and in_channels == out_channels
            else ConvBN(in_channels, out_channels, 1, stride)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        return self.relu(self.conv2(self.conv1(x)) + self.shortcut(x))
