"""A U-Net of residual blocks: the encoder of DNANet, MSHNet and SCTransNet, and the decoder of MSHNet.

MSHNet (Liu et al., CVPR 2024) is this encoder and decoder with :class:`SideOutputHead`; the facts are those of
Lliu666/MSHNet at 7c5194b (no license).
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.backbones.unet_encoder import PooledLevels
from mmirstd.models.layers.residual import residual_stage
from mmirstd.models.layers.resizing import resize_like
from mmirstd.registry import MODELS


@MODELS.register_module()
class ResidualUNetEncoder(PooledLevels):
    """Levels of residual blocks with 2x2 max pooling in between.

    Args:
        in_channels: channels of the image.
        channels: widths of the levels, fine to coarse.
        num_blocks: residual blocks of each level.
        stem: whether a 1x1 convolution to channels[0] comes first.
        attention: whether blocks weigh channels and pixels.
        slope: slope of the ReLUs below zero.
        residual: whether blocks have a shortcut.
        init_cfg: MMEngine's initialization.
    """

    pools_upwards = False

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        num_blocks: Sequence[int] = (1, 2, 2, 2, 2),
        stem: bool = False,
        attention: bool = True,
        slope: float = 0.0,
        residual: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels, self.out_channels = in_channels, list(channels)
        self.stem = nn.Conv2d(in_channels, channels[0], 1) if stem else nn.Identity()
        widths = [channels[0] if stem else in_channels, *channels]
        self.levels = nn.ModuleList(
            residual_stage(a, b, blocks, bias=True, attention=attention, slope=slope, residual=residual)
            for a, b, blocks in zip(widths[:-1], channels, num_blocks, strict=True)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) to maps (B, channels[i], H // 2^i, W // 2^i)."""
        return super().forward(self.stem(x))


@MODELS.register_module()
class ResidualUNetDecoder(BaseModule):
    """Residual blocks on each level and what comes from below it, resized; one map a level but the coarsest.

    Args:
        in_channels: widths of the input maps, fine to coarse; the output has the same, without the last.
        num_blocks: residual blocks of each level of the output.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (16, 32, 64, 128, 256),
        num_blocks: Sequence[int] = (1, 2, 2, 2),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels, self.out_channels = list(in_channels), list(in_channels[:-1])
        self.levels = nn.ModuleList(
            residual_stage(fine + coarse, fine, blocks, bias=True, attention=True)
            for fine, coarse, blocks in zip(in_channels[:-1], in_channels[1:], num_blocks, strict=True)
        )

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps (B, in_channels[i], H_i, W_i) to maps of the same shapes, without the last."""
        levels = [features[-1]]
        for i in reversed(range(len(self.levels))):
            up = resize_like(levels[0], features[i], align_corners=True)
            levels.insert(0, self.levels[i](torch.cat((features[i], up), dim=1)))
        return tuple(levels[:-1])
