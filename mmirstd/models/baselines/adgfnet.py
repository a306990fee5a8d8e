"""ADGFNet and ADGFNet-Lite: anomaly-driven gated fusion (Han et al., 2026; public code under the MIT license).

A residual encoder whose first stage keeps the full resolution, a neck that finds local anomalies at three levels and
lets their maps gate the fusion of levels, and a convolutional head (``ConvHead``).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.layers.features import require_widths
from mmirstd.models.layers.residual import ConvBNReLU, ResidualBlock
from mmirstd.models.layers.resizing import resize_like
from mmirstd.registry import MODELS


@MODELS.register_module()
class ResidualEncoder(BaseModule):
    """A stem at full resolution and stages of residual blocks at strides 1, 2, 4, ...

    Args:
        in_channels: channels of the image.
        channels: widths of the stages, fine to coarse.
        num_blocks: residual blocks of each stage.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: int = 1,
        channels: Sequence[int] = (16, 32, 64, 128),
        num_blocks: Sequence[int] = (1, 1, 1, 1),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(channels) != len(num_blocks) or min((*channels, *num_blocks), default=0) < 1:
            raise ValueError(f'ResidualEncoder: channels={tuple(channels)} and num_blocks={tuple(num_blocks)} must be '
                             'as many, and 1 or more each')  # fmt: skip
        self.in_channels, self.out_channels = in_channels, list(channels)
        self.stem = nn.Sequential(ConvBNReLU(in_channels, channels[0]), ResidualBlock(channels[0], channels[0]))
        self.stages = nn.ModuleList()
        width = channels[0]
        for i, (channel, blocks) in enumerate(zip(channels, num_blocks, strict=True)):
            self.stages.append(
                nn.Sequential(
                    ResidualBlock(width, channel, stride=2 if i else 1),
                    *(ResidualBlock(channel, channel) for _ in range(blocks - 1)),
                )
            )
            width = channel

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) to maps (B, channels[i], ceil(H / 2^i), ceil(W / 2^i))."""
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


class LocalContrast(nn.Module):
    """Learned local means of two sizes minus the center: what stands out from its surroundings."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pre = ConvBNReLU(channels, channels, 1)
        self.dw3 = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.dw5 = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
        self.pw = ConvBNReLU(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), as it came."""
        x = self.pre(x)
        return self.pw(torch.cat((self.dw3(x) - x, self.dw5(x) - x), dim=1))


class GradientMagnitude(nn.Module):
    """Sobel gradient magnitude of each channel; the filters are not learned."""

    def __init__(self) -> None:
        super().__init__()
        sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
        self.register_buffer('kernels', torch.stack((sobel, sobel.T))[:, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), as it came."""
        channels = x.shape[1]
        gradient = F.conv2d(x, self.kernels.repeat(channels, 1, 1, 1), padding=1, groups=channels)
        # Squares of half precision overflow at 256.
        return gradient.unflatten(1, (channels, 2)).float().square().sum(2).add(1e-6).sqrt().to(x.dtype)


class LocalAnomaly(nn.Module):
    """Local anomaly block: adds what contrast and gradient find to a map, and says where it is."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.contrast = LocalContrast(channels)
        self.gradient = nn.Sequential(GradientMagnitude(), ConvBNReLU(channels, channels, 1))
        self.fuse = nn.Sequential(ConvBNReLU(2 * channels, channels, 1), ResidualBlock(channels, channels))
        self.scale = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid())
        self.locate = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, H, W) to the map with its anomalies, and the anomaly map (B, 1, H, W) in (0, 1)."""
        anomaly = self.fuse(torch.cat((self.contrast(x), self.gradient(x)), dim=1))
        return x + anomaly * self.scale(anomaly), self.locate(anomaly).sigmoid()


class AnomalyGatedFusion(nn.Module):
    """Fuses a fine level with the level above it, gated by the anomaly map and by channel statistics of both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.high = ConvBNReLU(channels, channels, 1)
        self.low = ConvBNReLU(channels, channels, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(2 * channels, channels, 1), nn.Sigmoid())
        self.out = ConvBNReLU(2 * channels, channels, 3)

    def forward(self, high: Tensor, low: Tensor, anomaly: Tensor) -> Tensor:
        """Fuse high (B, C, h, w) and low (B, C, H, W); anomaly is (B, 1, H, W)."""
        high = self.high(resize_like(high, low))
        low = self.low(low)
        gate = anomaly * self.gate(torch.cat((low, high), dim=1))
        return self.out(torch.cat((low * gate, high * (1 - gate)), dim=1))


@MODELS.register_module()
class AnomalyGatedFPN(BaseModule):
    """A top-down pyramid whose fusion is gated by local anomalies, and one map made of all its levels.

    Every level but the coarsest passes a local anomaly block first. The neck goes behind any backbone.

    Args:
        in_channels: widths of the input maps, fine to coarse.
        channels: width of all levels and of the output.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self, in_channels: Sequence[int], channels: int = 32, init_cfg: dict | list[dict] | None = None
    ) -> None:
        super().__init__(init_cfg)
        if len(in_channels) < 2:
            raise ValueError(f'AnomalyGatedFPN: in_channels={list(in_channels)} must name two levels or more')
        self.in_channels, self.out_channels = list(in_channels), [channels]
        self.anomalies = nn.ModuleList(LocalAnomaly(width) for width in in_channels[:-1])
        self.laterals = nn.ModuleList(ConvBNReLU(width, channels, 1) for width in in_channels)
        self.fusions = nn.ModuleList(AnomalyGatedFusion(channels) for _ in in_channels[:-1])
        self.aggregate = ConvBNReLU(channels * len(in_channels), channels, 1)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Maps (B, in_channels[i], H_i, W_i) to one map (B, channels, H_0, W_0).

        Raises:
            ValueError: if the maps are not those of `in_channels`.
        """
        require_widths(features, self)
        levels = [self.laterals[-1](features[-1])]
        for i in reversed(range(len(self.fusions))):
            enhanced, anomaly = self.anomalies[i](features[i])
            levels.insert(0, self.fusions[i](levels[0], self.laterals[i](enhanced), anomaly))
        fine = levels[0]
        return (self.aggregate(torch.cat([resize_like(level, fine) for level in levels], dim=1)),)
