"""Decoders of a U-Net: with the semantic gap elimination module (SGEM), with plain skips, and densely nested."""

from collections.abc import Sequence
from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.backbones.unet_encoder import conv_block
from mmirstd.models.layers.features import require_widths
from mmirstd.models.layers.reparam import ConvBN
from mmirstd.models.layers.resizing import adaptive_mean, resize_like
from mmirstd.registry import MODELS


class SemanticGapElimination(nn.Module):
    """SGEM: each pixel of a shallow map takes from a deep map what the two have in common.

    With E the shallow and D the deep map (the paper's E3 and D1), n and m their numbers of pixels::

        Q = Linearization(Conv1x1(E))           d x n    (1)
        K = Linearization(Conv1x1(D))           d x r    (2)
        M = Softmax(Conv1x1(Q^T K / sqrt(d)))   r x n    (3)
        V = Linearization(Conv1x1(D))           C' x r
        output = V M + D, upsampled to E        C' x n

    The product Q^T K is an n x r matrix, that is r maps of E's size. An n x m matrix is never formed: work and memory
    grow with n + m. The constant 1 / sqrt(d) is not in the paper; the convolution behind it could learn it, but the
    softmax would begin saturated.

    The paper says that features are modeled as Q, K and V and that linearized attention is performed; its equations
    name no V. `reading='value'` has one: M says for each pixel of E how much of each vector of V it takes.
    `reading='additive'` has none: the convolution of (3) turns the r maps into C', and M + D is the output. Trained so,
    M becomes constant over the image, a bias.

    The paper leaves open what follows too. Q is linearized by flattening its pixels. K is also reduced to r vectors, or
    the product would be quadratic; a linear layer over the pixels would fix the size of the image, so they are
    weighted means.

    Args:
        shallow_channels: width of E.
        deep_channels: width of D.
        out_channels: C'; where it differs from `deep_channels`, D passes a 1x1 convolution with batch norm first.
        channels: d.
        num_tokens: r; with `linearization='grid'` a square number.
        linearization: how D's pixels become r vectors. 'tokens': means weighted by r learned attention maps, softmax
            over the pixels of a 1x1 convolution. 'grid': plain means over a grid of cells, nothing learned.
        softmax: axis of (3). 'channel': each pixel has a distribution over the channels of M, that is over the vectors
            of V or, additive, over the C' channels. 'space': each channel has one over the pixels, whose values are of
            the order of 1 / n.
        reading: 'value' or 'additive', see above.
        norm: batch norm behind the convolution of (3). Without one the logits may grow in training until the softmax
            chooses the same channel at each pixel, and passes no gradient any more.
    """

    def __init__(
        self,
        shallow_channels: int,
        deep_channels: int,
        out_channels: int,
        channels: int = 64,
        num_tokens: int = 64,
        linearization: Literal['tokens', 'grid'] = 'tokens',
        softmax: Literal['channel', 'space'] = 'channel',
        reading: Literal['value', 'additive'] = 'value',
        norm: bool = False,
    ) -> None:
        super().__init__()
        if linearization not in ('tokens', 'grid'):
            raise ValueError(f"SGEM: linearization={linearization!r} is neither 'tokens' nor 'grid'")
        if softmax not in ('channel', 'space'):
            raise ValueError(f"SGEM: softmax={softmax!r} is neither 'channel' nor 'space'")
        if reading not in ('value', 'additive'):
            raise ValueError(f"SGEM: reading={reading!r} is neither 'value' nor 'additive'")
        self.grid = round(num_tokens**0.5)
        if num_tokens < 1 or (linearization == 'grid' and self.grid**2 != num_tokens):
            raise ValueError(f'SGEM: num_tokens={num_tokens} must be positive, and a square for a grid')
        self.softmax = softmax
        self.query = nn.Conv2d(shallow_channels, channels, 1)
        self.key = nn.Conv2d(deep_channels, channels, 1)
        self.pool = nn.Conv2d(channels, num_tokens, 1) if linearization == 'tokens' else None
        self.value = nn.Conv2d(deep_channels, out_channels, 1) if reading == 'value' else None
        convolution = ConvBN if norm else nn.Conv2d
        self.restore = convolution(num_tokens, out_channels if self.value is None else num_tokens, 1)
        self.residual = nn.Identity() if out_channels == deep_channels else ConvBN(deep_channels, out_channels, 1)

    def linearize(self, key: Tensor, *others: Tensor) -> list[Tensor]:
        """Reduce the pixels of maps (B, C, h, w) to tokens (B, C, r), all by the weights that the first one gives."""
        if self.pool is None:
            return [adaptive_mean(x, self.grid).flatten(2) for x in (key, *others)]
        weights = self.pool(key).flatten(2).softmax(dim=2).to(key.dtype).transpose(1, 2)
        return [x.flatten(2) @ weights for x in (key, *others)]

    def distribution(self, shallow: Tensor, key: Tensor) -> Tensor:
        """Compute M of equation 3, (B, r, H, W) or, additive, (B, C', H, W), from E and the tokens K (B, d, r)."""
        query = self.query(shallow)
        logits = self.restore(_multiply(key.transpose(1, 2) * query.shape[1] ** -0.5, query))
        if self.softmax == 'space':
            return logits.flatten(2).softmax(dim=2).unflatten(2, logits.shape[2:])
        if _is_channels_last(query):
            return logits.permute(0, 2, 3, 1).softmax(dim=3).permute(0, 3, 1, 2)
        return logits.softmax(dim=1)

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        """Maps E (B, C, H, W) and D (B, C2, h, w) to (B, C', H, W)."""
        residual = resize_like(self.residual(deep), shallow)
        key = self.key(deep)
        if self.value is None:
            return self.distribution(shallow, *self.linearize(key)) + residual
        key, value = self.linearize(key, self.value(deep))
        return _multiply(value, self.distribution(shallow, key)) + residual


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last)


def _multiply(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply matrices (B, C', C) with every pixel of maps (B, C, H, W), in the memory layout of the maps."""
    if _is_channels_last(x):  # in another layout all that follows would be slow
        return (x.flatten(2).transpose(1, 2) @ matrix.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
    return (matrix @ x.flatten(2)).unflatten(2, x.shape[2:])


class _PyramidDecoder(BaseModule):
    """What the decoders share: widths and their check."""

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int] | None,
        init_cfg: dict | list[dict] | None,
    ) -> None:
        super().__init__(init_cfg)
        widths = list(in_channels[:-1] if out_channels is None else out_channels)
        if len(in_channels) < 2 or len(widths) != len(in_channels) - 1:
            name = type(self).__name__
            raise ValueError(f'{name}: {len(widths)} out_channels for {len(in_channels)} in_channels, one less is due')
        self.in_channels, self.out_channels = list(in_channels), [*widths, in_channels[-1]]


@MODELS.register_module()
class SGEM(_PyramidDecoder):
    """U-Net decoder in which SGEM takes the place of the skip connection at chosen levels.

    Levels are counted from 0, the finest. A level with a skip is conv(cat(encoder map, upsampled level below)); a level
    with SGEM is SGEM(encoder map, level below), and nothing else. The published network has five encoder levels and
    SGEM at level 2: the third of the encoder, the second of the decoder. Any pyramid will do, whatever its strides.

    Args:
        in_channels: widths of the input maps, fine to coarse.
        out_channels: widths of the decoder's levels, fine to coarse, one less than inputs; None takes the inputs'.
        sgem_levels: levels with SGEM; () is the plain U-Net.
        bare_levels: levels with neither skip nor SGEM: the level below, brought to this level's width and upsampled.
            The control of an ablation.
        keep_skip: keep the skip beside SGEM: conv(cat(encoder map, SGEM's output)).
        narrow: bring the level below to this level's width, by a 1x1 convolution with batch norm, before it is
            upsampled for a skip. The up-convolution of the original U-Net halves channels likewise; less is convolved
            at the finer level.
        num_convs: convolutions of a level.
        sgem: further arguments of :class:`SemanticGapElimination`.
        init_cfg: of MMEngine.

    Raises:
        ValueError: for levels that the decoder does not have; at the forward pass, for maps of another width.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int] | None = None,
        sgem_levels: Sequence[int] = (2,),
        bare_levels: Sequence[int] = (),
        keep_skip: bool = False,
        narrow: bool = False,
        num_convs: int = 2,
        sgem: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, init_cfg)
        depth = len(in_channels) - 1
        if not set(sgem_levels) <= set(range(depth)):
            raise ValueError(f'SGEM: sgem_levels={tuple(sgem_levels)} are not levels 0 to {depth - 1}')
        if not set(bare_levels) <= set(range(depth)) - set(sgem_levels):
            raise ValueError(f'SGEM: bare_levels={tuple(bare_levels)} are not levels 0 to {depth - 1} without SGEM')
        self.sgem, self.narrow, self.convs = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for i, width in enumerate(self.out_channels[:-1]):
            skip, below = in_channels[i], self.out_channels[i + 1]
            if i in sgem_levels:
                self.sgem[str(i)] = SemanticGapElimination(skip, below, width, **(sgem or {}))
                below = width
            elif i in bare_levels:
                self.narrow[str(i)] = nn.Identity() if below == width else ConvBN(below, width, 1)
                continue
            elif narrow and below > width:
                self.narrow[str(i)] = ConvBN(below, width, 1)
                below = width
            if keep_skip or i not in sgem_levels:
                self.convs[str(i)] = conv_block(skip + below, width, num_convs)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Decode from coarse to fine; returns as many maps as it got, the coarsest as it came."""
        require_widths(features, self)
        x = features[-1]
        decoded = [x]
        for i in reversed(range(len(features) - 1)):
            skip, level = features[i], str(i)
            if level in self.narrow:
                x = self.narrow[level](x)
            x = self.sgem[level](skip, x) if level in self.sgem else resize_like(x, skip)
            if level in self.convs:
                x = self.convs[level](torch.cat((skip, x), dim=1))
            decoded.insert(0, x)
        return tuple(decoded)


@MODELS.register_module()
class DenseNestedDecoder(_PyramidDecoder):
    """Densely nested skips (Zhou et al., UNet++, TMI 2020; the structure of DNANet): what SGEM is to replace.

    Node j of level i is conv(cat(all earlier nodes of level i, upsampled node j - 1 of level i + 1)).

    Args:
        in_channels: widths of the input maps, fine to coarse.
        out_channels: widths of the nodes, fine to coarse, one less than inputs; None takes the inputs'.
        num_convs: convolutions of a node.
        init_cfg: of MMEngine.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int] | None = None,
        num_convs: int = 2,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, init_cfg)
        self.nodes = nn.ModuleList()
        depth = len(in_channels) - 1
        for i, width in enumerate(self.out_channels[:-1]):
            level = nn.ModuleList()
            for j in range(1, depth - i + 1):
                below = in_channels[i + 1] if j == 1 else self.out_channels[i + 1]
                level.append(conv_block(in_channels[i] + (j - 1) * width + below, width, num_convs))
            self.nodes.append(level)

    def forward(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Decode; returns the last node of each level, the coarsest map as it came."""
        require_widths(features, self)
        below = [features[-1]]
        decoded = [features[-1]]
        for skip, level in zip(reversed(features[:-1]), reversed(self.nodes), strict=True):
            nodes = [skip]
            for deep, conv in zip(below, level, strict=True):
                nodes.append(conv(torch.cat((*nodes, resize_like(deep, skip)), dim=1)))
            below = nodes
            decoded.insert(0, nodes[-1])
        return tuple(decoded)
