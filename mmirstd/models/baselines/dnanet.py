"""The neck of DNANet (Li et al., TIP 2023): densely nested interaction of all levels.

The facts are those of YeRen123455/Infrared-Small-Target-Detection at 21584be (MIT). DNANet's encoder is
:class:`ResidualUNetEncoder`. The paper's depths are numbers of blocks: one (ResNet-10), two (ResNet-18) or (3, 4, 6, 3)
(ResNet-34) a level below the finest, or one without a shortcut (VGG-10; the code has its block, and its training never
takes it).
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.layers.features import require_widths
from mmirstd.models.layers.residual import residual_stage
from mmirstd.models.layers.resizing import resize_like
from mmirstd.registry import MODELS


@MODELS.register_module()
class DenselyNestedPyramid(BaseModule):
    """Nodes (i, j) of level i and column j, each fed by all nodes before it on its level and by those above and below.

    Node (i, j) takes (i, 0) to (i, j - 1), (i + 1, j - 1) and, from the level above, (i - 1, j). The last nodes of all
    levels are fused at the finest.

    Args:
        in_channels: widths of the input maps, fine to coarse.
        num_blocks: residual blocks of the nodes of each level.
        residual: whether the blocks have a shortcut.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (16, 32, 64, 128, 256),
        num_blocks: Sequence[int] = (1, 2, 2, 2, 2),
        residual: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) < 2 or len(num_blocks) != len(in_channels):
            raise ValueError(
                f'DenselyNestedPyramid: in_channels={list(in_channels)} must name two levels or more, and '
                f'num_blocks={list(num_blocks)} as many'
            )
        n, finest = len(in_channels), in_channels[0]
        self.in_channels, self.out_channels = list(in_channels), [finest] * (n - 1)
        padded = [0, *in_channels]
        self.columns = nn.ModuleList(
            nn.ModuleList(
                residual_stage(
                    j * in_channels[i] + in_channels[i + 1] + padded[i],
                    in_channels[i],
                    num_blocks[i],
                    bias=True,
                    attention=True,
                    residual=residual,
                )
                for i in range(n - j)
            )
            for j in range(1, n)
        )
        self.laterals = nn.ModuleList(nn.Conv2d(width, finest, 1) for width in in_channels[1:])
        self.fuse = residual_stage(n * finest, finest, 1, bias=True, attention=True, residual=residual)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps (B, in_channels[i], H_i, W_i) to n - 1 maps (B, in_channels[0], H_0, W_0).

        They are nodes (0, 1), (0, 2), ..., which train with losses of their own, and last the fusion of all levels.

        Raises:
            ValueError: if the maps are not those of `in_channels`.
        """
        require_widths(features, self)
        rows = [[x] for x in features]
        for j, column in enumerate(self.columns, start=1):
            for i, node in enumerate(column):
                around = [rows[i + 1][j - 1]] + ([rows[i - 1][j]] if i else [])
                resized = [resize_like(x, features[i], align_corners=True) for x in around]
                rows[i].append(node(torch.cat((*rows[i], *resized), dim=1)))
        finest = rows[0]
        last = [
            resize_like(lateral(row[-1]), finest[-1], align_corners=True)
            for lateral, row in zip(self.laterals, rows[1:], strict=True)
        ]
        return (*finest[1:-1], self.fuse(torch.cat((*reversed(last), finest[-1]), dim=1)))
