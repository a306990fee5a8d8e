"""RepISD-Net (Wu et al., TGRS 2023): a U-Net whose multi-branch blocks become plain convolutions for inference.

The facts are those of dalinlin-Wu/RepISD-Net at 490fc46 (no license).
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.layers.features import require_widths
from mmirstd.models.layers.reparam import ConvBN, fold_conv_bn
from mmirstd.models.layers.residual import ConvBNReLU
from mmirstd.models.layers.resizing import adaptive_mean, resize_like
from mmirstd.registry import MODELS


class CentralDifferenceConv(nn.Conv2d):
    """A convolution of the differences from the center: the kernel's sum is taken from its center (Yu et al., CDCN)."""

    def plain_weight(self) -> Tensor:
        """The kernel of the plain convolution that gives the same."""
        center = self.weight.sum((2, 3), keepdim=True)
        padding = self.kernel_size[0] // 2
        return self.weight - F.pad(center, [padding] * 4)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        return self._conv_forward(x, self.plain_weight(), self.bias)


class EdgeCompensationBlock(nn.Module):
    """The sum of a 3x3, a central difference and a 1x1 convolution and the input, a batch norm each, and a ReLU.

    The input joins only where the widths are equal. ``deploy`` holds the one 3x3 convolution ``reparam`` that equals
    the sum.
    """

    def __init__(self, in_channels: int, out_channels: int, deploy: bool = False) -> None:
        super().__init__()
        self.reparam = nn.Conv2d(in_channels, out_channels, 3, padding=1) if deploy else None
        if not deploy:
            self.conv = ConvBN(in_channels, out_channels, 3)
            self.difference = CentralDifferenceConv(in_channels, out_channels, 3, padding=1, bias=False)
            self.difference_bn = nn.BatchNorm2d(out_channels)
            self.conv1 = ConvBN(in_channels, out_channels, 1, bias=True)
            self.identity_bn = nn.BatchNorm2d(out_channels) if in_channels == out_channels else None
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        if self.reparam is not None:
            return self.relu(self.reparam(x))
        out = self.conv(x) + self.difference_bn(self.difference(x)) + self.conv1(x)
        return self.relu(out if self.identity_bn is None else out + self.identity_bn(x))

    @torch.no_grad()
    def switch_to_deploy(self) -> int:
        """Fold all branches in place; returns the number of folded modules (0 when they were folded before)."""
        if self.reparam is not None:
            return 0
        conv = fold_conv_bn(self.conv.conv, self.conv.bn)
        difference = fold_conv_bn(self.difference, self.difference_bn)
        conv1 = fold_conv_bn(self.conv1.conv, self.conv1.bn)
        conv.weight += difference.plain_weight() + F.pad(conv1.weight, [1] * 4)
        conv.bias += difference.bias + conv1.bias
        if self.identity_bn is not None:
            identity = nn.Conv2d(*conv.weight.shape[:2], 3, bias=False).to(conv.weight)
            nn.init.dirac_(identity.weight)
            identity = fold_conv_bn(identity, self.identity_bn)
            conv.weight += identity.weight
            conv.bias += identity.bias
        self.reparam = conv
        del self.conv, self.difference, self.difference_bn, self.conv1, self.identity_bn
        return 1


def _pair(in_channels: int, channels: int, out_channels: int, deploy: bool) -> nn.Sequential:
    return nn.Sequential(
        EdgeCompensationBlock(in_channels, channels, deploy), EdgeCompensationBlock(channels, out_channels, deploy)
    )


@MODELS.register_module()
class EdgeCompensationEncoder(BaseModule):
    """Two plain convolutions, then two edge compensation blocks a level behind max pooling.

    Args:
        in_channels: channels of the image.
        channels: width of each level, fine to coarse.
        deploy: whether it takes weights whose branches are folded; such a network cannot be trained further.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (32, 64, 64),
        deploy: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        finest = channels[0]
        self.in_channels, self.out_channels = in_channels, list(channels)
        self.stem = nn.Sequential(ConvBNReLU(in_channels, finest), ConvBNReLU(finest, finest))
        self.levels = nn.ModuleList(_pair(above, width, width, deploy) for above, width in itertools.pairwise(channels))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) to maps (B, channels[i], H / 2^i, W / 2^i), rounded down."""
        maps = [self.stem(x)]
        for level in self.levels:
            maps.append(level(self.pool(maps[-1])))
        return tuple(maps)


@MODELS.register_module()
class EdgeCompensationDecoder(BaseModule):
    """The way up of a U-Net by edge compensation blocks, and means of the whole map and its parts beside the last map.

    Args:
        in_channels: widths of the input maps, fine to coarse.
        pool_scales: rows and columns of the parts whose means are added (Zhao et al., PSPNet, CVPR 2017).
        deploy: as in :class:`EdgeCompensationEncoder`.
        init_cfg: MMEngine's initialization.

    Raises:
        ValueError: for fewer than two levels.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (32, 64, 64),
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        deploy: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) < 2:
            raise ValueError(f'EdgeCompensationDecoder: in_channels={list(in_channels)} must name two levels or more')
        finest, below = in_channels[0], in_channels[-1]
        self.levels = nn.ModuleList()
        for level in reversed(range(len(in_channels) - 1)):
            joined, width = in_channels[level] + below, in_channels[max(level - 1, 0)]
            self.levels.append(_pair(joined, joined // 2, width, deploy))
            below = width
        pooled = finest // max(len(pool_scales), 1)
        self.pool_scales = tuple(pool_scales)
        self.pools = nn.ModuleList(ConvBNReLU(finest, pooled, 1) for _ in pool_scales)
        self.in_channels, self.out_channels = list(in_channels), [finest + pooled * len(pool_scales)]

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Maps fine to coarse, (B, in_channels[i], h_i, w_i), to (B, out_channels[0], h_0, w_0)."""
        require_widths(features, self)
        *skips, x = features
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            x = F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=True)
            # A map of odd size has lost its last row or column on the way down.
            bottom, right = (full - half for full, half in zip(skip.shape[2:], x.shape[2:], strict=True))
            x = level(
                torch.cat([skip, F.pad(x, (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2))], 1)
            )
        means = (conv(adaptive_mean(x, scale)) for conv, scale in zip(self.pools, self.pool_scales, strict=True))
        return (torch.cat([x, *(resize_like(mean, x, align_corners=True) for mean in means)], dim=1),)
