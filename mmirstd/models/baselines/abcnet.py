"""ABCNet (Pan et al., ICME 2023): attention with bilinear correlation in a U-Net.

The facts are those of PANPEIWEN/ABC at a3232d3 (MIT). Its correlation takes images of one size, as high as wide. Here a
map of any size is resized for the layers that describe its rows, and what they say is resized back.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.backbones.unet_encoder import PooledLevels
from mmirstd.models.layers.features import require_widths
from mmirstd.models.layers.residual import ConvBNReLU
from mmirstd.models.layers.resizing import is_open, resize_like
from mmirstd.registry import MODELS


def convolutions(in_channels: int, out_channels: int, dilations: Sequence[int] = (1, 1)) -> nn.Sequential:
    """3x3 convolutions with batch norm and ReLU, one for each dilation."""
    widths = [in_channels, *[out_channels] * (len(dilations) - 1)]
    return nn.Sequential(
        *(ConvBNReLU(a, out_channels, dilation=b, bias=True) for a, b in zip(widths, dilations, strict=True))
    )


class Descriptor(nn.Module):
    """One number for each row of a map, by a linear layer over all pixels of one channel.

    Args:
        channels: width of the map.
        side: height and width that the linear layer takes. Other maps are resized to it, and the numbers back.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.conv = nn.Conv2d(channels, 1, 1)
        self.line = nn.Linear(side * side, side)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 1, H, 1)."""
        one = self.conv(x)
        if is_open(*x.shape[2:]) or x.shape[2:] != (self.side, self.side):
            one = F.interpolate(one, (self.side, self.side), mode='bilinear', align_corners=False)
        return resize_like(self.line(one.flatten(1))[:, None, :, None], x[..., :1])


class BilinearCorrelation(nn.Module):
    """Every row becomes a mean of all rows, of weights softmax(a_c q_i k_j), each channel c with its own.

    The public code adds a number to all logits of a channel, which the softmax takes away again.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.query, self.key = Descriptor(channels, side), Descriptor(channels, side)
        self.scale = nn.Conv2d(1, channels, 1, bias=False)

    def forward(self, x: Tensor, value: Tensor) -> Tensor:
        """Maps (B, C, H, W) that tell the weights and that are averaged, to (B, C, H, W)."""
        scores = self.scale(self.query(x) @ self.key(x).transpose(2, 3))
        wide = torch.promote_types(scores.dtype, torch.float32)
        return scores.softmax(-1, dtype=wide).to(value.dtype) @ value


class LinearFusionBlock(nn.Module):
    """Convolutions, dilated convolutions and bilinear correlation, added, and a feed-forward part (CLFT).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        side: see :class:`Descriptor`.
    """

    def __init__(self, in_channels: int, out_channels: int, side: int) -> None:
        super().__init__()
        self.near = convolutions(in_channels, in_channels, (1, 1, 1))
        self.far = convolutions(in_channels, in_channels, (2, 4, 2))
        self.correlation = BilinearCorrelation(in_channels, side)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.conv3 = ConvBNReLU(in_channels, out_channels, bias=True)
        self.conv1 = ConvBNReLU(in_channels, out_channels, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        value = self.near(x) + self.far(x)
        x = self.gamma * self.correlation(x, value) + value + x
        return self.conv3(x) + self.conv1(x)


class DilatedUBlock(nn.Module):
    """Convolutions whose dilation grows and shrinks again, with shortcuts in between (UCDC).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, an even number.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.first = ConvBNReLU(in_channels, out_channels, bias=True)
        self.down = ConvBNReLU(out_channels, half, dilation=2, bias=True)
        self.deepest = ConvBNReLU(half, half, dilation=4, bias=True)
        self.up = ConvBNReLU(out_channels, out_channels, dilation=2, bias=True)
        self.last = ConvBNReLU(2 * out_channels, out_channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        first = self.first(x)
        down = self.down(first)
        up = self.up(torch.cat((down, self.deepest(down)), dim=1))
        return self.last(torch.cat((first, up), dim=1))


@MODELS.register_module()
class LinearFusionEncoder(PooledLevels):
    """Convolutions, blocks with bilinear correlation, and a dilated block, with 2x2 max pooling in between.

    Args:
        in_channels: channels of the image.
        channels: widths of the levels, fine to coarse; three or more.
        image_size: height and width of the images that the linear layers of the correlation are made for: a multiple of
            2 ** (number of levels - 2). Images of any size go through.
        init_cfg: MMEngine's initialization.

    Raises:
        ValueError: for fewer levels, or another size.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (16, 32, 64, 128, 256),
        image_size: int = 256,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        depth = len(channels)
        if depth < 3 or image_size < 1 or image_size % 2 ** max(depth - 2, 0):
            raise ValueError(
                f'LinearFusionEncoder: channels={list(channels)} must be three or more, and {image_size=} '
                f'a multiple of {2 ** max(depth - 2, 0)}'
            )
        self.in_channels, self.out_channels = in_channels, list(channels)
        self.levels = nn.ModuleList([
            convolutions(in_channels, channels[0]),
            *(
                LinearFusionBlock(a, b, image_size // 2**i)
                for i, (a, b) in enumerate(itertools.pairwise(channels[:-1]), start=1)
            ),
            DilatedUBlock(channels[-2], channels[-1]),
        ])  # fmt: skip


@MODELS.register_module()
class DilatedUNetDecoder(BaseModule):
    """A U-Net's decoder with a dilated block on its deepest level; one map a level, the coarsest is handed on.

    Args:
        in_channels: widths of the input maps, fine to coarse.
        init_cfg: MMEngine's initialization.

    Raises:
        ValueError: for fewer than two maps.
    """

    def __init__(
        self, in_channels: Sequence[int] = (16, 32, 64, 128, 256), init_cfg: dict | list[dict] | None = None
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) < 2:
            raise ValueError(f'DilatedUNetDecoder: in_channels={list(in_channels)} must be two or more')
        self.in_channels = self.out_channels = list(in_channels)
        pairs = list(itertools.pairwise(in_channels))
        self.ups = nn.ModuleList(ConvBNReLU(deep, fine, bias=True) for fine, deep in pairs)
        self.levels = nn.ModuleList([
            *(convolutions(2 * fine, fine) for fine, _ in pairs[:-1]), DilatedUBlock(2 * pairs[-1][0], pairs[-1][0])
        ])  # fmt: skip

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps (B, in_channels[i], H_i, W_i), as they came.

        Raises:
            ValueError: if the maps are not those of `in_channels`.
        """
        require_widths(features, self)
        levels = [features[-1]]
        for i in reversed(range(len(self.levels))):
            up = self.ups[i](resize_like(levels[0], features[i]))
            levels.insert(0, self.levels[i](torch.cat((features[i], up), dim=1)))
        return tuple(levels)
