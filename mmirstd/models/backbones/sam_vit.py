"""SAM's image encoder: a plain vision transformer with windowed and a few global attentions.

A. Kirillov et al., "Segment Anything", ICCV 2023, arXiv:2304.02643; Y. Li et al., "Exploring Plain Vision Transformer
Backbones for Object Detection", ECCV 2022, arXiv:2203.16527; Y. Xiong et al., "EfficientSAM: Leveraged Masked Image
Pretraining for Efficient Segment Anything", CVPR 2024, arXiv:2312.00863.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from mmirstd.checkpoints.convert.sam import convert_sam_vit_state_dict
from mmirstd.checkpoints.state_dict import StateDict
from mmirstd.models.backbones.pretrained import PretrainedBackbone, SAMNeck, checked_indices, find_arch
from mmirstd.models.layers.low_rank import LowRankLinear
from mmirstd.models.layers.recompute import recompute
from mmirstd.models.layers.relative_position import relative_attention, resize_table
from mmirstd.models.layers.resizing import is_open
from mmirstd.models.layers.windows import join_windows, missing_to_multiple, split_windows
from mmirstd.registry import MODELS

ARCHS = {
    'tiny': {'embed_dims': 32, 'depth': 4, 'num_heads': 2, 'global_layers': (1, 3)},  # for tests
    'b': {'embed_dims': 768, 'depth': 12, 'num_heads': 12, 'global_layers': (2, 5, 8, 11)},
    'l': {'embed_dims': 1024, 'depth': 24, 'num_heads': 16, 'global_layers': (5, 11, 17, 23)},
    'h': {'embed_dims': 1280, 'depth': 32, 'num_heads': 16, 'global_layers': (7, 15, 23, 31)},
    # EfficientSAM's, plain transformers: with rel_pos=False, antialias=False and img_size=224.
    't': {'embed_dims': 192, 'depth': 12, 'num_heads': 3, 'global_layers': tuple(range(12))},
    's': {'embed_dims': 384, 'depth': 12, 'num_heads': 6, 'global_layers': tuple(range(12))},
}
_PARTS = 'qkv'


class MapAttention(nn.Module):
    """Multi-head self-attention over a map, with decomposed relative positions or none.

    Args:
        embed_dims: C.
        num_heads: heads.
        size: side of the map that the tables of relative positions are for; other sizes interpolate them. 0 is none.
        lora: arguments of LowRankLinear for the fused projection, or None.
    """

    def __init__(self, embed_dims: int, num_heads: int, size: int, lora: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = (
            LowRankLinear(embed_dims, 3 * embed_dims, num_parts=3, **lora)
            if lora
            else nn.Linear(embed_dims, 3 * embed_dims)
        )
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, embed_dims // num_heads)) if size else None
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, embed_dims // num_heads)) if size else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        size = x.shape[1:3]
        qkv = self.qkv(x).flatten(1, 2).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind()
        if self.rel_pos_h is None:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = relative_attention(q, k, v, self.rel_pos_h, self.rel_pos_w, tuple(size))
        return self.proj(x.transpose(1, 2).flatten(2).unflatten(1, size))


class SAMViTBlock(nn.Module):
    """Pre-norm attention and MLP; within windows of `window_size`, or over the whole map where that is 0."""

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        feedforward_channels: int,
        window_size: int,
        size: int,
        drop_path: float,
        with_cp: bool,
        lora: dict[str, Any] | None,
        rel_pos: bool = True,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.with_cp = with_cp
        self.norm1 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.attn = MapAttention(embed_dims, num_heads, (window_size or size) * rel_pos, lora)
        self.norm2 = nn.LayerNorm(embed_dims, eps=1e-6)
        self.mlp = nn.ModuleDict(
            {'lin1': nn.Linear(embed_dims, feedforward_channels), 'lin2': nn.Linear(feedforward_channels, embed_dims)}
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        return recompute(self, self._forward, x)

    def _forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        if self.window_size:
            y = join_windows(self.attn(split_windows(y, self.window_size)), x.shape[:3])
        else:
            y = self.attn(y)
        x = x + self.drop_path(y)
        return x + self.drop_path(self.mlp['lin2'](F.gelu(self.mlp['lin1'](self.norm2(x)))))


class PatchEmbed(nn.Module):
    """Non-overlapping patches of an image to tokens."""

    def __init__(self, in_channels: int, embed_dims: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, embed_dims, patch_size, patch_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, ceil(H / p), ceil(W / p), C')."""
        bottom, right = (missing_to_multiple(extent, self.proj.stride[0]) for extent in x.shape[2:])
        if is_open(*x.shape[2:]) or bottom or right:
            x = F.pad(x, (0, right, 0, bottom))
        return self.proj(x).permute(0, 2, 3, 1)


def _checked_arch(arch: str | Mapping[str, Any]) -> Mapping[str, Any]:
    arch = find_arch(arch, ARCHS, 'SAMViT')
    if arch['embed_dims'] % arch['num_heads'] or not set(arch['global_layers']) <= set(range(arch['depth'])):
        raise ValueError(f'num_heads must divide embed_dims and global_layers be layers: {dict(arch)}')
    return arch


def _resize_positions(embedding: Tensor, height: int, width: int, antialias: bool) -> Tensor:
    if not is_open(height, width) and embedding.shape[1:3] == (height, width):
        return embedding
    x = embedding.permute(0, 3, 1, 2).float()
    x = F.interpolate(x, (height, width), mode='bicubic', antialias=antialias)
    return x.permute(0, 2, 3, 1).to(embedding.dtype).contiguous()


@MODELS.register_module()
class SAMViT(PretrainedBackbone):
    """SAM's image encoder; (B, in_channels, H, W) to a tuple of maps of stride `patch_size`.

    Any input size works: the image is padded with zeros to whole patches, as SAM pads, and position embeddings and
    tables of relative positions are interpolated where the map has another size than `img_size` says.

    Args:
        arch: one of ``ARCHS`` or a dict of ``embed_dims``, ``depth``, ``num_heads`` and ``global_layers``, the layers
            that attend to the whole map.
        in_channels: image channels. With 1, an RGB checkpoint is summed over its input channels when loaded: exact for
            a gray image repeated three times if all channels are normalized with the same mean and standard deviation.
        img_size: side of the image that the position embeddings are for; a checkpoint's are interpolated to it once.
        patch_size: side of a patch.
        window_size: side of a window, in patches. Maps that it does not divide are padded. With 16 instead of SAM's 14,
            images of 256, 512 and 1024 need no padding, and a checkpoint's tables are interpolated; but published
            weights then give other features, to be fine-tuned.
        rel_pos: attention with relative positions; False in EfficientSAM.
        mlp_ratio: hidden width of the MLPs over ``embed_dims``.
        out_indices: layers whose output (embed_dims channels) is returned before the neck's.
        with_neck: return the neck's output, last. Without, layers after the last of `out_indices` are not built.
        neck_channels: its width.
        antialias: interpolate position embeddings as timm does, averaging on the way to a smaller map. mmpretrain and
            EfficientSAM do not; their cubic kernel is another one, too.
        frozen_stages: 0 freezes patch and position embedding, ``n`` these and the first ``n`` layers, -1 nothing.
        frozen: freeze everything, the neck included.
        lora_rank: rank of low-rank adaptation; 0 is none. Patch and position embedding and all layers are then frozen,
            and the qkv projections of the layers that `frozen_stages` does not name get trained low-rank updates.
            ``switch_to_deploy`` merges them.
        lora_alpha: scale of the updates times the rank; None is the rank.
        lora_targets: the adapted parts of 'qkv'.
        drop_path_rate: stochastic depth of the last layer; grows linearly from 0.
        with_cp: recompute each layer's activations in the backward pass.
        deploy: build the merged form, into which a state dict taken after ``switch_to_deploy`` loads.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE_OR_URL, prefix=None)`` takes segment-anything's (of which
            the image encoder is used), EfficientSAM's, mmpretrain's, timm's and this project's own checkpoints.
    """

    stem_weight = 'patch_embed.proj.weight'

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'b',
        in_channels: int = 3,
        img_size: int = 1024,
        patch_size: int = 16,
        window_size: int = 14,
        rel_pos: bool = True,
        mlp_ratio: float = 4.0,
        out_indices: Sequence[int] = (),
        with_neck: bool = True,
        neck_channels: int = 256,
        antialias: bool = True,
        frozen_stages: int = -1,
        frozen: bool = False,
        lora_rank: int = 0,
        lora_alpha: float | None = None,
        lora_targets: str = 'qv',
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        deploy: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        arch = _checked_arch(arch)
        dims, depth, heads = arch['embed_dims'], arch['depth'], arch['num_heads']
        self.out_indices = checked_indices(out_indices, depth, 'layers')
        if not (self.out_indices or with_neck):
            raise ValueError('SAMViT returns nothing: give out_indices or with_neck')
        if img_size % patch_size or window_size < 1:
            raise ValueError(f'img_size must be a multiple of patch_size: {img_size=} {patch_size=} {window_size=}')
        built = depth if with_neck else self.out_indices[-1] + 1
        if not -1 <= frozen_stages <= built:
            raise ValueError(f'frozen_stages must be in -1..{built}, got {frozen_stages}')
        if not set(lora_targets) <= set(_PARTS) or lora_rank < 0:
            raise ValueError(f'lora_targets must be of {_PARTS!r}, lora_rank not negative: {lora_targets}, {lora_rank}')

        self.embed_dims, self.depth = dims, depth
        self.in_channels = in_channels
        self.antialias = antialias
        self.frozen_stages, self.frozen = frozen_stages, frozen
        self.has_lora = lora_rank > 0 and not deploy
        self.out_channels = (dims,) * len(self.out_indices) + (neck_channels,) * with_neck
        self.out_strides = (patch_size,) * len(self.out_channels)

        size = img_size // patch_size
        self.patch_embed = PatchEmbed(in_channels, dims, patch_size)
        self.pos_embed = nn.Parameter(torch.zeros(1, size, size, dims))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        lora = {'rank': lora_rank, 'alpha': lora_alpha, 'parts': [_PARTS.index(c) for c in lora_targets]}
        # The rates of the whole network, so that leaving out late layers does not change the early ones.
        rates = np.linspace(0, drop_path_rate, depth).tolist()
        self.blocks = nn.ModuleList(
            SAMViTBlock(
                dims,
                heads,
                int(dims * mlp_ratio),
                0 if i in arch['global_layers'] else window_size,
                size,
                rates[i],
                with_cp,
                lora if self.has_lora and i >= frozen_stages else None,
                rel_pos,
            )
            for i in range(built)
        )
        self.neck = SAMNeck(dims, neck_channels) if with_neck else None
        self.freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) to (B, embed_dims, h, w) for each of `out_indices`, then (B, neck_channels, h, w)."""
        x = self.patch_embed(x)
        x = x + _resize_positions(self.pos_embed, *x.shape[1:3], self.antialias)
        outs = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.out_indices:
                outs.append(x.permute(0, 3, 1, 2))
        if self.neck is not None:
            outs.append(self.neck(x.permute(0, 3, 1, 2)))
        return tuple(outs)

    def convert_state_dict(self, state_dict: StateDict) -> tuple[StateDict, list[str]]:
        """Weights of any known layout, interpolated to this network's sizes; see PretrainedBackbone."""
        state, dropped = convert_sam_vit_state_dict(state_dict)
        own = self.state_dict()
        for key in list(state):
            layer = re.match(r'blocks\.(\d+)\.', key)
            unbuilt = layer and len(self.blocks) <= int(layer[1]) < self.depth
            if unbuilt or (self.neck is None and key.startswith('neck.')):
                dropped.append(key)
                del state[key]
        for key, value in state.items():
            if key not in own or value.shape == own[key].shape or value.ndim != own[key].ndim:
                continue
            if key == 'pos_embed' and value.shape[3] == own[key].shape[3]:
                state[key] = _resize_positions(value, *own[key].shape[1:3], self.antialias)
            elif '.rel_pos_' in key and value.shape[1] == own[key].shape[1]:
                state[key] = resize_table(value, len(own[key])).contiguous()
        # Published weights have no low-rank updates: they start as built.
        if not any('.lora_' in key for key in state):
            state |= {key: value for key, value in own.items() if '.lora_' in key}
        return state, dropped

    def frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        """See PretrainedBackbone."""
        if self.frozen:
            return [self.pos_embed, *self.children()]
        if self.has_lora:
            return [self.pos_embed, self.patch_embed, *self.blocks]
        if self.frozen_stages >= 0:
            return [self.pos_embed, self.patch_embed, *self.blocks[: self.frozen_stages]]
        return []
