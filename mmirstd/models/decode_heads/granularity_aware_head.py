"""IRSAM's decoder: SAM's mask decoder without prompts, sharpened by an edge that it predicts (Zhang et al., ECCV 2024).

M. Zhang et al., "IRSAM: Advancing Segment Anything Model for Infrared Small Target Detection".
"""

import torch
from mmengine.logging import print_log
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmirstd.checkpoints.convert.sam import EDGE_BRANCH, convert_sam_decoder_state_dict
from mmirstd.checkpoints.state_dict import StateDict
from mmirstd.models.decode_heads.binary_head import BinaryHead
from mmirstd.models.layers import MLP, FourierPosition, LayerNorm2d, TwoWayBlock, TwoWayTransformer, recompute
from mmirstd.models.layers.resizing import resize_like
from mmirstd.models.losses import mask_boundary
from mmirstd.models.published_weights import PublishedWeights
from mmirstd.registry import MODELS

FUSIONS = ('early+deep', 'deep', 'early')
EDGE_TARGETS = ('boundary', 'inner', 'sample')
# A head may upscale a map by two transposed convolutions of these strides.
STRIDES = {4: (2, 2), 2: (2, 1), 1: (1, 1)}


def upscaling(in_channels: int, hidden_channels: int, out_channels: int, factor: int = 4) -> nn.Sequential:
    """Two transposed convolutions that enlarge (B, C, H, W) by `factor`, with SAM's layer norm and GELU between."""
    a, b = STRIDES[factor]
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, hidden_channels, a, a),
        LayerNorm2d(hidden_channels, eps=1e-6),
        nn.GELU(),
        nn.ConvTranspose2d(hidden_channels, out_channels, b, b),
    )


@MODELS.register_module()
class GranularityAwareHead(PublishedWeights, BinaryHead):
    """SAM's mask decoder with an edge token (GAD), on a deep map and an early one.

    SAM's tokens and the edge token exchange with the deep map in the two-way transformer; its map, four times as fine,
    times MLP(mask token) is the mask. The same with a 3x3 convolution each before and after a GELU, plus early and deep
    features, times MLP(edge token) is the edge, and the result is mask * (1 + sigmoid(edge)).

    There are no prompts: the map gets SAM's embedding of "no mask". The decoder's other mask tokens and its IoU token
    take part in the attention, as SAM's weights expect; what is read from them is not built, since distributed training
    fails on parameters without a gradient.

    Args:
        in_channels: width of the deep map; where it is not `channels`, a 1x1 convolution comes first.
        channels: C, width of transformer and tokens, a multiple of 8.
        early_channels: width of the early map; needed where `fuse` names it.
        early_index: early map in what the backbone returns.
        in_index: deep map there; the last is a SAM encoder's neck.
        early_upscale: factor 1, 2 or 4 by which learned layers enlarge the early map. What is then missing to the
            size of the mask, four times that of the deep map, is interpolated.
        with_edge: False leaves the edge out: SAM's decoder alone.
        fuse: 'early+deep' as in the paper, 'deep' as in the code that its authors released, or 'early'.
        edge_target: label of the edge: 'boundary' of the mask on both sides, 'inner' side alone (see
            losses.mask_boundary), or the 'sample' itself has it (`gt_edge_map`, of a transform such as CannyEdge).
        loss_edge: config of a BinaryLoss; None is 5 x BCE.
        num_mask_tokens: SAM has 4.
        mask_index: mask token that the mask is read from; 0 is SAM's for a single mask.
        depth: layers of the transformer.
        num_heads: heads of its attentions.
        feedforward_channels: hidden width of its MLPs.
        downsample_rate: C over the inner width of the attentions between tokens and map.
        with_cp: recompute everything behind the backbone in the backward pass.
        kwargs: of BinaryHead. ``init_cfg=dict(type='Pretrained', checkpoint=FILE_OR_URL, prefix=None)`` takes
            the decoder out of a SAM, MobileSAM or IRSAM checkpoint, or this project's own.

    Raises:
        ValueError: for an unknown or missing choice of these.
    """

    # What the decoder of another SAM has otherwise.
    block = TwoWayBlock
    convert_decoder = staticmethod(convert_sam_decoder_state_dict)

    def __init__(
        self,
        in_channels: int = 256,
        channels: int = 256,
        *,
        early_channels: int | None = None,
        early_index: int = 0,
        in_index: int = -1,
        early_upscale: int = 4,
        with_edge: bool = True,
        fuse: str = 'early+deep',
        edge_target: str = 'boundary',
        loss_edge: dict | None = None,
        num_mask_tokens: int = 4,
        mask_index: int = 0,
        depth: int = 2,
        num_heads: int = 8,
        feedforward_channels: int = 2048,
        downsample_rate: int = 2,
        with_cp: bool = False,
        **kwargs: object,
    ) -> None:
        super().__init__(in_channels, channels, in_index=in_index, **kwargs)
        known = {'fuse': (fuse, FUSIONS), 'edge_target': (edge_target, EDGE_TARGETS)}
        for name, (value, choices) in (known | {'early_upscale': (early_upscale, tuple(STRIDES))}).items():
            if value not in choices:
                raise ValueError(f'GranularityAwareHead: {name}={value!r} is none of {choices}')
        if not 0 <= mask_index < num_mask_tokens or channels % 8:
            raise ValueError(f'GranularityAwareHead: {mask_index=} of {num_mask_tokens=}, {channels=} out of range')
        self.early_index, self.mask_index = early_index, mask_index
        self.with_edge, self.edge_target, self.with_cp = with_edge, edge_target, with_cp

        hidden, out = channels // 4, channels // 8
        self.token_in = nn.Identity() if in_channels == channels else nn.Conv2d(in_channels, channels, 1)
        # Names from here on are segment-anything's and those of IRSAM's authors.
        self.pe_layer = FourierPosition(channels)
        self.no_mask_embed = nn.Embedding(1, channels)
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(num_mask_tokens, channels)
        self.transformer = TwoWayTransformer(
            depth, channels, num_heads, feedforward_channels, downsample_rate, block=self.block
        )
        self.output_upscaling = nn.Sequential(*upscaling(channels, hidden, out), nn.GELU())
        self.output_hypernetworks_mlps = nn.ModuleDict({str(mask_index): MLP(channels, channels, out, 3)})
        if not with_edge:
            return
        self.edge_token = nn.Embedding(1, channels)
        self.edge_mlp = MLP(channels, channels, out, 3)
        self.compress_vit_feat = self.embedding_encoder = None
        if 'early' in fuse:
            if early_channels is None:
                raise ValueError(f'GranularityAwareHead: {fuse=} needs early_channels, the width of that map')
            self.compress_vit_feat = upscaling(early_channels, channels, out, early_upscale)
        if 'deep' in fuse:
            self.embedding_encoder = upscaling(channels, hidden, out)
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(out, hidden, 3, padding=1),
            LayerNorm2d(hidden, eps=1e-6),
            nn.GELU(),
            nn.Conv2d(hidden, out, 3, padding=1),
        )
        self.loss_edge = MODELS.build(
            loss_edge or dict(type='mmirstd.BinaryCrossEntropyLoss', loss_weight=5.0, loss_name='loss_edge')
        )

    def sam_tokens(self) -> list[Tensor]:
        """Return the tokens that every image has, (n, C) each: IoU, masks."""
        return [self.iou_token.weight, self.mask_tokens.weight]

    def decode(self, deep: Tensor, early: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Compute the logits of mask and edge, each (B, 1, 4 H, 4 W), from the deep map (B, C, H, W) and the early."""
        tokens = self.sam_tokens()
        if self.with_edge:
            tokens.append(self.edge_token.weight)
        tokens = torch.cat(tokens)[None].expand(deep.shape[0], -1, -1)
        image = deep if self.no_mask_embed is None else deep + self.no_mask_embed.weight[..., None, None]
        tokens, image = self.transformer(image, self.pe_layer(*image.shape[2:]).to(tokens.dtype), tokens)
        fine = self.output_upscaling(image)
        mask = self._product(self.output_hypernetworks_mlps[str(self.mask_index)], tokens[:, 1 + self.mask_index], fine)
        if not self.with_edge:
            return mask, None
        features = self.embedding_maskfeature(fine)
        if self.embedding_encoder is not None:
            features = features + self.embedding_encoder(deep)
        if self.compress_vit_feat is not None:
            features = features + resize_like(self.compress_vit_feat(early), fine)
        edge = self._product(self.edge_mlp, tokens[:, -1], features)
        return mask * (1 + edge.sigmoid()), edge

    @staticmethod
    def _product(mlp: MLP, token: Tensor, features: Tensor) -> Tensor:
        return torch.einsum('bc,bchw->bhw', mlp(token), features)[:, None]

    def forward_maps(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
        """Predict the logits of mask and edge, each (B, 1, 4 H, 4 W) for a deep map of (H, W); without edge, None."""
        early = inputs[self.early_index] if self.with_edge and self.compress_vit_feat is not None else None
        return recompute(self, self.decode, self.token_in(inputs[self.in_index]), early)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Predict the mask's logits (B, 1, 4 H, 4 W), (H, W) being the size of the deep map."""
        return self.forward_maps(inputs)[0]

    def loss(self, inputs: tuple[Tensor, ...], batch_data_samples: SampleList, train_cfg: dict | None) -> dict:
        """Compute the losses of the mask and, under its own name, that of the edge."""
        logits, edge = self.forward_maps(inputs)
        losses = self.loss_by_feat(logits, batch_data_samples)
        if edge is not None:
            target = self.edge_label(batch_data_samples)
            value = self.loss_edge(self._at_label_size(edge, target), target, ignore_index=self.ignore_index)
            losses[self.loss_edge.loss_name] = losses.get(self.loss_edge.loss_name, 0) + value
        return losses

    def edge_label(self, batch_data_samples: SampleList) -> Tensor:
        """Return what the edge is trained with: (B, H, W) in {0, 1, ignore_index}."""
        label = self._stack_batch_gt(batch_data_samples).squeeze(1)
        if self.edge_target != 'sample':
            return mask_boundary(label, self.ignore_index, inner=self.edge_target == 'inner')
        if not all('gt_edge_map' in sample for sample in batch_data_samples):
            raise ValueError(
                "GranularityAwareHead: edge_target='sample', but the samples have no gt_edge_map; put "
                "dict(type='mmirstd.CannyEdge') before the packing in the training pipeline"
            )
        edge = torch.stack([sample.gt_edge_map.data for sample in batch_data_samples]).squeeze(1)
        return edge if self.ignore_index is None else torch.where(label == self.ignore_index, label, edge.to(label))

    def predict_edge(self, inputs: tuple[Tensor, ...], batch_img_metas: list[dict]) -> Tensor:
        """Predict the edge's logits at the size of the images, as `predict` does the mask's.

        Raises:
            ValueError: without an edge.
        """
        edge = self.forward_maps(inputs)[1]
        if edge is None:
            raise ValueError('GranularityAwareHead: with_edge=False predicts no edge')
        return self.predict_by_feat(edge, batch_img_metas)

    def convert_state_dict(self, state_dict: StateDict) -> tuple[StateDict, list[str]]:
        """Convert SAM's, IRSAM's or our keys of a decoder, see :class:`PublishedWeights`.

        Parts of the edge branch that the file has none of stay as they are, those that this head has none of are
        dropped.
        """
        state, dropped = self.convert_decoder(state_dict, self.mask_index)
        own = self.state_dict()
        for part in EDGE_BRANCH:
            here, there = ([key for key in keys if key.startswith(f'{part}.')] for keys in (own, state))
            if here and not there:
                state |= {key: own[key] for key in here}
                print_log(f'GranularityAwareHead: {part} is not in the checkpoint and stays as it was', 'current')
            elif there and not here:
                dropped += there
                state = {key: value for key, value in state.items() if key not in there}
        return state, dropped
