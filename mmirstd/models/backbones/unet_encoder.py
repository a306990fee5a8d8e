"""The encoder of a plain U-Net (Ronneberger et al., MICCAI 2015), with "same" padding and batch norm."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.layers.reparam import ConvBN
from mmirstd.registry import MODELS


def conv_block(in_channels: int, out_channels: int, num_convs: int = 2) -> nn.Sequential:
    """`num_convs` times 3x3 convolution, batch norm, ReLU."""
    layers: list[nn.Module] = []
    for i in range(num_convs):
        layers += [ConvBN(out_channels if i else in_channels, out_channels, 3), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class PooledLevels(BaseModule):
    """Encoders that consist of `levels` with 2x2 max pooling in between: one map a level, strides 1, 2, 4, ..."""

    levels: nn.ModuleList
    pools_upwards = True  # odd sizes, so any image gives all levels

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) to maps (B, C_i, ceil(H / 2^i), ceil(W / 2^i)), or rounded down."""
        maps: list[Tensor] = []
        for i, level in enumerate(self.levels):
            x = level(F.max_pool2d(x, 2, ceil_mode=self.pools_upwards) if i else x)
            maps.append(x)
        return tuple(maps)


@MODELS.register_module()
class UNetEncoder(PooledLevels):
    """Blocks of 3x3 convolutions with 2x2 max pooling in between: one map a level, strides 1, 2, 4, ...

    Odd sizes are pooled upwards, so any image gives all levels.

    Args:
        in_channels: channels of the image.
        channels: widths of the levels, fine to coarse.
        num_convs: convolutions a level.
        init_cfg: of MMEngine.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        num_convs: int = 2,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if not channels or min(channels) < 1 or num_convs < 1:
            raise ValueError(f'UNetEncoder: channels={tuple(channels)} and {num_convs=} must be 1 or more')
        self.in_channels, self.out_channels = in_channels, list(channels)
        self.levels = nn.ModuleList(
            conv_block(a, b, num_convs) for a, b in zip([in_channels, *channels[:-1]], channels, strict=True)
        )
