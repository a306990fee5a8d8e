"""EdgeSAM's neck.

C. Zhou et al., "EdgeSAM: Prompt-In-the-Loop Distillation for SAM", IJCV 2025, arXiv:2312.06660.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.checkpoints.convert.edge_sam import convert_edge_sam_neck_state_dict
from mmirstd.checkpoints.state_dict import StateDict
from mmirstd.models.backbones.pretrained import SAMNeck
from mmirstd.models.published_weights import PublishedWeights
from mmirstd.registry import MODELS


@MODELS.register_module()
class EdgeSAMNeck(PublishedWeights, BaseModule):
    """Sum of a RepViT's last two maps, then SAM's neck; gives one map of the finer one's size.

    A 1x1 convolution takes each to the neck's width. The coarser one is then enlarged by bicubic interpolation.

    Args:
        in_channels: widths of the two maps, fine to coarse: those of strides 16 and 32 in EdgeSAM.
        out_channels: width of the neck.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE_OR_URL, prefix=None)`` takes the neck out of an EdgeSAM
            checkpoint, or this project's own.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (192, 384),
        out_channels: int = 256,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) != 2:
            raise ValueError(f'EdgeSAMNeck: in_channels must be two widths, got {in_channels}')
        self.fine, self.coarse = (nn.Conv2d(width, out_channels, 1, bias=False) for width in in_channels)
        self.neck = SAMNeck(out_channels, out_channels)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        """Map (..., (B, C1, H, W), (B, C2, h, w)) to one (B, out_channels, H, W)."""
        fine, coarse = inputs[-2:]
        fine = self.fine(fine)
        coarse = F.interpolate(self.coarse(coarse), fine.shape[2:], mode='bicubic', align_corners=False)
        return (self.neck(fine + coarse),)

    def convert_state_dict(self, state_dict: StateDict) -> tuple[StateDict, list[str]]:
        """Convert EdgeSAM's or our keys, see :class:`PublishedWeights`."""
        return convert_edge_sam_neck_state_dict(state_dict)
