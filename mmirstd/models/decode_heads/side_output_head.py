"""A head with a mask at each scale, and one that is made of all of them."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmseg.utils import ConfigType, SampleList
from torch import Tensor, nn

from mmirstd.models.decode_heads.binary_head import BinaryHead
from mmirstd.models.layers.resizing import resize_like
from mmirstd.registry import MODELS


@MODELS.register_module()
class SideOutputHead(BinaryHead):
    """Convolutions make a mask of each map; a convolution over all masks, at the size of the finest, fuses them.

    All masks are trained by the same losses, as in UIUNet, MSHNet and SCTransNet.

    Args:
        in_channels: widths of the maps, fine to coarse.
        kernel_size: size of the convolutions that make the masks.
        fuse_kernel_size: size of the one that fuses them.
        predict: 'fused', or 'finest' for the mask of the finest map; the others then only train.
        own_size: whether the mask of a map is trained at its own size, by labels that are targets where any pixel below
            them is. Otherwise it is resized to the labels.
        align_corners: see :func:`resize_like`.
        warmup_iters: in so many first iterations the mask of the finest map is trained alone, by `loss_warmup`.
        loss_warmup: losses of that time.
        kwargs: arguments of :class:`BinaryHead`.

    Raises:
        ValueError: for another `predict`, or a warm-up without losses.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        kernel_size: int = 1,
        fuse_kernel_size: int = 1,
        predict: Literal['fused', 'finest'] = 'fused',
        own_size: bool = False,
        align_corners: bool = False,
        warmup_iters: int = 0,
        loss_warmup: ConfigType | list[ConfigType] | None = None,
        **kwargs: object,
    ) -> None:
        if predict not in ('fused', 'finest'):
            raise ValueError(f"SideOutputHead: predict={predict!r} is neither 'fused' nor 'finest'")
        if (loss_warmup is None) != (not warmup_iters):
            raise ValueError(f'SideOutputHead: {warmup_iters=} and {loss_warmup=} go together')
        in_channels = list(in_channels)
        super().__init__(
            in_channels,
            in_channels[0],
            in_index=list(range(len(in_channels))),
            input_transform='multiple_select',
            align_corners=align_corners,
            **kwargs,
        )
        self.predict_fused, self.own_size, self.warmup_iters = predict == 'fused', own_size, warmup_iters
        configs = loss_warmup if isinstance(loss_warmup, (list, tuple)) else [loss_warmup] * bool(loss_warmup)
        self.loss_warmup = nn.ModuleList(MODELS.build(config) for config in configs)
        self.conv_seg = nn.Conv2d(in_channels[0], 1, kernel_size, padding=kernel_size // 2)
        others = nn.ModuleDict({
            'sides': nn.ModuleList(
                nn.Conv2d(width, 1, kernel_size, padding=kernel_size // 2) for width in in_channels[1:]
            ),
            'fuse': nn.Conv2d(len(in_channels), 1, fuse_kernel_size, padding=fuse_kernel_size // 2),
        })  # fmt: skip
        # A name of its own for what no prediction needs.
        self.others_name = 'fusion' if self.predict_fused else 'supervision'
        self.add_module(self.others_name, others)

    def masks(self, inputs: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor]:
        """Logits of each map at its own size, fine to coarse, and those of their fusion, each (B, 1, H_i, W_i)."""
        maps = self._transform_inputs(inputs)
        others = getattr(self, self.others_name)
        sides = [self.conv_seg(maps[0]), *(conv(x) for conv, x in zip(others['sides'], maps[1:], strict=True))]
        resized = [resize_like(side, sides[0], self.align_corners) for side in sides]
        return sides, others['fuse'](torch.cat(resized, dim=1))

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, 1, H, W) at the size of the finest map."""
        if self.predict_fused and not (self.training and self._warming_up()):
            return self.masks(inputs)[1]
        return self.conv_seg(self._transform_inputs(inputs)[0])

    def loss(self, inputs: tuple[Tensor, ...], batch_data_samples: SampleList, train_cfg: dict) -> dict[str, Tensor]:
        """Compute the losses of what is predicted by their names, and those of the other masks as ``*_sides``."""
        sides, fused = self.masks(inputs)
        label = self._stack_batch_gt(batch_data_samples).squeeze(1)
        if self._warming_up():
            # The others stay in the graph, for data-parallel training.
            losses = self._losses(sides[0], label, self.loss_warmup)
            losses['loss_idle'] = 0 * sum(x.sum() for x in (*sides[1:], fused))
            return losses | self._probability(sides[0], label)
        predicted, rest = (fused, sides) if self.predict_fused else (sides[0], [*sides[1:], fused])
        losses = self._losses(predicted, label)
        for mask in rest:
            for name, value in self._losses(mask, label, own_size=self.own_size).items():
                losses[f'{name}_sides'] = losses.get(f'{name}_sides', 0) + value
        return losses | self._probability(predicted, label)

    def _warming_up(self) -> bool:
        return self.warmup_iters > 0 and MessageHub.get_current_instance().get_info('iter', 0) < self.warmup_iters

    def _losses(
        self, logits: Tensor, label: Tensor, modules: nn.ModuleList | None = None, own_size: bool = False
    ) -> dict[str, Tensor]:
        if own_size:
            label = self._coarse_label(label, logits.shape[2:])
        return self.mask_losses(self._at_label_size(logits, label), label, modules)

    def _coarse_label(self, label: Tensor, size: torch.Size) -> Tensor:
        """Targets where any pixel below them is; ignored where all are."""
        pixels = torch.stack([label == 1, label != self.ignore_index], 1).float()
        target, counts = F.adaptive_max_pool2d(pixels, size).long().unbind(1)
        return torch.where(counts > 0, target, self.ignore_index)

    def _probability(self, logits: Tensor, label: Tensor) -> dict[str, Tensor]:
        return self.log_values(self._at_label_size(logits, label), label)
