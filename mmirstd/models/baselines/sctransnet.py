"""The neck of SCTransNet (Yuan et al., TGRS 2024): skip connections through spatial-channel cross transformers.

The facts are those of xdFai/SCTransNet at e027628 (no license). The encoder is :class:`ResidualUNetEncoder`, the head
:class:`SideOutputHead`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.layers.attention import LayerNorm2d
from mmirstd.models.layers.features import require_widths
from mmirstd.models.layers.residual import ConvBNReLU
from mmirstd.models.layers.resizing import resize_like
from mmirstd.registry import MODELS


def _norm(channels: int) -> LayerNorm2d:
    return LayerNorm2d(channels, eps=1e-5)


def _pointwise(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 1, bias=False)


def _local(channels: int, kernel_size: int = 3, group_width: int = 1) -> nn.Conv2d:
    padding, groups = kernel_size // 2, channels // group_width
    return nn.Conv2d(channels, channels, kernel_size, padding=padding, groups=groups, bias=False)


class ChannelCrossAttention(nn.Module):
    """The channels of each level attend to the channels of all levels (SSCA, one head).

    Args:
        channels: widths of the levels, whose maps have one size; even numbers.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.total = sum(channels)
        self.queries = nn.ModuleList(
            nn.Sequential(_pointwise(width, width), _local(width, group_width=2)) for width in channels
        )
        self.key = nn.Sequential(_pointwise(self.total, self.total), _local(self.total))
        self.value = nn.Sequential(_pointwise(self.total, self.total), _local(self.total))
        self.outs = nn.ModuleList(_pointwise(width, width) for width in channels)

    def forward(self, levels: list[Tensor], together: Tensor) -> list[Tensor]:
        """Levels (B, channels[i], h, w) and all of them together (B, sum, h, w) to maps like the levels."""
        size = together.shape[2:]
        key = F.normalize(self.key(together).flatten(2), dim=-1)
        value = self.value(together).flatten(2)
        found = []
        for x, query, out in zip(levels, self.queries, self.outs, strict=True):
            scores = F.normalize(query(x).flatten(2), dim=-1) @ key.transpose(1, 2) / self.total**0.5
            # Instance norm over the whole matrix: its entries are far below one.
            wide = F.instance_norm(scores[:, None].to(torch.promote_types(scores.dtype, torch.float32)))[:, 0]
            found.append(out((wide.softmax(-1).to(value.dtype) @ value).unflatten(2, size)))
        return found


class ComplementaryFeedForward(nn.Module):
    """A feed-forward network of two depthwise branches, 3x3 and 5x5, and a gate of channels (CFN).

    Args:
        channels: width of the map.
        expansion: width of a branch, as a multiple of `channels`.
    """

    def __init__(self, channels: int, expansion: float = 2.66) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = _pointwise(channels, 2 * hidden)
        self.local3, self.local5 = _local(hidden, 3), _local(hidden, 5)
        self.project_out = _pointwise(2 * hidden, channels)
        # Wang et al., ECA-Net, CVPR 2020: neighboring channels weigh each other.
        self.gate = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), as it came."""
        small, large = self.project_in(x).chunk(2, dim=1)
        x = self.project_out(torch.cat((self.local3(small).relu(), self.local5(large).relu()), dim=1))
        weights = self.gate(x.mean((2, 3))[:, None])[:, 0].sigmoid()
        return x * weights[:, :, None, None]


class CrossTransformerBlock(nn.Module):
    """Channel cross attention and a feed-forward network of each level, with shortcuts (SCTB)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(_norm(width) for width in channels)
        self.norm_together = _norm(sum(channels))
        self.attention = ChannelCrossAttention(channels)
        self.feed_norms = nn.ModuleList(_norm(width) for width in channels)
        self.feeds = nn.ModuleList(ComplementaryFeedForward(width) for width in channels)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Maps (B, channels[i], h, w), as they came."""
        together = self.norm_together(torch.cat(levels, dim=1))
        found = self.attention([norm(x) for norm, x in zip(self.norms, levels, strict=True)], together)
        levels = [x + y for x, y in zip(levels, found, strict=True)]
        return [x + feed(norm(x)) for x, norm, feed in zip(levels, self.feed_norms, self.feeds, strict=True)]


class GatedUpsampling(nn.Module):
    """Upsamples a deep map, weighs the channels of a shallow one by the means of both, and convolves both (CCA)."""

    def __init__(self, deep_channels: int, shallow_channels: int, out_channels: int) -> None:
        super().__init__()
        self.of_deep = nn.Linear(deep_channels, shallow_channels)
        self.of_shallow = nn.Linear(shallow_channels, shallow_channels)
        self.convs = nn.Sequential(
            ConvBNReLU(deep_channels + shallow_channels, out_channels, bias=True),
            ConvBNReLU(out_channels, out_channels, bias=True),
        )

    def forward(self, deep: Tensor, shallow: Tensor) -> Tensor:
        """Maps (B, deep_channels, h, w) and (B, shallow_channels, H, W) to (B, out_channels, H, W)."""
        deep = F.interpolate(deep, shallow.shape[2:], mode='nearest')
        logits = (self.of_shallow(shallow.mean((2, 3))) + self.of_deep(deep.mean((2, 3)))) / 2
        shallow = (shallow * logits.sigmoid()[:, :, None, None]).relu()
        return self.convs(torch.cat((shallow, deep), dim=1))


@MODELS.register_module()
class SpatialChannelTransformer(BaseModule):
    """A U-Net's decoder whose skip connections exchange channels among all levels, on patches of the image.

    Args:
        in_channels: widths of the input maps, fine to coarse, each half the size of the one before. All but the last go
            through the transformer; even numbers.
        num_layers: blocks of the transformer.
        init_cfg: MMEngine's initialization.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (32, 64, 128, 256, 256),
        num_layers: int = 4,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        *skips, deepest = in_channels
        if not skips or any(width % 2 for width in skips):
            raise ValueError(
                f'SpatialChannelTransformer: in_channels={list(in_channels)} must be two or more, and even but the last'
            )
        widths = [skips[0], *skips[:-1]]
        self.in_channels, self.out_channels = list(in_channels), [*widths, deepest]
        n = len(skips)
        # All levels have one token where the coarsest has 2 x 2 pixels.
        self.embeddings = nn.ModuleList(nn.Conv2d(c, c, 2 ** (n - i), 2 ** (n - i)) for i, c in enumerate(skips))
        self.blocks = nn.ModuleList(CrossTransformerBlock(skips) for _ in range(num_layers))
        self.norms = nn.ModuleList(_norm(c) for c in skips)
        self.rebuild = nn.ModuleList(ConvBNReLU(c, c, 1, bias=True) for c in skips)
        deep = [*widths[1:], deepest]
        self.ups = nn.ModuleList(GatedUpsampling(*shape) for shape in zip(deep, skips, widths, strict=True))

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps (B, in_channels[i], H_i, W_i) to maps (B, out_channels[i], H_i, W_i).

        Raises:
            ValueError: if the maps are not those of `in_channels`.
        """
        require_widths(features, self)
        *skips, deepest = features
        tokens = [embed(x) for embed, x in zip(self.embeddings, skips, strict=True)]
        for block in self.blocks:
            tokens = block(tokens)
        levels = [deepest]
        for i in reversed(range(len(skips))):
            rebuilt = self.rebuild[i](resize_like(self.norms[i](tokens[i]), skips[i]))
            # The public code adds the skip twice, in the transformer and behind it.
            levels.insert(0, self.ups[i](levels[0], rebuilt + 2 * skips[i]))
        return tuple(levels)
