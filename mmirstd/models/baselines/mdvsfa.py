"""The networks of MDvsFA (Wang et al., ICCV 2019): generators that miss little and raise few false alarms, and a
discriminator that tells their masks from true ones. :class:`AdversarialSegmentor` trains them together.

The facts are those of TianwangJia/MDvsFAcGAN at d9c4560 (no license), a PyTorch form of the authors' TensorFlow code.
Its comments say where it differs from the paper: the first generator has one layer more, the second one skip less.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmirstd.models.decode_heads.binary_head import BinaryHead
from mmirstd.models.decode_heads.conv_head import ConvHead
from mmirstd.models.layers.residual import ConvBNReLU
from mmirstd.registry import MODELS


@MODELS.register_module()
class ContextAggregation(BaseModule):
    """3x3 convolutions at full resolution whose dilations grow to the middle and shrink again.

    Args:
        in_channels: channels of the image.
        channels: width of each convolution.
        dilations: dilation of each convolution.
        skips: whether each convolution from the second behind the middle on also takes the output of the one before its
            mirror image.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = (64,) * 13,
        dilations: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 32, 16, 8, 4, 2, 1),
        skips: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(channels) != len(dilations) or not channels:
            raise ValueError(f'ContextAggregation: {len(channels)} channels and {len(dilations)} dilations')
        self.in_channels, self.out_channels = in_channels, [channels[-1]]
        n = len(channels)
        # The convolution whose output also goes into convolution i.
        self.sources = {i: n - i for i in range(n // 2 + 2, n)} if skips else {}
        widths = [in_channels, *channels]
        self.convs = nn.ModuleList(
            ConvBNReLU(
                widths[i] + (channels[self.sources[i]] if i in self.sources else 0),
                channels[i],
                dilation=dilations[i],
                bias=True,
                slope=0.2,
            )
            for i in range(n)
        )

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """(B, in_channels, H, W) to one map (B, channels[-1], H, W)."""
        maps: list[Tensor] = []
        for i, conv in enumerate(self.convs):
            x = conv(torch.cat((maps[self.sources[i]], x), dim=1) if i in self.sources else x)
            maps.append(x)
        return (x,)


@MODELS.register_module()
class ClampedHead(ConvHead):
    """A convolutional head whose output, clamped to [0, 1], is the probability itself.

    Args:
        eps: probabilities are kept this far from 0 and 1, where logits are infinite.
        kwargs: arguments of :class:`ConvHead`.
    """

    def __init__(self, *args: object, eps: float = 1e-6, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.eps = eps

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, 1, H, W), in float32 at least, of the map at `in_index`."""
        return clamped_logit(super().forward(inputs), self.eps)


def clamped_logit(probability: Tensor, eps: float) -> Tensor:
    """Logit, in float32 at least, of what is clamped to [eps, 1 - eps]."""
    return torch.logit(probability.to(torch.promote_types(probability.dtype, torch.float32)), eps=eps)


@MODELS.register_module()
class ParallelBackbones(BaseModule):
    """Backbones beside each other on the same image: their maps one after the other.

    Args:
        branches: configs of the backbones.
        init_cfg: MMEngine's initialization.

    Raises:
        ValueError: if they take images of different channels.
    """

    def __init__(self, branches: Sequence[dict], init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.branches = nn.ModuleList(MODELS.build(branch) for branch in branches)
        if len(channels := {branch.in_channels for branch in self.branches}) != 1:
            raise ValueError(f'ParallelBackbones: its branches take images of {sorted(channels)} channels')
        (self.in_channels,) = channels
        self.out_channels = [width for branch in self.branches for width in branch.out_channels]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) to the maps of all branches."""
        return tuple(level for branch in self.branches for level in branch(x))


@MODELS.register_module()
class ClampedHeads(BinaryHead):
    """One convolution for each of several maps, and the mean of the masks that they make.

    The output of a convolution, clamped to [0, 1], is a probability, as in :class:`ClampedHead`. A loss of its own
    trains each mask.

    Args:
        in_channels: widths of the maps.
        kernel_sizes: of the convolutions.
        predict: 'mean' of the probabilities, or the number of the only mask that is predicted, from 0.
        eps: probabilities are kept this far from 0 and 1, where logits are infinite.
        kwargs: arguments of :class:`BinaryHead`; `loss_decode` lists one loss for each map.

    Raises:
        ValueError: if the numbers differ, or for another `predict`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        kernel_sizes: Sequence[int],
        predict: Literal['mean'] | int = 'mean',
        eps: float = 1e-6,
        **kwargs: object,
    ) -> None:
        n = len(in_channels)
        index = {'in_index': list(range(n)), 'input_transform': 'multiple_select'}
        super().__init__(list(in_channels), in_channels[0], **index | kwargs)
        losses = len(self.loss_decode) if isinstance(self.loss_decode, nn.ModuleList) else 1
        if not n == len(kernel_sizes) == losses:
            raise ValueError(f'ClampedHeads: {n} maps, {len(kernel_sizes)} kernel_sizes and {losses} losses')
        if predict != 'mean' and predict not in range(n):
            raise ValueError(f"ClampedHeads: predict={predict!r} is neither 'mean' nor a number from 0 to {n - 1}")
        self.predict_index, self.eps = None if predict == 'mean' else predict, eps
        self.convs = nn.ModuleList(
            nn.Conv2d(width, 1, size, padding=size // 2) for width, size in zip(in_channels, kernel_sizes, strict=True)
        )

    def mask(self, features: tuple[Tensor, ...], index: int) -> Tensor:
        """Logits (B, 1, H, W), in float32 at least, of one map."""
        return clamped_logit(self.convs[index](self._transform_inputs(features)[index]), self.eps)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, 1, H, W), in float32 at least, of what is predicted."""
        if self.predict_index is not None:
            return self.mask(inputs, self.predict_index)
        masks = [self.mask(inputs, i) for i in range(len(self.convs))]
        size = masks[0].shape[2:]
        resized = [F.interpolate(m, size, mode='bilinear') if m.shape[2:] != size else m for m in masks]
        return clamped_logit(torch.stack(resized).sigmoid().mean(0), self.eps)

    def mask_loss(self, logits: Tensor, label: Tensor, index: int) -> dict[str, Tensor]:
        """Losses of one mask against labels (B, H, W), and what is logged beside them."""
        modules = self.loss_decode if isinstance(self.loss_decode, nn.ModuleList) else [self.loss_decode]
        return self.mask_losses(logits, label, modules[index]) | self.log_values(logits, label)

    def loss(self, inputs: tuple[Tensor, ...], batch_data_samples: SampleList, train_cfg: dict) -> dict[str, Tensor]:
        """Compute the losses of all masks, ``mask1.*`` and so on."""
        label = self._stack_batch_gt(batch_data_samples).squeeze(1)
        return {
            f'mask{i + 1}.{name}': value
            for i in range(len(self.convs))
            for name, value in self.mask_loss(self._at_label_size(self.mask(inputs, i), label), label, i).items()
        }


@MODELS.register_module()
class MaskDiscriminator(BaseModule):
    """Says where the mask of an image is from: it is true, or the work of one of several generators.

    The image and its mask are pooled to 32 x 32; four 3x3 convolutions and three layers of all their pixels follow. For
    inputs of 128 x 128, those of the public code, this is its pooling of 4 x 4 pixels; it takes any other size, too.

    Args:
        in_channels: channels of the image and its mask together.
        num_sources: N, what is told apart.
        channels: width of the convolutions.
        hidden_channels: widths of the layers.
        pooled_size: height and width behind the pooling.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: int = 2,
        num_sources: int = 3,
        channels: int = 24,
        hidden_channels: Sequence[int] = (128, 64),
        pooled_size: int = 32,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_sources, self.pooled_size = num_sources, pooled_size
        widths = [in_channels, channels, channels, channels, 1]
        self.convs = nn.Sequential(*(ConvBNReLU(a, b, bias=True, slope=0.2) for a, b in pairwise(widths)))
        layers: list[nn.Module] = []
        widths = [pooled_size**2, *hidden_channels, num_sources]
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.Tanh()]
        self.layers = nn.Sequential(*layers[:-1], nn.Softmax(dim=1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, N) that add up to 1, and the map (B, 1, pooled_size, pooled_size) they are made of."""
        maps = self.convs(F.adaptive_max_pool2d(x, self.pooled_size))
        return self.layers(maps.flatten(1)), maps
