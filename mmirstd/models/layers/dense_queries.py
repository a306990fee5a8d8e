"""SimIR's dense queries: a map of a few channels at the resolution of the stem (Zhang et al., ACM MM 2024, Sec. 3)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmirstd.models.layers.attention import MLP
from mmirstd.models.layers.deformable import DeformableLayer
from mmirstd.models.layers.position import sine_position
from mmirstd.models.layers.resizing import resize_like
from mmirstd.registry import MODELS


def projection(in_channels: int, out_channels: int, norm_cfg: dict, act_cfg: dict) -> ConvModule:
    """Make SimIR's projection: conv1x1, norm, activation."""
    return ConvModule(in_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg)


@MODELS.register_module()
class ConvDenseUpdate(nn.Module):
    """Update dense queries by a convolution, as the paper says.

    The features, resized, are added to the dense queries; conv3x3, norm and activation make of the sum what is added to
    these. The features get the mean of the updated dense queries over each of their pixels.

    Args:
        channels: c.
        norm_cfg: norm of the convolution.
        act_cfg: its activation.
    """

    def __init__(self, channels: int, norm_cfg: dict, act_cfg: dict) -> None:
        super().__init__()
        self.conv = ConvModule(channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)

    def forward(self, dense: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Update dense queries (B, c, H, W) and features (B, c, h, w)."""
        joined = dense + resize_like(feature, dense)
        dense = dense + self.conv(joined)
        return dense, F.adaptive_avg_pool2d(dense, feature.shape[2:])


@MODELS.register_module()
class DeformableDenseUpdate(nn.Module):
    """Update dense queries and features by a layer of multi-scale deformable attention, as the released code does.

    Args:
        channels: c, a multiple of `num_heads` and of 4.
        norm_cfg: unused; the layer has layer norms.
        act_cfg: unused; the layer has ReLU.
        num_heads: heads of the attention.
        num_points: points that a head reads on each of the two maps.
        feedforward_channels: hidden width of the FFN.
        dropout: dropout of the layer.
    """

    def __init__(
        self,
        channels: int,
        norm_cfg: dict,
        act_cfg: dict,
        num_heads: int = 8,
        num_points: int = 4,
        feedforward_channels: int = 2048,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.layer = DeformableLayer(channels, 2, num_heads, num_points, feedforward_channels, dropout)

    def forward(self, dense: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Update dense queries (B, c, H, W) and features (B, c, h, w)."""
        maps = (dense, feature)
        like = {'device': dense.device, 'dtype': dense.dtype}
        dense, feature = self.layer(maps, [sine_position(*m.shape[2:], m.shape[1], **like) for m in maps])
        return dense, feature


class DenseQueries(nn.Module):
    """All about the dense queries: made from the stem's features, updated, added back, turned into the early mask.

    Args:
        channels: c, width of the dense queries.
        stem_channels: width of the stem's features.
        in_channels: widths of the features at the updates.
        update: config of the update, of which each place has its own; it is given `channels`, `norm_cfg` and
            `act_cfg`.
        carry_all: whether every update changes the dense queries that the next one takes in. The released code
            carries the first update on alone; of the others the last makes the early mask.
        mask_cfg: (width of the sparse query, width in which sparse and dense are multiplied, layers of the MLP) for
            the early mask; None leaves it out.
        norm_cfg: norm of the projections.
        act_cfg: their activation.
    """

    def __init__(
        self,
        channels: int,
        stem_channels: int,
        in_channels: Sequence[int],
        update: dict,
        carry_all: bool,
        mask_cfg: tuple[int, int, int] | None,
        norm_cfg: dict,
        act_cfg: dict,
    ) -> None:
        super().__init__()
        self.carry_all = carry_all
        layers = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        self.project_stem = projection(stem_channels, channels, **layers)
        self.project_in = nn.ModuleList(projection(width, channels, **layers) for width in in_channels)
        self.updates = nn.ModuleList(MODELS.build({'channels': channels} | layers | update) for _ in in_channels)
        self.project_out = nn.ModuleList(projection(channels, width, **layers) for width in in_channels)
        self.mask_norm = None
        if mask_cfg is not None:
            sparse, width, layers = mask_cfg
            self.mask_norm = nn.LayerNorm(sparse)
            self.mask_mlp = MLP(sparse, sparse, width, layers)
            self.mask_conv = nn.Conv2d(channels, width, 3, padding=1)

    def update(self, index: int, dense: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Update at one place.

        Args:
            index: number of the update.
            dense: dense queries (B, c, H, W).
            x: features there (B, C, h, w).

        Returns:
            dense queries as this update leaves them, and what is to be added to `x`.
        """
        dense, feature = self.updates[index](dense, self.project_in[index](x))
        return dense, self.project_out[index](feature)

    def early_mask(self, query: Tensor, dense: Tensor) -> Tensor:
        """Multiply MLP(LayerNorm(query)), of (B, C), with conv3x3(dense): logits (B, 1, H, W)."""
        return torch.einsum('bc,bchw->bhw', self.mask_mlp(self.mask_norm(query)), self.mask_conv(dense))[:, None]
