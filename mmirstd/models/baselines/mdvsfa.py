"""The generators of MDvsFA (Wang et al., ICCV 2019), which learn to miss little and to raise few false alarms.

The facts are those of TianwangJia/MDvsFAcGAN at d9c4560 (no license), a PyTorch form of the authors' TensorFlow code.
Its comments say where it differs from the paper: the first generator has one layer more, the second one skip less.
"""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

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
        probability = super().forward(inputs)
        return torch.logit(probability.to(torch.promote_types(probability.dtype, torch.float32)), eps=self.eps)
