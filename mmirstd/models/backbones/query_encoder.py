"""SimIR's encoder queries (Zhang et al., Unleashing the Power of Generic Segmentation Models, ACM MM 2024, Sec. 3).

Sparse queries meet the features after every stage of a backbone and what they change is added back, so the next
stage sees it: this is no neck but a wrapper around the backbone. Dense queries, a learned map of a few channels,
turn with the sparse ones into an early mask.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmirstd.models.layers import MLP, QueryFeatures, QueryInteraction, recompute, sine_position
from mmirstd.registry import MODELS


def split_stages(
    backbone: nn.Module, stem_names: Sequence[str] | None = None, stage_names: Sequence[str] | None = None
) -> tuple[Callable[[Tensor], Tensor], list[nn.Module]]:
    """Find the stem and the stages of a backbone whose forward is stem, then stage after stage.

    Args:
        backbone: RepViT (`stem`, `stages`), a ResNet of MMSegmentation (`res_layers`), or any other when the
            submodules are named.
        stem_names: names of the submodules that run before the first stage, in order.
        stage_names: names of the submodules that are the stages, in order.

    Returns:
        A function from image to the first stage's input, and the stages.

    Raises:
        TypeError: if the backbone is of no known form and `stage_names` is None.
        ValueError: if a name is no submodule of the backbone.
    """
    name = type(backbone).__name__
    if stage_names is not None:
        modules = dict(backbone.named_modules())
        if missing := [key for key in (*(stem_names or ()), *stage_names) if key not in modules]:
            raise ValueError(f'{name} has no submodule {missing}; it has {[k for k, _ in backbone.named_children()]}')
        stem = nn.Sequential(*(modules[key] for key in stem_names or ()))
        return stem, [modules[key] for key in stage_names]
    if hasattr(backbone, 'res_layers'):

        def resnet_stem(x: Tensor) -> Tensor:
            x = backbone.stem(x) if backbone.deep_stem else backbone.relu(backbone.norm1(backbone.conv1(x)))
            return backbone.maxpool(x)

        return resnet_stem, [getattr(backbone, key) for key in backbone.res_layers]
    if hasattr(backbone, 'stem') and hasattr(backbone, 'stages'):
        return backbone.stem, list(backbone.stages)
    raise TypeError(
        f'QueryEncoder cannot tell the stages of {name}: it has neither `stem` and `stages` nor `res_layers`. '
        'Name its submodules with stem_names and stage_names.'
    )


@MODELS.register_module()
class QueryEncoder(BaseModule):
    """A staged backbone with SimIR's sparse and dense encoder queries.

    After stage i its output passes conv1x1-BN-GELU to `embed_dims`, exchanges with the sparse queries (one set of
    weights over all stages), and is projected back and added to the stage's output; that last projection starts at
    zero, so a pre-trained backbone starts undisturbed. The dense queries are resized to the finest stage, take in
    the exchanged features of all stages and are updated by a convolution, as the paper has it (the released code uses
    multi-scale deformable attention and a fixed 256 x 256). Early mask: MLP(LayerNorm(last query)) times conv(dense).

    Args:
        backbone: config of the wrapped backbone.
        in_channels: widths of its stages; None takes its attribute `out_channels`.
        embed_dims: C, width of queries and output maps.
        num_queries: N, number of sparse queries.
        num_heads: heads of the attentions.
        feedforward_channels: hidden width of the queries' feed-forward network.
        dropout: dropout of the exchange.
        query_stages: stages (0 is the finest) at which queries and features exchange; None means all. The others are
            projected to `embed_dims` alone: at the finest stages the exchange costs more than a light backbone.
        dense_channels: channels of the dense queries; 0 leaves them and the early mask out.
        dense_size: (h, w) at which the dense queries are learned.
        early_channels: width in which sparse and dense queries are multiplied.
        stem_names: see :func:`split_stages`.
        stage_names: see :func:`split_stages`.
        norm_cfg: norm of the projections.
        with_cp: recompute the exchanges in the backward pass instead of keeping their activations.
        init_cfg: of MMEngine.

    The early mask is left out under `torch.no_grad()` in evaluation mode: no prediction depends on it.
    """

    def __init__(
        self,
        backbone: dict,
        in_channels: Sequence[int] | None = None,
        embed_dims: int = 256,
        num_queries: int = 4,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        dropout: float = 0.0,
        query_stages: Sequence[int] | None = None,
        dense_channels: int = 8,
        dense_size: tuple[int, int] = (256, 256),
        early_channels: int = 32,
        stem_names: Sequence[str] | None = None,
        stage_names: Sequence[str] | None = None,
        norm_cfg: dict | None = None,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.stem_names, self.stage_names = stem_names, stage_names
        num_stages = len(split_stages(self.backbone, stem_names, stage_names)[1])
        in_channels = in_channels or getattr(self.backbone, 'out_channels', None)
        if in_channels is None or len(in_channels) != num_stages:
            raise ValueError(
                f'QueryEncoder: in_channels={in_channels} does not give the widths of the {num_stages} stages of '
                f'{type(self.backbone).__name__}'
            )
        if num_queries < 1:
            raise ValueError(f'QueryEncoder: num_queries={num_queries}; without queries use the backbone itself')
        exchanging = range(num_stages) if query_stages is None else query_stages
        if not set(exchanging) <= set(range(num_stages)) or not len(exchanging):
            raise ValueError(f'QueryEncoder: query_stages={query_stages} are not stages 0 to {num_stages - 1}')
        self.query_stages = frozenset(exchanging)
        self.embed_dims = embed_dims
        self.out_channels = [embed_dims] * num_stages
        self.with_cp = with_cp
        norm_cfg = norm_cfg or {'type': 'BN'}
        self.project_in = nn.ModuleList(
            ConvModule(width, embed_dims, 1, norm_cfg=norm_cfg, act_cfg={'type': 'GELU'}) for width in in_channels
        )
        # Nothing follows the last stage, and a parameter without a use breaks distributed training.
        self.project_out = nn.ModuleDict(
            {str(i): nn.Conv2d(embed_dims, in_channels[i], 1) for i in sorted(self.query_stages - {num_stages - 1})}
        )
        self.queries = nn.Parameter(torch.randn(1, num_queries, embed_dims))
        self.query_pos = nn.Parameter(torch.randn(1, num_queries, embed_dims))
        self.interaction = QueryInteraction(embed_dims, num_heads, feedforward_channels, dropout)
        self.dense_queries = None
        if dense_channels:
            self.dense_queries = nn.Parameter(0.02 * torch.randn(1, dense_channels, *dense_size))
            self.dense_in = nn.ModuleList(nn.Conv2d(embed_dims, dense_channels, 1) for _ in in_channels)
            self.dense_update = ConvModule(
                dense_channels, dense_channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg={'type': 'GELU'}
            )
            self.dense_out = nn.Conv2d(dense_channels, early_channels, 3, padding=1)
            self.early_norm = nn.LayerNorm(embed_dims)
            self.early_mlp = MLP(embed_dims, embed_dims, early_channels, 3)

    def init_weights(self) -> None:
        """Initialise as MMEngine does, then set the projections back into the backbone to zero."""
        super().init_weights()
        for project in self.project_out.values():
            nn.init.zeros_(project.weight)
            nn.init.zeros_(project.bias)

    def early_mask(self, queries: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Multiply the last sparse query with the updated dense queries: logits (B, 1, H, W) of the finest map."""
        size = maps[0].shape[2:]
        dense = F.interpolate(self.dense_queries, size, mode='bilinear', align_corners=False)
        for project, x in zip(self.dense_in, maps, strict=True):
            dense = dense + F.interpolate(project(x), size, mode='bilinear', align_corners=False)
        dense = self.dense_out(dense + self.dense_update(dense))
        weight = self.early_mlp(self.early_norm(queries[:, -1]))
        return torch.einsum('bc,bchw->bhw', weight, dense)[:, None]

    def exchange(self, queries: Tensor, feature: Tensor) -> tuple[Tensor, Tensor]:
        """Let queries (B, N, C) and one map (B, C, h, w) exchange; checkpointed when `with_cp`."""
        pos = sine_position(*feature.shape[2:], self.embed_dims, device=feature.device)
        return recompute(self, self.interaction, queries, self.query_pos, feature, pos)

    def forward(self, x: Tensor) -> QueryFeatures:
        """Encode images (B, 3, H, W) to maps (B, embed_dims, h_i, w_i) with queries and early mask."""
        stem, stages = split_stages(self.backbone, self.stem_names, self.stage_names)
        x = stem(x)
        queries = self.queries.expand(x.shape[0], -1, -1)
        maps = []
        for i, stage in enumerate(stages):
            x = stage(x)
            feature = self.project_in[i](x)
            if i in self.query_stages:
                queries, feature = self.exchange(queries, feature)
            maps.append(feature)
            if str(i) in self.project_out:
                x = x + self.project_out[str(i)](feature)
        mask = None
        if self.dense_queries is not None and (self.training or torch.is_grad_enabled()):
            mask = self.early_mask(queries, maps)
        return QueryFeatures(maps, queries=queries, early_mask=mask)
