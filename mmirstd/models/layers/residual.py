"""Convolutions and residual blocks (He et al., CVPR 2016) that published IRSTD networks are made of."""

from torch import Tensor, nn

from mmirstd.models.layers.gates import ChannelGate, SpatialGate
from mmirstd.models.layers.reparam import ConvBN


def rectifier(slope: float = 0.0) -> nn.Module:
    """A ReLU, or one that leaks with a slope."""
    return nn.LeakyReLU(slope, inplace=True) if slope else nn.ReLU(inplace=True)


class ConvBNReLU(nn.Sequential):
    """Convolution with "same" padding, batch norm, ReLU, which leaks where `slope` is not 0."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = False,
        slope: float = 0.0,
    ) -> None:
        conv = ConvBN(in_channels, out_channels, kernel_size, stride, dilation=dilation, bias=bias)
        super().__init__(conv, rectifier(slope))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, and a shortcut, which is a 1x1 convolution where the shape changes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: stride of the first convolution.
        bias: whether the convolutions have a bias.
        slope: slope of the ReLUs below zero.
        attention: whether channels and pixels are weighed before the shortcut is added (Woo et al., CBAM, ECCV 2018).
        residual: whether there is a shortcut; without it, this is a block of VGG.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        bias: bool = False,
        slope: float = 0.0,
        attention: bool = False,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(in_channels, out_channels, 3, stride, bias=bias, slope=slope)
        self.conv2 = ConvBN(out_channels, out_channels, 3, bias=bias)
        self.attention = nn.Sequential(ChannelGate(out_channels), SpatialGate()) if attention else nn.Identity()
        same_shape = stride == 1 and in_channels == out_channels
        self.shortcut = (
            None
            if not residual
            else nn.Identity()
            if same_shape
            else ConvBN(in_channels, out_channels, 1, stride, bias=bias)
        )
        self.relu = rectifier(slope)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        out = self.attention(self.conv2(self.conv1(x)))
        return self.relu(out if self.shortcut is None else out + self.shortcut(x))


def residual_stage(in_channels: int, out_channels: int, num_blocks: int, stride: int = 1, **kwargs) -> nn.Sequential:  # noqa: ANN003
    """`num_blocks` residual blocks, of which the first changes width and size."""
    first = ResidualBlock(in_channels, out_channels, stride, **kwargs)
    return nn.Sequential(first, *(ResidualBlock(out_channels, out_channels, **kwargs) for _ in range(num_blocks - 1)))
