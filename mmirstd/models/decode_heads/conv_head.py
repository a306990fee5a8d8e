"""A convolutional head: what most IRSTD networks end with."""

from mmseg.utils import ConfigType
from torch import Tensor, nn

from mmirstd.models.decode_heads.binary_head import BinaryHead
from mmirstd.models.layers.residual import ConvBNReLU, ResidualBlock
from mmirstd.registry import MODELS


@MODELS.register_module()
class ConvHead(BinaryHead):
    """Residual blocks and 3x3 convolutions, if any, and a 1x1 convolution that gives the target logit.

    Args:
        in_channels: channels of the input map, kept throughout.
        num_refine: residual blocks.
        num_convs: 3x3 convolutions with batch norm and ReLU behind them.
        init_cfg: MMEngine's initialization; the last convolution is ``conv_seg``, as in MMSegmentation's heads.
        kwargs: arguments of :class:`BinaryHead`, among them `in_index`.
    """

    def __init__(
        self,
        in_channels: int,
        num_refine: int = 0,
        num_convs: int = 0,
        init_cfg: ConfigType | list[ConfigType] | None = None,
        **kwargs: object,
    ) -> None:
        super().__init__(in_channels, in_channels, init_cfg=init_cfg, **kwargs)
        self.refine = nn.Sequential(*(ResidualBlock(in_channels, in_channels) for _ in range(num_refine)))
        self.convs = nn.Sequential(*(ConvBNReLU(in_channels, in_channels) for _ in range(num_convs)))
        self.conv_seg = nn.Conv2d(in_channels, 1, 1)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, 1, H, W) of the map at `in_index`."""
        return self.conv_seg(self.convs(self.refine(self._transform_inputs(inputs))))
