"""UIUNet (Wu et al., TIP 2023): U-Nets in a U-Net, with interactive cross-attention.

The facts are those of danfenghong/IEEE_TIP_UIU-Net at 625023a (Apache-2.0). The blocks are the residual U-blocks of
U^2-Net (Qin et al., Pattern Recognition 2020). The head is :class:`SideOutputHead`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.backbones.unet_encoder import PooledLevels
from mmirstd.models.baselines.acm import gate_bottleneck
from mmirstd.models.layers.gates import SpatialGate
from mmirstd.models.layers.residual import ConvBNReLU
from mmirstd.models.layers.resizing import resize_like
from mmirstd.registry import MODELS


class ResidualUBlock(nn.Module):
    """A small U-Net with a shortcut.

    Args:
        in_channels: channels of the input.
        channels: width inside.
        out_channels: channels of the output.
        depth: convolutions on the way down. 2x2 pooling stands between them but before the last, which is dilated by 2.
        dilated: whether dilations of 1, 2, 4, ... take the place of pooling.
    """

    def __init__(self, in_channels: int, channels: int, out_channels: int, depth: int, dilated: bool = False) -> None:
        super().__init__()
        self.dilated = dilated
        down = [2**i if dilated else 1 for i in range(depth)]
        if not dilated:
            down[-1] = 2
        self.first = ConvBNReLU(in_channels, out_channels, bias=True)
        self.down = nn.ModuleList(
            ConvBNReLU(channels if i else out_channels, channels, dilation=dilation, bias=True)
            for i, dilation in enumerate(down)
        )
        self.up = nn.ModuleList(
            ConvBNReLU(2 * channels, channels if i else out_channels, dilation=dilation, bias=True)
            for i, dilation in enumerate(down[:-1])
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        x = shortcut = self.first(x)
        maps: list[Tensor] = []
        for i, conv in enumerate(self.down):
            pooled = i and not self.dilated and i < len(self.down) - 1
            x = conv(F.max_pool2d(x, 2, ceil_mode=True) if pooled else x)
            maps.append(x)
        for i in reversed(range(len(self.up))):
            x = self.up[i](torch.cat((resize_like(x, maps[i]), maps[i]), dim=1))
        return x + shortcut


def u_block(in_channels: int, channels: int, out_channels: int, depth: int) -> ResidualUBlock:
    """A residual U-block; depth 0 is the dilated one, of four convolutions."""
    return ResidualUBlock(in_channels, channels, out_channels, depth or 4, dilated=not depth)


@MODELS.register_module()
class UBlockEncoder(PooledLevels):
    """Residual U-blocks with 2x2 max pooling in between.

    Args:
        in_channels: channels of the image.
        channels: widths of the levels, fine to coarse.
        inner_channels: width inside the block of each level.
        depths: depth of the block of each level; 0 is a dilated block.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (64, 128, 256, 512, 512, 512),
        inner_channels: Sequence[int] = (32, 32, 64, 128, 256, 256),
        depths: Sequence[int] = (7, 6, 5, 4, 0, 0),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels, self.out_channels = in_channels, list(channels)
        shapes = zip([in_channels, *channels[:-1]], inner_channels, channels, depths, strict=True)
        self.levels = nn.ModuleList(u_block(*shape) for shape in shapes)


class InteractiveCrossAttention(nn.Module):
    """Weighs the channels of a shallow map by the means of a deep one, and the pixels of the deep one by the result.

    Args:
        channels: width of both maps.
        reduction: hidden channels are a `reduction`-th.
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        self.deep = ConvBNReLU(channels, channels, 1, bias=True)
        self.top_down = nn.Sequential(nn.AdaptiveAvgPool2d(1), *gate_bottleneck(channels, reduction))
        self.squeeze = ConvBNReLU(channels, max(channels // reduction, 1), 1, bias=True)
        self.bottom_up = SpatialGate(3)
        self.post = ConvBNReLU(channels, channels, bias=True)

    def forward(self, deep: Tensor, shallow: Tensor) -> Tensor:
        """Two maps (B, channels, H, W) to both, one after the other: (B, 2 channels, H, W)."""
        deep = self.deep(deep)
        shallow = shallow * self.top_down(deep)
        deep = deep * self.bottom_up.weights(self.squeeze(shallow))
        # One convolution for both; its batch norm takes its statistics from each alone.
        return torch.cat((self.post(2 * shallow), self.post(2 * deep)), dim=1)


@MODELS.register_module()
class InteractiveUBlockDecoder(BaseModule):
    """Residual U-blocks on each level and what comes from below it, interacting but on the finest level.

    Args:
        in_channels: widths of the input maps, fine to coarse. What comes from below must have the width of the level.
        channels: widths of the output maps; the last is that of the coarsest input, which is handed on.
        inner_channels: width inside the block of each level.
        depths: depth of the block of each level; 0 is a dilated block.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 128, 256, 512, 512, 512),
        channels: Sequence[int] = (64, 64, 128, 256, 512, 512),
        inner_channels: Sequence[int] = (16, 32, 64, 128, 256),
        depths: Sequence[int] = (7, 6, 5, 4, 0),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if list(channels[1:]) != list(in_channels[:-1]) or channels[-1] != in_channels[-1]:
            raise ValueError(
                f'InteractiveUBlockDecoder: channels={list(channels)} do not fit in_channels={list(in_channels)}: a '
                'level of the output has the width of the finer level of the input, the coarsest its own'
            )
        self.in_channels, self.out_channels = list(in_channels), list(channels)
        self.levels = nn.ModuleList(
            u_block(2 * width, inner, out, depth)
            for width, inner, out, depth in zip(in_channels[:-1], inner_channels, channels[:-1], depths, strict=True)
        )
        self.fusions = nn.ModuleList(InteractiveCrossAttention(width) for width in in_channels[1:-1])

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps (B, in_channels[i], H_i, W_i) to maps (B, channels[i], H_i, W_i)."""
        levels = [features[-1]]
        for i in reversed(range(len(self.levels))):
            deep, shallow = resize_like(levels[0], features[i]), features[i]
            both = self.fusions[i - 1](deep, shallow) if i else torch.cat((deep, shallow), dim=1)
            levels.insert(0, self.levels[i](both))
        return tuple(levels)
