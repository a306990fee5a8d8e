"""SimIR's encoder queries (Zhang et al., Unleashing the Power of Generic Segmentation Models, ACM MM 2024, Sec. 3).

Sparse and dense queries meet the features inside a backbone, and what they change is added back, so that everything
behind sees it: this is no neck but a wrapper around the backbone.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmirstd.checkpoints.convert.simir import convert_simir_backbone
from mmirstd.checkpoints.state_dict import StateDict
from mmirstd.models.backbones.pretrained import PretrainedBackbone
from mmirstd.models.layers import DenseQueries, QueryFeatures, SparseQueries, projection, recompute
from mmirstd.registry import MODELS


def split_stages(
    backbone: nn.Module, stem_names: Sequence[str] | None = None, stage_names: Sequence[str] | None = None
) -> tuple[Callable[[Tensor], Tensor] | None, list[nn.Module]]:
    """Find the stem and the stages of a backbone whose forward is stem, then stage after stage.

    Args:
        backbone: RepViT (`stem`, `stages`), a ResNet of MMSegmentation (`res_layers`), or any other when the
            submodules are named.
        stem_names: names of the submodules that run before the first stage, in order.
        stage_names: names of the submodules that are the stages, in order.

    Returns:
        A function from image to the first stage's input (None where no submodule is named as stem), and the stages.

    Raises:
        TypeError: if the backbone is of no known form and `stage_names` is None.
        ValueError: if a name is no submodule of the backbone.
    """
    name = type(backbone).__name__
    if stage_names is not None:
        modules = dict(backbone.named_modules())
        if missing := [key for key in (*(stem_names or ()), *stage_names) if key not in modules]:
            raise ValueError(f'{name} has no submodule {missing}; it has {[k for k, _ in backbone.named_children()]}')
        stem = nn.Sequential(*(modules[key] for key in stem_names)) if stem_names else None
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
class QueryEncoder(PretrainedBackbone):
    """A staged backbone with SimIR's sparse and dense queries, as in its released code.

    Queries and features exchange at places: place 0 is after the stem, place i > 0 after the first block of stage i,
    which is the one that down-samples (after the whole stage where that is no `nn.Sequential`). There

    - the sparse queries exchange with conv1x1-BN-GELU of the features (one set of weights over all places), and
      conv1x1-BN-GELU of the result is added to the features;
    - at the places behind the stem the dense queries and conv1x1-BN-GELU of the features are updated together, and
      conv1x1-BN-GELU of the updated features is added to the features. The dense queries are conv1x1-BN-GELU of the
      stem's features, and keep their size.

    The output maps are conv1x1-BN-GELU of the outputs of the stages. Early mask: MLP(LayerNorm(last sparse query))
    times conv3x3(dense queries).

    Args:
        backbone: config of the wrapped backbone.
        in_channels: widths of its stages; None takes its attribute `out_channels`.
        stem_channels: width of its stem; None takes its attribute `stem_channels`, or the width of the first stage.
        embed_dims: C, width of the sparse queries.
        out_channels: width of the output maps; None takes `embed_dims`.
        num_queries: N, number of sparse queries.
        num_heads: heads of the sparse queries' attentions.
        feedforward_channels: hidden width of the sparse queries' feed-forward network.
        dropout: dropout of the exchange.
        query_places: places at which sparse queries and features exchange; None means all.
        dense_channels: channels of the dense queries; 0 leaves them and the early mask out.
        dense_places: places (of 1 and above) at which dense queries and features are updated; None means all.
        dense_update: config of the update, `DeformableDenseUpdate` (the released code) or `ConvDenseUpdate` (the
            paper's text).
        dense_carry_all: whether each update takes in what the one before made of the dense queries. In the released
            code all but the first take in what the first made.
        early_channels: width in which sparse and dense queries are multiplied.
        early_mlp_layers: layers of the MLP of the sparse query: 3 in the released code, 2 in the paper's text.
        predict_mask: make the early mask. Turn it off before a head that does not use it.
        zero_init: start with nothing added to the features (the last norms at zero), so that a pre-trained backbone
            starts undisturbed. The released code does not.
        stem_names: see :func:`split_stages`.
        stage_names: see :func:`split_stages`.
        norm_cfg: norm of the projections; None takes BatchNorm.
        act_cfg: activation of the projections; None takes GELU, as the released code.
        with_cp: recompute exchanges and updates in the backward pass instead of keeping their activations.
        init_cfg: `dict(type='Pretrained', checkpoint=FILE_OR_URL)` takes a released SimIR model, of which it uses the
            backbone, or a distilled backbone without queries (`features.*` with `proj1..4.*`).

    The early mask is left out under `torch.no_grad()` in evaluation mode: no prediction depends on it.
    """

    def __init__(
        self,
        backbone: dict,
        in_channels: Sequence[int] | None = None,
        stem_channels: int | None = None,
        embed_dims: int = 256,
        out_channels: int | None = None,
        num_queries: int = 4,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        dropout: float = 0.0,
        query_places: Sequence[int] | None = None,
        dense_channels: int = 8,
        dense_places: Sequence[int] | None = None,
        dense_update: dict | None = None,
        dense_carry_all: bool = False,
        early_channels: int = 32,
        early_mlp_layers: int = 3,
        predict_mask: bool = True,
        zero_init: bool = False,
        stem_names: Sequence[str] | None = None,
        stage_names: Sequence[str] | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.stem_names, self.stage_names = stem_names, stage_names
        stem, stages = split_stages(self.backbone, stem_names, stage_names)
        in_channels = in_channels or getattr(self.backbone, 'out_channels', None)
        if in_channels is None or len(in_channels) != len(stages):
            raise ValueError(
                f'QueryEncoder: in_channels={in_channels} does not give the widths of the {len(stages)} stages of '
                f'{type(self.backbone).__name__}'
            )
        if num_queries < 1:
            raise ValueError(f'QueryEncoder: num_queries={num_queries}; without queries use the backbone itself')
        places = range(len(stages))
        self.query_places = _checked_places('query_places', query_places, places)
        self.dense_places = _checked_places('dense_places', dense_places, places[1:]) if dense_channels else ()
        if stem is None and (dense_channels or 0 in self.query_places):
            raise ValueError(
                'QueryEncoder: stage_names without stem_names. Name the modules of the stem, after which queries and '
                'features exchange, or leave it out: query_places without 0, and dense_channels=0'
            )
        stem_channels = stem_channels or getattr(self.backbone, 'stem_channels', in_channels[0])
        widths = [stem_channels, *in_channels[1:]]
        self.embed_dims, self.zero_init, self.with_cp = embed_dims, zero_init, with_cp
        self.out_channels = [out_channels or embed_dims] * len(stages)
        layers = {'norm_cfg': norm_cfg or {'type': 'BN'}, 'act_cfg': act_cfg or {'type': 'GELU'}}
        self.maps = nn.ModuleList(
            projection(a, b, **layers) for a, b in zip(in_channels, self.out_channels, strict=True)
        )
        self.sparse = SparseQueries(
            [widths[i] for i in self.query_places],
            embed_dims,
            num_queries,
            num_heads,
            feedforward_channels,
            dropout,
            **layers,
        )
        self.dense = None
        self.predict_mask = bool(dense_channels) and predict_mask
        if dense_channels:
            self.dense = DenseQueries(
                dense_channels,
                stem_channels,
                [widths[i] for i in self.dense_places],
                dense_update or {'type': 'mmirstd.DeformableDenseUpdate'},
                dense_carry_all,
                (embed_dims, early_channels, early_mlp_layers) if predict_mask else None,
                **layers,
            )

    def init_weights(self) -> None:
        """Initialize as MMEngine does; with `zero_init`, then silence the projections back into the backbone."""
        super().init_weights()
        if self.zero_init:
            for part in filter(None, (self.sparse, self.dense)):
                for project in part.project_out:
                    nn.init.zeros_(project.norm.weight)
                    nn.init.zeros_(project.norm.bias)

    def convert_state_dict(self, state_dict: StateDict) -> tuple[StateDict, list[str]]:
        """Convert a released SimIR model's backbone, or a distilled one: its trunk and output maps."""
        state, dropped = convert_simir_backbone(state_dict)
        own, parts = self.state_dict(), {key.partition('.')[0] for key in state}
        for part in sorted(parts - {key.partition('.')[0] for key in own}):
            raise ValueError(f'it has weights of {part}.*, which this QueryEncoder is without')
        return {key: value for key, value in own.items() if key.partition('.')[0] not in parts} | state, dropped

    def frozen_parts(self) -> tuple[nn.Module, ...]:
        """Nothing: what the wrapped backbone freezes, it freezes itself."""
        return ()

    def meet(
        self, place: int, x: Tensor, queries: Tensor, dense: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
        """Let queries and features meet at one place.

        Args:
            place: 0 after the stem, i after the first block of stage i.
            x: features (B, width, h, w).
            queries: sparse queries (B, N, C).
            dense: the dense queries that the next update takes in, and the latest ones, each (B, c, H, W).

        Returns:
            features, sparse queries and dense queries as the meeting leaves them.
        """
        added = []
        if place in self.query_places:
            queries, change = recompute(self, self.sparse.exchange, self.query_places.index(place), queries, x)
            added.append(change)
        if place in self.dense_places:
            index = self.dense_places.index(place)
            latest, change = recompute(self, self.dense.update, index, dense[0], x)
            added.append(change)
            dense = (latest if index == 0 or self.dense.carry_all else dense[0], latest)
        return sum(added, x), queries, dense

    def run_stage(
        self, place: int, stage: nn.Module, x: Tensor, queries: Tensor, dense: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
        """Run a stage in which queries and features meet after the first block; arguments as :meth:`meet`.

        The stage itself is called, so that what others have hooked to it still runs.
        """
        if place not in {*self.query_places, *self.dense_places}:
            return stage(x), queries, dense
        if not isinstance(stage, nn.Sequential):
            return self.meet(place, stage(x), queries, dense)

        def meet(_: nn.Module, __: tuple, out: Tensor) -> Tensor:
            nonlocal queries, dense
            out, queries, dense = self.meet(place, out, queries, dense)
            return out

        hook = stage[0].register_forward_hook(meet)
        try:
            x = stage(x)
        finally:
            hook.remove()
        return x, queries, dense

    def forward(self, x: Tensor) -> QueryFeatures:
        """Encode images (B, 3, H, W) to maps (B, out_channels, h_i, w_i) with queries and early mask."""
        stem, stages = split_stages(self.backbone, self.stem_names, self.stage_names)
        x = x if stem is None else stem(x)
        queries = self.sparse.queries.expand(x.shape[0], -1, -1)
        dense = None if self.dense is None else (self.dense.project_stem(x),) * 2
        x, queries, dense = self.meet(0, x, queries, dense)
        maps = []
        for i, stage in enumerate(stages):
            x, queries, dense = self.run_stage(i, stage, x, queries, dense) if i else (stage(x), queries, dense)
            maps.append(self.maps[i](x))
        mask = None
        if self.predict_mask and (self.training or torch.is_grad_enabled()):
            mask = self.dense.early_mask(queries[:, -1], dense[1])
        return QueryFeatures(maps, queries=queries, early_mask=mask)


def _checked_places(name: str, places: Sequence[int] | None, known: range) -> tuple[int, ...]:
    chosen = known if places is None else places
    if not chosen or not set(chosen) <= set(known):
        raise ValueError(f'QueryEncoder: {name}={places} must be some of the places {known[0]} to {known[-1]}')
    return tuple(sorted(set(chosen)))
