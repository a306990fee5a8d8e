"""ISNet (Zhang et al., CVPR 2022): the edge of the targets, found from the gradient of the image, guides the mask.

The facts are those of RuiZhang97/ISNet, branch master, at c5a7548 (MIT).
"""

import itertools
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.baselines.acm import ACMEncoder, transposed
from mmirstd.models.decode_heads.edge_head import EdgeHead
from mmirstd.models.layers.deformable import DeformableConv2d
from mmirstd.models.layers.features import require_widths
from mmirstd.models.layers.reparam import ConvBN
from mmirstd.models.layers.residual import ConvBNReLU, residual_stage
from mmirstd.models.layers.resizing import resize_like
from mmirstd.ops.gradients import gradient_magnitude
from mmirstd.registry import MODELS


@MODELS.register_module()
class GradientEncoder(ACMEncoder):
    """:class:`ACMEncoder`, with the gradient of the image as the first map."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.out_channels = [self.in_channels, *self.out_channels]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) to a map of the same shape and those of :class:`ACMEncoder`."""
        return gradient_magnitude(x), *super().forward(x)


class OrientedAttention(nn.Module):
    """A deep map weighs a shallow one by rows and by columns (TTOA).

    Args:
        channels: width of both maps, an even number.
        kernel_size: points of the deformable convolutions along a row and along a column.
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(nn.Conv2d(channels, channels // 2, 1), nn.Conv2d(channels // 2, channels, 1))
        self.row = DeformableConv2d(channels, channels, (1, kernel_size))
        self.column = DeformableConv2d(channels, channels, (kernel_size, 1))

    def forward(self, deep: Tensor, shallow: Tensor) -> Tensor:
        """Fuse two maps (B, C, H, W) to one."""
        deep, shallow = self.squeeze(deep), self.squeeze(shallow)
        return 2 * deep + shallow * (self.row(deep).sigmoid() + self.column(deep).sigmoid())


@MODELS.register_module()
class OrientedPyramid(BaseModule):
    """A top-down path whose levels are fused by oriented attention.

    Args:
        in_channels: widths of the input maps, fine to coarse. The first, the gradient of the image, is handed on.
        num_blocks: residual blocks behind the fusion of each level, fine to coarse.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (3, 16, 32, 64),
        num_blocks: Sequence[int] = (4, 4),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        _, *levels = in_channels
        if len(levels) < 2 or len(num_blocks) != len(levels) - 1:
            raise ValueError(
                f'OrientedPyramid: in_channels={list(in_channels)} must name a gradient and two levels or more, and '
                f'num_blocks={list(num_blocks)} one number for each level but the coarsest'
            )
        self.in_channels = self.out_channels = list(in_channels)
        self.ups = nn.ModuleList(transposed(deep, fine) for fine, deep in itertools.pairwise(levels))
        self.fusions = nn.ModuleList(OrientedAttention(width) for width in levels[:-1])
        self.blocks = nn.ModuleList(
            residual_stage(width, width, blocks) for width, blocks in zip(levels[:-1], num_blocks, strict=True)
        )

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps (B, in_channels[i], H_i, W_i), as they came.

        Raises:
            ValueError: if the maps are not those of `in_channels`.
        """
        require_widths(features, self)
        gradient, *levels = features
        for i in reversed(range(len(self.fusions))):
            up = resize_like(self.ups[i](levels[i + 1]), levels[i])
            levels[i] = self.blocks[i](self.fusions[i](up, levels[i]))
        return gradient, *levels


class MaskGate(nn.Module):
    """Weighs pixels by 1 to 2, told by the map and a mask, and mixes channels (Takikawa et al., GSCNN, ICCV 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.BatchNorm2d(channels + 1),
            nn.Conv2d(channels + 1, channels + 1, 1),
            nn.ReLU(inplace=True),
            ConvBN(channels + 1, 1, bias=True),
            nn.Sigmoid(),
        )
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, H, W) and (B, 1, H, W) to (B, C, H, W)."""
        return self.mix(x * (1 + self.gate(torch.cat((x, mask), dim=1))))


class FiniteDifferenceBlock(nn.Module):
    """Two residual steps and a gate, summed as by a scheme of finite differences (TFD).

    With r(x) what a step adds to x, d = relu(r_1(u)) and e = relu(r_2(relu(u + r_1(u)))), the output is
    3 d + e + gate(e, mask).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Sequential(ConvBNReLU(channels, channels), ConvBN(channels, channels, 3)) for _ in range(2)
        )
        self.gate = MaskGate(channels)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, H, W) and the logits of a mask (B, 1, H, W) to (B, C, H, W)."""
        added = self.steps[0](x)
        second = self.steps[1]((x + added).relu()).relu()
        return 3 * added.relu() + second + self.gate(second, mask)


@MODELS.register_module()
class ShapeHead(EdgeHead):
    """The gradient of the image becomes an edge, guided by masks of all maps; the edge amplifies the finest map.

    Args:
        in_channels: widths of the gradient of the image and of the maps, fine to coarse.
        edge_channels: width of the way to the edge, at the size of the image.
        kwargs: arguments of :class:`EdgeHead`.
    """

    def __init__(self, in_channels: Sequence[int], edge_channels: int = 64, **kwargs: object) -> None:
        gradient, *maps = in_channels
        super().__init__(maps[0], in_index=1, **kwargs)
        self.edge_in = nn.Conv2d(gradient, edge_channels, 1)
        self.guides = nn.ModuleList(nn.Conv2d(width, 1, 1) for width in maps)
        self.blocks = nn.ModuleList(FiniteDifferenceBlock(edge_channels) for _ in maps)
        self.edge_out = nn.Conv2d(edge_channels, 1, 1, bias=False)

    def forward_maps(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Logits of mask and edge, each (B, 1, H, W) at the size of the image."""
        gradient, *maps = inputs
        x = self.edge_in(gradient)
        for i in reversed(range(len(maps))):
            x = self.blocks[i](x, resize_like(self.guides[i](maps[i]), gradient, align_corners=True))
        edge = self.edge_out(x)
        return self.classify(resize_like(maps[0], gradient) * (1 + edge.sigmoid())), edge
