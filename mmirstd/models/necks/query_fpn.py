"""SimIR's tiny FPN, and the same with FPN queries (Zhang et al., ACM MM 2024, Sec. 3 and Fig. 3)."""

import itertools
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.layers import (
    MLP,
    QueryFeatures,
    QueryInteraction,
    recompute,
    require_queries,
    require_widths,
    sine_position,
)
from mmirstd.models.layers.resizing import resize_like
from mmirstd.registry import MODELS


@MODELS.register_module()
class TinyFPN(BaseModule):
    """A top-down feature pyramid: 1x1 laterals, nearest upsampling, one 3x3 convolution a level.

    The released code runs from the coarsest level to the finest, and so does this. Each level upsamples the finished
    level above it, as Mask2Former's pixel decoder does. The lateral of the coarsest level has no norm. A caption of the
    paper says "bottom-up information aggregation" and no more: `bottom_up` adds what the field calls so.

    Args:
        in_channels: widths of the input maps, fine to coarse.
        out_channels: width C of every output map: one number, or one for each level.
        norm_cfg: norm of the convolutions; None takes GroupNorm with 32 groups.
        act_cfg: activation after the 3x3 convolutions.
        depthwise: make the 3x3 convolutions depthwise-separable.
        bottom_up: the level up to which a path from the finest level runs behind the top-down one (Liu et al., Path
            Aggregation Network, CVPR 2018, Fig. 1b); 0 has none. It changes the levels from 1 to this one, so the head
            must read this one, as QuerySAMHead does by `token_index`.
        with_cp: recompute the levels in the backward pass instead of keeping their activations.
        init_cfg: of MMEngine.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int | Sequence[int] = 256,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        depthwise: bool = False,
        bottom_up: int = 0,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        widths = [out_channels] * len(in_channels) if isinstance(out_channels, int) else list(out_channels)
        if len(widths) != len(in_channels):
            raise ValueError(f'{type(self).__name__}: {len(widths)} out_channels for {len(in_channels)} in_channels')
        if not 0 <= bottom_up < len(widths):
            raise ValueError(f'{type(self).__name__}: {bottom_up=} is no level from 0 to {len(widths) - 1}')
        self.in_channels, self.out_channels = list(in_channels), widths
        self.with_cp = with_cp
        norm_cfg = norm_cfg or {'type': 'GN', 'num_groups': 32}
        act_cfg = act_cfg or {'type': 'ReLU'}
        # A lateral meets the upsampled level above, so it has that level's width; the coarsest its own.
        meet = [*widths[1:], widths[-1]]
        norms = [norm_cfg] * (len(in_channels) - 1) + [None]
        self.laterals = nn.ModuleList(
            ConvModule(a, b, 1, norm_cfg=norm, act_cfg=None)
            for a, b, norm in zip(in_channels, meet, norms, strict=True)
        )
        self.convs = nn.ModuleList()
        for a, b in zip(meet, widths, strict=True):
            conv = ConvModule(
                a, b, 1 if depthwise else 3, padding=0 if depthwise else 1, norm_cfg=norm_cfg, act_cfg=act_cfg
            )
            if depthwise:
                conv = nn.Sequential(nn.Conv2d(a, a, 3, padding=1, groups=a, bias=False), conv)
            self.convs.append(conv)
        conv3x3 = partial(ConvModule, kernel_size=3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg)
        steps = list(itertools.pairwise(widths[: bottom_up + 1]))
        self.downsamples = nn.ModuleList(conv3x3(a, b, stride=2) for a, b in steps)
        self.bottom_up_convs = nn.ModuleList(conv3x3(b, b) for _, b in steps)

    def merge(self, index: int, x: Tensor, above: Tensor | None) -> Tensor:
        """Compute one output level from its lateral and the level above it (None at the coarsest)."""
        if above is not None:
            x = x + F.interpolate(above, x.shape[2:], mode='nearest')
        return self.convs[index](x)

    def level(self, index: int, x: Tensor, above: Tensor | None) -> Tensor:
        """Compute one output level from its input map and the level above it."""
        return self.merge(index, self.laterals[index](x), above)

    def aggregate(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Let each finished level join the next coarser one, up to level `bottom_up`."""
        for i, (down, conv) in enumerate(zip(self.downsamples, self.bottom_up_convs, strict=True)):
            coarse = pyramid[i + 1]
            pyramid[i + 1] = conv(coarse + resize_like(down(pyramid[i]), coarse))
        return pyramid

    def forward(self, features: tuple[Tensor, ...]) -> QueryFeatures:
        """Build the pyramid; queries and early mask of `features` are handed on."""
        require_widths(features, self)
        pyramid: list[Tensor] = []
        for i in reversed(range(len(features))):
            pyramid.insert(0, recompute(self, self.level, i, features[i], pyramid[0] if pyramid else None))
        return QueryFeatures(
            self.aggregate(pyramid),
            queries=getattr(features, 'queries', None),
            early_mask=getattr(features, 'early_mask', None),
        )


@MODELS.register_module()
class QueryFPN(TinyFPN):
    """Tiny FPN whose queries exchange with every level and predict SimIR's intermediate mask.

    The FPN queries, with the encoder's queries behind them, exchange with the lateral of each level on the way down,
    before the level above is added to it. Each level has weights and an embedding of its own. The finest level passes
    one more convolution and is then the mask features; MLP(LayerNorm(first query)) times these is the intermediate
    mask. All levels have the same width.

    Args:
        in_channels: widths of the input maps, fine to coarse.
        out_channels: width C of every output map and of the queries.
        num_queries: number of FPN queries.
        num_encoder_queries: number of queries that the encoder hands on; 0 takes none along.
        query_channels: width of the encoder's queries where it is not C: they are then projected to C.
        num_heads: heads of the attentions.
        feedforward_channels: hidden width of the queries' feed-forward network.
        dropout: dropout of the exchange.
        query_levels: levels (0 is the finest) at which queries exchange; None means all.
        shared_weights: one set of exchange weights for all levels, as a smaller model may have it.
        mask_kernel: kernel size of the convolution that makes the mask features; None takes the finest level as it is.
        predict_mask: make the intermediate mask. Turn it off before a head that does not use it.
        norm_cfg: norm of the convolutions; None takes GroupNorm with 32 groups.
        act_cfg: activation after the 3x3 convolutions.
        depthwise: make the 3x3 convolutions depthwise-separable.
        bottom_up: see TinyFPN; the path begins before the convolution that makes the mask features.
        with_cp: recompute levels and exchanges in the backward pass instead of keeping their activations.
        init_cfg: of MMEngine.

    Raises:
        ValueError: at the forward pass, if maps or encoder queries are missing, too many or of another width.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        num_queries: int = 4,
        num_encoder_queries: int = 4,
        query_channels: int | None = None,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        dropout: float = 0.5,
        query_levels: Sequence[int] | None = None,
        shared_weights: bool = False,
        mask_kernel: int | None = 3,
        predict_mask: bool = True,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        depthwise: bool = False,
        bottom_up: int = 0,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, norm_cfg, act_cfg, depthwise, bottom_up, with_cp, init_cfg)
        if num_queries < 1:
            raise ValueError(f'QueryFPN: num_queries={num_queries}; without queries use TinyFPN')
        levels = range(len(in_channels)) if query_levels is None else query_levels
        if not set(levels) <= set(range(len(in_channels))) or not len(levels):
            raise ValueError(f'QueryFPN: query_levels={query_levels} are not levels 0 to {len(in_channels) - 1}')
        self.query_levels = tuple(sorted(set(levels)))
        self.embed_dims, self.num_encoder_queries = out_channels, num_encoder_queries
        self.queries = nn.Parameter(torch.randn(1, num_queries, out_channels))
        self.query_pos = nn.Parameter(torch.randn(1, num_queries + num_encoder_queries, out_channels))
        self.level_embed = nn.Parameter(torch.randn(len(self.query_levels), out_channels))
        self.query_in = None
        if num_encoder_queries and query_channels not in (None, out_channels):
            self.query_in = nn.Linear(query_channels, out_channels)
        self.interactions = nn.ModuleList(
            QueryInteraction(out_channels, num_heads, feedforward_channels, dropout)
            for _ in (self.query_levels[:1] if shared_weights else self.query_levels)
        )
        self.mask_conv = nn.Identity()
        if mask_kernel is not None:
            self.mask_conv = nn.Conv2d(out_channels, out_channels, mask_kernel, padding=mask_kernel // 2)
        self.mask_norm = None
        if predict_mask:
            self.mask_norm = nn.LayerNorm(out_channels)
            self.mask_mlp = MLP(out_channels, out_channels, out_channels, 3)

    def gather_queries(self, features: tuple[Tensor, ...]) -> Tensor:
        """Return the tokens (B, N, C), own queries first."""
        tokens = self.queries.expand(features[0].shape[0], -1, -1)
        if not self.num_encoder_queries:
            return tokens
        encoder = require_queries(features, 'QueryFPN')
        if encoder.shape[1] != self.num_encoder_queries:
            raise ValueError(
                f'QueryFPN: the encoder hands on {encoder.shape[1]} queries; set num_encoder_queries='
                f'{encoder.shape[1]} (it is {self.num_encoder_queries})'
            )
        if self.query_in is not None:
            encoder = self.query_in(encoder)
        if encoder.shape[2] != self.embed_dims:
            raise ValueError(
                f'QueryFPN: encoder queries have {encoder.shape[2]} channels, its own {self.embed_dims}; '
                f'set query_channels={encoder.shape[2]}'
            )
        return torch.cat((tokens, encoder), dim=1)

    def query_level(self, index: int, x: Tensor, above: Tensor | None, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Compute one output level and the tokens after their exchange with its lateral."""
        x = self.laterals[index](x)
        if index in self.query_levels:
            place = self.query_levels.index(index)
            x = x + self.level_embed[place][:, None, None]
            pos = sine_position(*x.shape[2:], self.embed_dims, device=x.device, dtype=x.dtype)
            interaction = self.interactions[place if len(self.interactions) > 1 else 0]
            tokens, x = interaction(tokens, self.query_pos, x, pos)
        return self.merge(index, x, above), tokens

    def forward(self, features: tuple[Tensor, ...]) -> QueryFeatures:
        """Build the pyramid, the finest map being the mask features; hand on queries and masks."""
        require_widths(features, self)
        tokens = self.gather_queries(features)
        pyramid: list[Tensor] = []
        for i in reversed(range(len(features))):
            above = pyramid[0] if pyramid else None
            x, tokens = recompute(self, self.query_level, i, features[i], above, tokens)
            pyramid.insert(0, x)
        pyramid = self.aggregate(pyramid)
        pyramid[0] = self.mask_conv(pyramid[0])
        mask = None
        if self.mask_norm is not None:
            weight = self.mask_mlp(self.mask_norm(tokens[:, 0]))
            mask = torch.einsum('bc,bchw->bhw', weight, pyramid[0])[:, None]
        return QueryFeatures(pyramid, queries=tokens, early_mask=getattr(features, 'early_mask', None), neck_mask=mask)
