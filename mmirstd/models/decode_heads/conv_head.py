"""A convolutional head: what most IRSTD networks end with."""

from mmseg.utils import ConfigType
from torch import Tensor, nn

from mmirstd.models.decode_heads.binary_head import BinaryHead
from mmirstd.models.layers.residual import ConvBNReLU, ResidualBlock
from mmirstd.registry import MODELS


@MODELS.register_module()
class ConvHead(BinaryHead):
    """Residual blocks and 3x3 convolutions, if any, and a convolution that gives the target logit.

    Args:
        in_channels: channels of the input map.
        channels: channels behind the first 3x3 convolution; those of the input by default.
        num_refine: residual blocks.
        num_convs: 3x3 convolutions with batch norm and ReLU behind them.
        kernel_size: size of the last convolution.
        dropout_ratio: share of the elements that are dropped before the last convolution, in training.
        init_cfg: MMEngine's initialization; the last convolution is ``conv_seg``, as in MMSegmentation's heads.
        kwargs: arguments of :class:`BinaryHead`, among them `in_index`.

    Raises:
        ValueError: for `channels` that no convolution makes.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int | None = None,
        num_refine: int = 0,
        num_convs: int = 0,
        kernel_size: int = 1,
        dropout_ratio: float = 0.0,
        init_cfg: ConfigType | list[ConfigType] | None = None,
        **kwargs: object,
    ) -> None:
        channels = in_channels if channels is None else channels
        if not num_convs and channels != in_channels:
            raise ValueError(f'ConvHead: {channels=} differs from {in_channels=}, but num_convs=0')
        super().__init__(in_channels, channels, init_cfg=init_cfg, **kwargs)
        self.refine = nn.Sequential(*(ResidualBlock(in_channels, in_channels) for _ in range(num_refine)))
        self.convs = nn.Sequential(*(ConvBNReLU(channels if i else in_channels, channels) for i in range(num_convs)))
        self.drop = nn.Dropout(dropout_ratio) if dropout_ratio else nn.Identity()
        self.conv_seg = nn.Conv2d(channels, 1, kernel_size, padding=kernel_size // 2)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, 1, H, W) of the map at `in_index`."""
        return self.classify(self._transform_inputs(inputs))

    def classify(self, x: Tensor) -> Tensor:
        """Logits (B, 1, H, W) of a map (B, in_channels, H, W)."""
        return self.conv_seg(self.drop(self.convs(self.refine(x))))
