"""SimIR's decoder: SAM's mask decoder driven by learned queries instead of prompts (Zhang et al., ACM MM 2024)."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import build_activation_layer
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmirstd.models.decode_heads.binary_head import BinaryHead
from mmirstd.models.layers import MLP, FourierPosition, LayerNorm2d, TwoWayTransformer, recompute, require_queries
from mmirstd.models.layers.resizing import resize_like
from mmirstd.registry import MODELS

QUERY_SOURCES = ('features', 'learned')


@MODELS.register_module()
class QuerySAMHead(BinaryHead):
    """Query-based SAM decoder with supervision of the early and intermediate masks.

    A decoder query and the sparse queries, each with a learned position embedding, exchange with one map in SAM's
    two-way transformer; the sparse queries are dropped, and the mask is MLP(decoder query) times the mask features.
    The neck's intermediate mask, where there is one, is embedded by stride-1 convolutions and added to the map first
    (SAM's dense prompt).

    The transformer may run on a coarser map (`token_index`) than the one the mask is made at (`in_index`), and the
    mask features may be upscaled by sub-pixel convolution: two parameters that the paper has no need of, since its
    finest map has the size of the image, and that make a fast model of it.

    Args:
        in_channels: width of the map at `in_index`.
        channels: C, width of the transformer and of its queries.
        query_source: 'features' takes the sparse queries that a QueryEncoder or QueryFPN hands on; 'learned' has
            its own.
        num_queries: number of sparse queries, handed on or own.
        in_index: map that the mask is made at, 0 being the finest.
        token_index: map that the transformer runs on; None takes `in_index`.
        token_channels: width of that map; None takes `in_channels`.
        depth: layers of the transformer.
        num_heads: heads of its attentions.
        feedforward_channels: hidden width of its MLPs.
        downsample_rate: C over the inner width of the attentions between tokens and map.
        prompt_channels: hidden widths of the dense prompt's convolutions, of which the first and the last are 1x1, the
            others 3x3; None leaves the dense prompt out.
        mask_channels: widths of the mask features, before and after their 3x3 convolution.
        upscale: factor by which the mask is finer than its map.
        prior_logit: a learned number begins at this and is added to the logits of the mask, so that an untrained
            network finds next to nothing (Lin et al., Focal Loss, ICCV 2017, Sec. 4.1); None is without, as SAM.
        feature_act: activation of the prompt's convolutions and of the mask features; None takes GELU, as SAM.
        aux_weights: weights of the losses on the 'early' and 'neck' masks; a mask that is there but has no weight, or
            the other way round, is an error, since either would train less than the config says.
        with_cp: recompute transformer and mask features in the backward pass.
        kwargs: of BinaryHead.

    Raises:
        ValueError: for an unknown `query_source`, or features without the queries or masks that it needs.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int = 256,
        *,
        query_source: str = 'features',
        num_queries: int = 8,
        in_index: int = 0,
        token_index: int | None = None,
        token_channels: int | None = None,
        depth: int = 2,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        downsample_rate: int = 2,
        prompt_channels: Sequence[int] | None = (4, 16),
        mask_channels: tuple[int, int] = (64, 32),
        upscale: int = 1,
        prior_logit: float | None = None,
        feature_act: dict | None = None,
        aux_weights: dict[str, float] | None = None,
        with_cp: bool = False,
        **kwargs: object,
    ) -> None:
        super().__init__(in_channels, channels, in_index=in_index, **kwargs)
        if query_source not in QUERY_SOURCES:
            raise ValueError(f'QuerySAMHead: query_source={query_source!r} is none of {QUERY_SOURCES}')
        aux_weights = {'early': 1.0, 'neck': 1.0} if aux_weights is None else dict(aux_weights)
        if unknown := set(aux_weights) - {'early', 'neck'}:
            raise ValueError(f'QuerySAMHead: aux_weights has unknown masks {sorted(unknown)}; known: early, neck')
        self.query_source, self.num_queries = query_source, num_queries
        self.token_index = in_index if token_index is None else token_index
        self.aux_weights = aux_weights
        self.upscale = upscale
        self.with_cp = with_cp

        feature_act = feature_act or {'type': 'GELU'}
        self.feature_act = build_activation_layer(feature_act)
        token_channels = token_channels or in_channels
        self.token_in = nn.Identity() if token_channels == channels else nn.Conv2d(token_channels, channels, 1)
        self.sparse_queries = nn.Parameter(torch.randn(1, num_queries, channels)) if query_source == 'learned' else None
        self.decoder_query = nn.Parameter(torch.randn(1, 1, channels))
        self.token_pos = nn.Parameter(torch.randn(1, 1 + num_queries, channels))
        self.position = FourierPosition(channels)
        self.transformer = TwoWayTransformer(depth, channels, num_heads, feedforward_channels, downsample_rate)
        self.prompt = None
        if prompt_channels is not None:
            widths, layers = [1, *prompt_channels], []
            for i, (a, b) in enumerate(itertools.pairwise(widths)):
                conv = nn.Conv2d(a, b, 3, padding=1) if i else nn.Conv2d(a, b, 1)
                layers += [conv, LayerNorm2d(b, eps=1e-6), build_activation_layer(feature_act)]
            self.prompt = nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 1))
        hidden, out = mask_channels
        # Where the transformer ran on a coarser map, the finer one joins here.
        self.fine_in = nn.Conv2d(in_channels, hidden, 1) if self.token_index != in_index else None
        self.mask_in = nn.Conv2d(channels, hidden, 1)
        self.mask_norm = LayerNorm2d(hidden, eps=1e-6)
        self.mask_conv = nn.Conv2d(hidden, out * upscale**2, 3, padding=1)
        with torch.no_grad():
            # Sub-pixels begin alike, or a grid of them lasts far into the training (Aitken et al., 2017).
            for parameter in (self.mask_conv.weight, self.mask_conv.bias):
                pixels = parameter.unflatten(0, (out, -1))
                pixels.copy_(pixels[:, :1].expand_as(pixels))
        self.mask_mlp = MLP(channels, channels, out, 3)
        self.mask_bias = None if prior_logit is None else nn.Parameter(torch.tensor(float(prior_logit)))

    def mask_features(self, image: Tensor, fine: Tensor | None) -> Tensor:
        """Turn the transformer's map (and the finer one) into mask features (B, mask_channels[1] * upscale^2, H, W)."""
        x = self.mask_in(image)
        if fine is not None:
            x = resize_like(x, fine) + self.fine_in(fine)
        return self.feature_act(self.mask_conv(self.feature_act(self.mask_norm(x))))

    def decode(self, image: Tensor, tokens: Tensor, fine: Tensor | None) -> Tensor:
        """Run transformer and mask features: logits (B, 1, H, W)."""
        pos = self.position(*image.shape[2:]).to(image.dtype)
        tokens, image = self.transformer(image, pos, tokens, self.token_pos)
        weight = self.mask_mlp(tokens[:, 0])
        features = self.mask_features(image, fine).unflatten(1, (weight.shape[1], -1))
        # Sub-pixels become pixels last: the mask is one channel of them, the features are many.
        logits = F.pixel_shuffle(torch.einsum('bc,bcshw->bshw', weight, features), self.upscale)
        return logits if self.mask_bias is None else logits + self.mask_bias

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Predict logits (B, 1, H * upscale, W * upscale), (H, W) being the size of the map at `in_index`."""
        batch = inputs[0].shape[0]
        if self.query_source == 'features':
            sparse = require_queries(inputs, 'QuerySAMHead')
            if sparse.shape[1:] != (self.num_queries, self.channels):
                raise ValueError(
                    f'QuerySAMHead: the features carry {sparse.shape[1]} queries of {sparse.shape[2]} channels, '
                    f'num_queries={self.num_queries}, channels={self.channels}'
                )
        else:
            sparse = self.sparse_queries.expand(batch, -1, -1)
        image = self.token_in(inputs[self.token_index])
        if self.prompt is not None:
            mask = getattr(inputs, 'neck_mask', None)
            if mask is None:
                raise ValueError(
                    'QuerySAMHead: the dense prompt needs the intermediate mask of a QueryFPN before the head; '
                    'set prompt_channels=None to do without'
                )
            mask = resize_like(mask, image)
            image = image + self.prompt(mask)
        tokens = torch.cat((self.decoder_query.expand(batch, -1, -1), sparse), dim=1)
        fine = inputs[self.in_index] if self.fine_in is not None else None
        return recompute(self, self.decode, image, tokens, fine)

    def loss(self, inputs: tuple[Tensor, ...], batch_data_samples: SampleList, train_cfg: dict | None) -> dict:
        """Compute the losses on the final mask and, prefixed by their names, on the early and intermediate ones."""
        logits = self.forward(inputs)
        masks = {'early': getattr(inputs, 'early_mask', None), 'neck': getattr(inputs, 'neck_mask', None)}
        for name, mask in masks.items():
            if (mask is not None) != (name in self.aux_weights):
                there = 'is there' if mask is not None else 'is missing'
                raise ValueError(
                    f'QuerySAMHead: the {name} mask {there}, but aux_weights={self.aux_weights}. Give it a weight '
                    f'(0 is one), or turn the mask off where it is made (QueryEncoder dense_channels=0, QueryFPN '
                    'predict_mask=False).'
                )
        losses = self.loss_by_feat(logits, batch_data_samples)
        label = self._stack_batch_gt(batch_data_samples).squeeze(1)
        for name, weight in self.aux_weights.items():
            for key, value in self.mask_losses(self._at_label_size(masks[name], label), label).items():
                losses[f'{name}.{key}'] = weight * value
        return losses
