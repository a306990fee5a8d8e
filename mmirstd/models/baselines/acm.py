"""ACM and ALCNet (Dai et al., WACV 2021 and TGRS 2021): asymmetric contextual modulation of a small residual network.

The facts are those of Tianfang-Zhang/acm-pytorch at 239a3f2 (MIT; ACM as a pyramid) and XinyiYing/BasicIRSTD at 95650c3
(no license; its model/ACM has ACM as a U-Net, and what it calls ALCNet: the modulated pyramid with transposed
convolutions, without the local contrast of the paper). Batch norms there have the momentum 0.9 of MXNet, which means
the opposite in PyTorch: here they have 0.1.
"""

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.layers.features import require_widths
from mmirstd.models.layers.reparam import ConvBN
from mmirstd.models.layers.residual import ConvBNReLU, residual_stage
from mmirstd.models.layers.resizing import resize_like
from mmirstd.registry import MODELS


@MODELS.register_module()
class ACMEncoder(BaseModule):
    """A batch norm on the image, a stem of stride 4, and stages of residual blocks at strides 4, 8, 16, ...

    Args:
        in_channels: channels of the image.
        stem_channels: width of the first two convolutions.
        channels: widths of the stages, fine to coarse.
        num_blocks: residual blocks of each stage.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: int = 1,
        stem_channels: int = 8,
        channels: Sequence[int] = (16, 32, 64),
        num_blocks: Sequence[int] = (3, 3, 3),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.in_channels, self.out_channels = in_channels, list(channels)
        self.input_norm = nn.BatchNorm2d(in_channels)
        self.stem = nn.Sequential(
            ConvBNReLU(in_channels, stem_channels, stride=2),
            ConvBNReLU(stem_channels, stem_channels),
            ConvBNReLU(stem_channels, channels[0]),
            nn.MaxPool2d(3, 2, 1),
        )
        widths = zip([channels[0], *channels[:-1]], channels, num_blocks, strict=True)
        self.stages = nn.ModuleList(
            residual_stage(a, b, blocks, stride=2 if i else 1) for i, (a, b, blocks) in enumerate(widths)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) to maps (B, channels[i], ceil(H / 2^(i + 2)), ceil(W / 2^(i + 2)))."""
        x = self.stem(self.input_norm(x))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


def gate_bottleneck(channels: int, reduction: int) -> list[nn.Module]:
    """Two 1x1 convolutions with batch norms, through a `reduction`-th of the channels, to weights in (0, 1)."""
    hidden = max(channels // reduction, 1)
    return [ConvBNReLU(channels, hidden, 1, bias=True), ConvBN(hidden, channels, 1, bias=True), nn.Sigmoid()]


class AsymmetricModulation(nn.Module):
    """Fuses a deep and a shallow map that weigh each other (ACM, Eq. 5 to 7).

    The deep map D weighs the channels of the shallow map S by its means; S weighs D by its own pixels. The output is a
    3x3 convolution of 2 S g(mean D) + 2 D l(S).

    Args:
        deep_channels: width of D; where it differs from `channels`, or with `reduce`, a 1x1 convolution changes it.
        channels: width of S and of the output.
        reduction: hidden channels of both gates are a `reduction`-th.
        reduce: whether D passes that convolution.
    """

    def __init__(self, deep_channels: int, channels: int, reduction: int = 4, reduce: bool = False) -> None:
        super().__init__()
        reduce = reduce or deep_channels != channels
        self.reduce = ConvBNReLU(deep_channels, channels, 1, bias=True) if reduce else nn.Identity()
        self.top_down = nn.Sequential(nn.AdaptiveAvgPool2d(1), *gate_bottleneck(channels, reduction))
        self.bottom_up = nn.Sequential(*gate_bottleneck(channels, reduction))
        self.post = ConvBNReLU(channels, channels, bias=True)

    def forward(self, deep: Tensor, shallow: Tensor) -> Tensor:
        """Fuse deep (B, deep_channels, H, W) and shallow (B, channels, H, W) to (B, channels, H, W)."""
        deep = self.reduce(deep)
        return self.post(2 * shallow * self.top_down(deep) + 2 * deep * self.bottom_up(shallow))


def transposed(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """A transposed convolution that doubles height and width."""
    return nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1)


@MODELS.register_module()
class ModulatedPyramid(BaseModule):
    """A top-down path whose levels are fused by asymmetric contextual modulation; one map at the finest level.

    Args:
        in_channels: widths of the input maps, fine to coarse.
        deconv: whether a transposed convolution brings a deep map to the size and width of the next, as in ACM's U-Net
            and ALCNet. Otherwise it is resized, and a 1x1 convolution changes its width, as in ACM's pyramid.
        num_blocks: residual blocks behind the fusion of each level, fine to coarse; none by default.
        last_channels: width of one more transposed convolution, which doubles the size of the output.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (16, 32, 64),
        deconv: bool = True,
        num_blocks: Sequence[int] | None = None,
        last_channels: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        num_blocks = num_blocks or [0] * (len(in_channels) - 1)
        if len(in_channels) < 2 or len(num_blocks) != len(in_channels) - 1:
            raise ValueError(
                f'ModulatedPyramid: in_channels={list(in_channels)} must name two levels or more, and '
                f'num_blocks={list(num_blocks)} one number for each but the coarsest'
            )
        self.in_channels, self.out_channels = list(in_channels), [last_channels or in_channels[0]]
        pairs = list(zip(in_channels[1:], in_channels[:-1], strict=True))
        self.ups = nn.ModuleList(transposed(deep, fine) if deconv else nn.Identity() for deep, fine in pairs)
        self.fusions = nn.ModuleList(AsymmetricModulation(fine if deconv else deep, fine) for deep, fine in pairs)
        self.blocks = nn.ModuleList(
            residual_stage(fine, fine, blocks) if blocks else nn.Identity()
            for (_, fine), blocks in zip(pairs, num_blocks, strict=True)
        )
        self.last = transposed(in_channels[0], last_channels) if last_channels else nn.Identity()

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Maps (B, in_channels[i], H_i, W_i) to one map (B, C, H, W) at H_0 x W_0, or twice that size.

        Raises:
            ValueError: if the maps are not those of `in_channels`.
        """
        require_widths(features, self)
        x = features[-1]
        for i in reversed(range(len(self.fusions))):
            x = resize_like(self.ups[i](x), features[i])
            x = self.blocks[i](self.fusions[i](x, features[i]))
        return (self.last(x),)
