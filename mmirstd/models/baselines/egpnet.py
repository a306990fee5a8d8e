"""EGPNet (edge-guided perceptual network): a stream for the mask and one for the edge, which tells where to look again.

The facts are those of cvYouTian/EGPNet at d0e964f (no license).
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.decode_heads.edge_head import EdgeHead
from mmirstd.models.layers.features import require_widths
from mmirstd.models.layers.no_graph import refuse_export
from mmirstd.models.layers.residual import residual_stage
from mmirstd.models.layers.resizing import resize_like
from mmirstd.ops.components import label_components
from mmirstd.registry import MODELS


def bright_and_rough(image: Tensor) -> Tensor:
    """The image, the length of its diagonal differences, and its maxima over 3x3 pixels.

    Differences are those of the maxima, summed over channels: x[i, j] - x[i + 1, j + 1] and x[i, j + 1] - x[i + 1, j].
    Zero lies beyond the border.

    Args:
        image: (B, C, H, W).

    Returns:
        (B, 2 C + 1, H, W).
    """
    brightest = F.max_pool2d(F.pad(image, (1, 1, 1, 1)), 3, stride=1)
    kernels = image.new_tensor([[[[1, 0], [0, -1]]], [[[0, 1], [-1, 0]]]])
    differences = F.conv2d(F.pad(brightest.sum(1, keepdim=True), (0, 1, 0, 1)), kernels)
    return torch.cat((image, differences.square().sum(1, keepdim=True).sqrt(), brightest), dim=1)


class ScaleExchange(nn.Module):
    """One residual block at the size of a map and one at half of it, and what both say, at either size.

    Args:
        channels: width of the map.
        with_fine: whether there is an output at the size of the map.
    """

    def __init__(self, channels: int, with_fine: bool = True) -> None:
        super().__init__()
        self.fine, self.coarse = (residual_stage(channels, channels, 1) for _ in range(2))
        self.to_coarse = residual_stage(2 * channels, 2 * channels, 1)
        self.to_fine = residual_stage(2 * channels, 2 * channels, 1) if with_fine else None

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor]:
        """(B, C, H, W) to maps (B, 2 C, H, W), or None, and (B, 2 C, ceil(H / 2), ceil(W / 2))."""
        fine, coarse = self.fine(x), self.coarse(F.max_pool2d(x, 2, ceil_mode=True))
        down = self.to_coarse(torch.cat((resize_like(fine, coarse, align_corners=True), coarse), dim=1))
        if self.to_fine is None:
            return None, down
        return self.to_fine(torch.cat((resize_like(coarse, fine, align_corners=True), fine), dim=1)), down


class ScaleStream(nn.Module):
    """Three exchanges between scales, one behind the other."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.stem = residual_stage(in_channels, channels, 2)
        self.exchanges = nn.ModuleList(ScaleExchange(channels * 2**i, with_fine=i > 0) for i in range(3))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, in_channels, H, W) to maps of 4, 8 and 8 times the channels at strides 2, 4 and 8."""
        x = self.stem(x)
        maps = []
        for exchange in self.exchanges:
            fine, x = exchange(x)
            maps.append(fine)
        return [*maps[1:], x]


@MODELS.register_module()
class EdgeGuidedEncoder(BaseModule):
    """A stream for the mask, on the image, its gradient and its local maxima, and a stream for the edge, on the image.

    Args:
        in_channels: channels of the image.
        channels: width of both streams at the size of the image.
        init_cfg: MMEngine's initialization.
    """

    def __init__(self, in_channels: int = 3, channels: int = 16, init_cfg: dict | list[dict] | None = None) -> None:
        super().__init__(init_cfg)
        self.in_channels, self.out_channels = in_channels, [4 * channels, 8 * channels, 8 * channels] * 2
        self.mask = ScaleStream(2 * in_channels + 1, channels)
        self.edge = ScaleStream(in_channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) to three maps of the mask and three of the edge, at strides 2, 4 and 8 each."""
        return *self.mask(bright_and_rough(x)), *self.edge(x)


class GuidedChannels(nn.Module):
    """Adds channels of a guide to a map, weighed by the means of both (FSP).

    Args:
        channels: width of both.
        hidden: width of the small network that weighs.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Linear(2 * channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, guide: Tensor, x: Tensor) -> Tensor:
        """Two maps (B, C, H, W) to one."""
        weights = self.weigh(torch.cat((guide, x), dim=1).mean((2, 3)))
        return x + weights[:, :, None, None] * guide


@MODELS.register_module()
class MutualPyramid(BaseModule):
    """A top-down path for the mask and one for the edge, which guide each other on each level.

    Args:
        in_channels: widths of the maps at strides 2, 4 and 8, those of the mask before those of the edge: C, 2 C and
            2 C for both.
        hidden: width inside the networks that weigh channels.
        init_cfg: MMEngine's initialization.

    Raises:
        ValueError: for other widths.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (64, 128, 128, 64, 128, 128),
        hidden: int = 8,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        width = in_channels[0]
        if list(in_channels) != [width, 2 * width, 2 * width] * 2 or width % 2:
            raise ValueError(f'MutualPyramid: in_channels={list(in_channels)} must be C, 2 C, 2 C, C, 2 C, 2 C, C even')
        self.in_channels, self.out_channels = list(in_channels), [width // 2] * 2
        for name in ('mask', 'edge'):
            levels = nn.ModuleList(
                nn.ModuleDict(
                    {
                        'guided': GuidedChannels(c, hidden),
                        'blocks': residual_stage(c, c, 2),
                        'reduce': nn.Conv2d(c, c // 2, 1, bias=False),
                    }
                )
                for c in (width, 2 * width)
            )
            self.add_module(name, levels)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Maps (B, in_channels[i], H_i, W_i) to a map of the mask and one of the edge, each (B, C / 2, H_0, W_0).

        Raises:
            ValueError: if the maps are not those of `in_channels`.
        """
        require_widths(features, self)
        masks, edges = features[:3], features[3:]
        mask, edge = masks[2], edges[2]
        for i in (1, 0):
            guided = self.mask[i]['guided'](edge, mask)
            # In the public code the coarsest mask guides the edge as it was, the next one as it is now.
            edge = self.edge[i]['guided'](mask if i else guided, edge)
            mask = self._upwards(self.mask[i], guided, masks[i])
            edge = self._upwards(self.edge[i], edge, edges[i])
        return mask, edge

    @staticmethod
    def _upwards(level: nn.ModuleDict, x: Tensor, shallow: Tensor) -> Tensor:
        return level['reduce'](resize_like(level['blocks'](x), shallow, align_corners=True) + shallow)


def likely_regions(probability: np.ndarray, number: int = 3) -> np.ndarray:
    """Boxes around the components above 0.5 whose mean probability is highest.

    Args:
        probability: (H, W).
        number: how many boxes; with fewer components the best one is repeated, without any it is the whole map.

    Returns:
        (number, 4) top, left, bottom, right, half open, the best first.
    """
    components = label_components(probability > 0.5)
    if not len(components):
        return np.tile([0, 0, *probability.shape], (number, 1))
    values = probability[components.rows, components.cols]
    mean = np.bincount(components.index, weights=values) / components.area
    best = np.argsort(mean)[::-1][:number]
    return components.boxes[np.concatenate((np.repeat(best[:1], number - len(best)), best))]


@MODELS.register_module()
class RegionHead(EdgeHead):
    """Enlarges the regions where the edge is most likely, and makes the mask of them and of the map (RIRM).

    This head has no graph to export: the regions are connected components of the edge. Their number, and the steps that
    label them, depend on its values.

    Args:
        in_channels: width of the maps of the mask and of the edge, a multiple of 4.
        num_regions: regions that are enlarged.
        kwargs: arguments of :class:`EdgeHead`.
    """

    def __init__(self, in_channels: int, num_regions: int = 3, **kwargs: object) -> None:
        super().__init__(2 * in_channels, **kwargs)
        self.num_regions = num_regions
        self.edge_out = nn.Conv2d(in_channels, 1, 1, bias=False)
        self.mix = nn.Conv2d(num_regions * in_channels, 4 * in_channels, 1, bias=False)
        self.last = nn.Sequential(
            nn.Conv2d(2 * in_channels, 2 * in_channels, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * in_channels, 2 * in_channels, 3, padding=1, bias=False),
        )

    def forward_maps(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Logits of mask and edge, each (B, 1, 2 H, 2 W), of two maps (B, in_channels, H, W)."""
        refuse_export(self, 'it labels connected components, in steps that depend on the values of the edge')
        mask, edge = inputs
        size = mask.shape[2:]
        large = [2 * extent for extent in size]
        edge = self.edge_out(F.interpolate(edge, large, mode='bilinear', align_corners=True))
        mask = F.interpolate(mask, large, mode='bilinear', align_corners=False)
        # To the parts of each image, one after the other in its channels, at half the size.
        probability = edge.detach().sigmoid().to(torch.promote_types(edge.dtype, torch.float32)).cpu().numpy()
        enlarged = [
            torch.cat(
                [
                    F.interpolate(one[None, :, top:bottom, left:right], size, mode='nearest')
                    for top, left, bottom, right in likely_regions(p[0], self.num_regions).tolist()
                ],
                dim=1,
            )
            for one, p in zip(mask, probability, strict=True)
        ]
        again = F.pixel_shuffle(self.mix(torch.cat(enlarged)), 2)
        x = torch.cat((again, mask), dim=1)
        return self.classify(x + self.last(x)), edge
