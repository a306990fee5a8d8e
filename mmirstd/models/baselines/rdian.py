"""RDIAN (Sun et al., TGRS 2023): receptive-field and direction induced attention network.

The facts are those of sun11999/RDIAN at e1df518 (MIT).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.layers.gates import ChannelGate, SpatialGate
from mmirstd.models.layers.residual import ConvBNReLU
from mmirstd.models.layers.resizing import resize_like
from mmirstd.registry import MODELS

SLOPE = 0.01
# Offsets (down, right) of four of the eight neighbors at distance 2; the other four are opposite.
DIRECTIONS = ((-2, -2), (-2, 0), (-2, 2), (0, 2))


class DirectionalContrast(nn.Module):
    """Where a pixel stands out from both sides, summed over four directions, as a weight in (0, 1).

    The differences of a pixel and its two opposite neighbors at distance 2 (zero beyond the border) are multiplied:
    an edge has products near zero or below, a point has none below. The filters are not learned.
    """

    def __init__(self) -> None:
        super().__init__()
        kernels = torch.zeros(2, len(DIRECTIONS), 1, 5, 5)
        kernels[..., 2, 2] = 1
        for i, (down, right) in enumerate(DIRECTIONS):
            kernels[0, i, 0, 2 + down, 2 + right] = kernels[1, i, 0, 2 - down, 2 - right] = -1
        self.register_buffer('kernels', kernels.flatten(0, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Image (B, C, H, W) to weights (B, 1, H, W), of the mean over its channels."""
        differences = F.conv2d(x.mean(1, keepdim=True), self.kernels, padding=2)
        one, other = differences.chunk(2, dim=1)
        # Products of half precision overflow at 256.
        wide = torch.promote_types(x.dtype, torch.float32)
        return (one.to(wide) * other.to(wide)).sum(1, keepdim=True).sigmoid().to(x.dtype)


class BottleneckBlock(nn.Module):
    """Two convolutions through half the channels, and a shortcut."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        half = max(channels // 2, 1)
        self.convs = nn.Sequential(
            ConvBNReLU(channels, half, kernel_size, slope=SLOPE), ConvBNReLU(half, channels, kernel_size, slope=SLOPE)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), as it came."""
        return x + self.convs(x)


@MODELS.register_module()
class DirectionalEncoder(BaseModule):
    """A convolution whose output is weighed by directional contrast, and branches of several receptive fields.

    Args:
        in_channels: channels of the image.
        channels: widths of the maps at strides 1 and 2.
        kernel_sizes: kernel size of each branch.
        num_blocks: blocks of each branch.
        reduction: the network that weighs channels has a `reduction`-th of them inside.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: tuple[int, int] = (16, 32),
        kernel_sizes: Sequence[int] = (1, 3, 5, 7),
        num_blocks: Sequence[int] = (1, 2, 2, 2),
        reduction: int = 32,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        fine, coarse = channels
        self.in_channels, self.out_channels = in_channels, list(channels)
        self.contrast = DirectionalContrast()
        self.stem = ConvBNReLU(in_channels, fine, slope=SLOPE)
        self.down = ConvBNReLU(fine, coarse, stride=2, slope=SLOPE)
        self.branches = nn.ModuleList(
            nn.Sequential(*(BottleneckBlock(coarse, size) for _ in range(blocks)))
            for size, blocks in zip(kernel_sizes, num_blocks, strict=True)
        )
        self.fuse = ConvBNReLU(len(kernel_sizes) * coarse, coarse, slope=SLOPE)
        self.gates = nn.Sequential(ChannelGate(coarse, reduction, bias=True), SpatialGate(norm=True))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, in_channels, H, W) to maps (B, channels[0], H, W) and (B, channels[1], ceil(H / 2), ceil(W / 2))."""
        fine = self.stem(x)
        coarse = self.down(fine * (1 + self.contrast(x)))
        return fine, self.gates(self.fuse(torch.cat([branch(coarse) for branch in self.branches], dim=1)))


@MODELS.register_module()
class AdditiveUpsampling(BaseModule):
    """The sum of two maps at the size of the finer one, which a 1x1 convolution brings to the width of the other.

    Args:
        in_channels: widths of the finer and the coarser map.
        init_cfg: MMEngine's initialization.
    """

    def __init__(self, in_channels: tuple[int, int] = (16, 32), init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.in_channels, self.out_channels = list(in_channels), [in_channels[1]]
        self.lateral = ConvBNReLU(*in_channels, 1, slope=SLOPE)

    def forward(self, features: tuple[Tensor, Tensor]) -> tuple[Tensor]:
        """Maps (B, in_channels[0], H, W) and (B, in_channels[1], h, w) to (B, in_channels[1], H, W)."""
        fine, coarse = features
        return (F.relu(resize_like(coarse, fine) + self.lateral(fine)),)
