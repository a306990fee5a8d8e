"""TinyViT, and as it is in MobileSAM: convolutions first, then windowed attention with local convolutions.

K. Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision Transformers", ECCV 2022, arXiv:2207.10666;
C. Zhang et al., "Faster Segment Anything: Towards Lightweight SAM for Mobile Applications", 2023, arXiv:2306.14289.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from mmirstd.checkpoints.convert.sam import convert_tiny_vit_state_dict
from mmirstd.checkpoints.state_dict import StateDict
from mmirstd.models.backbones.pretrained import PretrainedBackbone, SAMNeck, checked_indices, find_arch
from mmirstd.models.layers.recompute import recompute
from mmirstd.models.layers.reparam import ConvBN
from mmirstd.models.layers.windows import join_windows, split_windows
from mmirstd.registry import MODELS

# Widths, blocks, heads and window sides per stage; the first stage is convolutional and has no use for the last two.
_5M = {'embed_dims': (64, 128, 160, 320), 'depths': (2, 2, 6, 2), 'num_heads': (2, 4, 5, 10)}
_11M = {'embed_dims': (64, 128, 256, 448), 'depths': (2, 2, 6, 2), 'num_heads': (2, 4, 8, 14)}
_21M = {'embed_dims': (96, 192, 384, 576), 'depths': (2, 2, 6, 2), 'num_heads': (3, 6, 12, 18)}
ARCHS = {
    '5m': {**_5M, 'window_sizes': (7, 7, 14, 7)},
    '11m': {**_11M, 'window_sizes': (7, 7, 14, 7)},
    '21m': {**_21M, 'window_sizes': (7, 7, 14, 7)},
    '21m_384': {**_21M, 'window_sizes': (12, 12, 24, 12)},
    '21m_512': {**_21M, 'window_sizes': (16, 16, 32, 16)},
}


class MBConv(nn.Module):
    """Residual inverted bottleneck: 1x1 to four times the width, depthwise 3x3, 1x1 back, GELU after each."""

    def __init__(self, channels: int, drop_path: float, with_cp: bool, deploy: bool) -> None:
        super().__init__()
        self.with_cp = with_cp
        hidden = 4 * channels
        self.conv1 = ConvBN(channels, hidden, deploy=deploy)
        self.conv2 = ConvBN(hidden, hidden, 3, groups=hidden, deploy=deploy)
        self.conv3 = ConvBN(hidden, channels, bn_weight_init=0, deploy=deploy)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return recompute(self, self._forward, x)

    def _forward(self, x: Tensor) -> Tensor:
        y = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return F.gelu(x + self.drop_path(y))


class PatchMerging(nn.Sequential):
    """1x1, depthwise 3x3 with the stride, 1x1, GELU between them; (B, C, H, W) to (B, C', ceil(H / s), ceil(W / s))."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, deploy: bool) -> None:
        parts = {
            'conv1': ConvBN(in_channels, out_channels, deploy=deploy),
            'act1': nn.GELU(),
            'conv2': ConvBN(out_channels, out_channels, 3, stride, groups=out_channels, deploy=deploy),
            'act2': nn.GELU(),
            'conv3': ConvBN(out_channels, out_channels, deploy=deploy),
        }
        super().__init__(OrderedDict(parts))


class WindowAttention(nn.Module):
    """Pre-norm multi-head self-attention within windows, with a learned bias per head and distance in y and in x.

    Args:
        embed_dims: C.
        num_heads: heads.
        window_size: side of the windows, in positions.
    """

    def __init__(self, embed_dims: int, num_heads: int, window_size: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm = nn.LayerNorm(embed_dims)
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, window_size**2))
        axis = torch.arange(window_size)
        distance = (axis[:, None] - axis).abs()
        index = window_size * distance[:, None, :, None] + distance[None, :, None, :]
        self.register_buffer('bias_index', index.reshape(window_size**2, -1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, window_size^2, C) to the same shape."""
        # Within a head, query, key and value stand side by side.
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (self.num_heads, -1)).transpose(1, 2).chunk(3, -1)
        bias = self.attention_biases[:, self.bias_index].to(q.dtype)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        return self.proj(x.transpose(1, 2).flatten(2))


class NormMLP(nn.Module):
    """Pre-norm two-layer perceptron on the last axis, four times the width in between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to the same shape."""
        return self.fc2(F.gelu(self.fc1(self.norm(x))))


class TinyViTBlock(nn.Module):
    """Windowed attention, depthwise 3x3 convolution, MLP; (B, C, H, W) to the same shape."""

    def __init__(
        self, channels: int, num_heads: int, window_size: int, drop_path: float, with_cp: bool, deploy: bool
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.window_size = window_size
        self.attn = WindowAttention(channels, num_heads, window_size)
        self.local_conv = ConvBN(channels, channels, 3, groups=channels, deploy=deploy)
        self.mlp = NormMLP(channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return recompute(self, self._forward, x)

    def _forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        windows = split_windows(x, self.window_size)
        y = self.attn(windows.flatten(1, 2)).unflatten(1, windows.shape[1:3])
        x = x + self.drop_path(join_windows(y, x.shape[:3]))
        x = self.local_conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = x + self.drop_path(self.mlp(x))
        return x.permute(0, 3, 1, 2)


def _checked_arch(arch: str | Mapping[str, Sequence[int]]) -> Mapping[str, Sequence[int]]:
    arch = find_arch(arch, ARCHS, 'TinyViT')
    if len({len(v) for v in arch.values()}) != 1:
        raise ValueError(f'the parts of a TinyViT arch must have equal lengths, got {dict(arch)}')
    dims, heads = arch['embed_dims'], arch['num_heads']
    if bad := [i for i, (dim, count) in enumerate(zip(dims, heads, strict=True)) if dim % count]:
        raise ValueError(f'num_heads must divide embed_dims, not so in stages {bad} of {dict(arch)}')
    return arch


def _resize_biases(biases: Tensor, shape: Sequence[int]) -> Tensor:
    """Biases (heads, n * n) of distances 0..n-1 in y and x to those of another window, bicubic as timm does."""
    old, new = (round(count**0.5) for count in (biases.shape[1], shape[1]))
    if len(biases) != shape[0] or old * old != biases.shape[1]:
        return biases  # another network; load_strict says so
    table = biases.float().view(1, -1, old, old)
    return F.interpolate(table, (new, new), mode='bicubic', antialias=True).view(shape).to(biases.dtype)


@MODELS.register_module()
class TinyViT(PretrainedBackbone):
    """TinyViT; (B, in_channels, H, W) to a tuple of maps, fine to coarse.

    The defaults are MobileSAM's encoder: strides 4, 8, 16, 16, and the neck to the width of SAM's mask decoder. A
    classifier's trunk has ``merge_strides=(2, 2, 2)`` and ``with_neck=False``. Any input size works: windows that reach
    over the edge are filled with zeros. A caller may run it in steps: ``x = stem(x)``, then ``x = stages[i](x)``.

    Args:
        arch: one of ``ARCHS`` or a dict of ``embed_dims``, ``depths``, ``num_heads`` and ``window_sizes`` per stage.
        in_channels: image channels. With 1, an RGB checkpoint is summed over its input channels when loaded: exact for
            a gray image repeated three times if all channels are normalized with the same mean and standard deviation.
        merge_strides: strides of the mergings between stages.
        window_sizes: sides of the windows per stage instead of the arch's; a checkpoint's attention biases are
            interpolated to them. With (8, 8, 16, 8), images of 256, 512 and 1024 need no filling; but published
            weights then give other features, to be fine-tuned.
        out_indices: stages whose output is returned before the neck's.
        out_merged: return, for stage i of `out_indices`, its output merged to the width and stride of stage i + 1: what
            HQ-SAM and IRSAM call the early feature is stage 1's, 160 channels at stride 16.
        with_neck: return the neck's output, last. Without, stages after the last one needed are not built.
        neck_channels: its width.
        frozen_stages: 0 freezes the stem, ``n`` the stem and the first ``n`` stages, -1 nothing.
        frozen: freeze everything, the neck included.
        drop_path_rate: stochastic depth of the last block; grows linearly from 0 over the blocks.
        with_cp: recompute each block's activations in the backward pass.
        norm_eval: keep batch norms in eval mode during training.
        deploy: build the folded form, into which a state dict taken after ``switch_to_deploy`` loads.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE_OR_URL, prefix=None)`` takes MobileSAM's (of which the image
            encoder is used), TinyViT's authors', timm's and this project's own checkpoints.
    """

    stem_weight = 'stem.0.conv.weight'

    def __init__(
        self,
        arch: str | Mapping[str, Sequence[int]] = '5m',
        in_channels: int = 3,
        merge_strides: Sequence[int] = (2, 2, 1),
        window_sizes: Sequence[int] | None = None,
        out_indices: Sequence[int] = (),
        out_merged: bool = False,
        with_neck: bool = True,
        neck_channels: int = 256,
        frozen_stages: int = -1,
        frozen: bool = False,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        norm_eval: bool = False,
        deploy: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        arch = _checked_arch(arch)
        dims, depths = tuple(arch['embed_dims']), tuple(arch['depths'])
        windows = tuple(window_sizes or arch['window_sizes'])
        stages = len(dims)
        merge_strides = tuple(merge_strides)
        self.out_indices = checked_indices(out_indices, stages - out_merged, 'stages')
        if not (self.out_indices or with_neck):
            raise ValueError('TinyViT returns nothing: give out_indices or with_neck')
        if len(windows) != stages or min(windows) < 1:
            raise ValueError(f'window_sizes must be {stages} positive numbers, got {windows}')
        if len(merge_strides) != stages - 1 or not set(merge_strides) <= {1, 2}:
            raise ValueError(f'merge_strides must be {stages - 1} numbers out of 1 and 2, got {merge_strides}')
        built = stages if with_neck else self.out_indices[-1] + 1
        if not -1 <= frozen_stages <= built:
            raise ValueError(f'frozen_stages must be in -1..{built}, got {frozen_stages}')

        self.in_channels = in_channels
        self.out_merged = out_merged
        self.frozen_stages, self.frozen = frozen_stages, frozen
        self.norm_eval = norm_eval
        strides = [4]
        for stride in merge_strides:
            strides.append(strides[-1] * stride)
        self.embed_dims, self.strides = dims, tuple(strides)
        returned = [i + out_merged for i in self.out_indices]
        self.out_channels = tuple(dims[i] for i in returned) + (neck_channels,) * with_neck
        self.out_strides = tuple(strides[i] for i in returned) + (strides[-1],) * with_neck

        self.stem = nn.Sequential(
            ConvBN(in_channels, dims[0] // 2, 3, 2, deploy=deploy),
            nn.GELU(),
            ConvBN(dims[0] // 2, dims[0], 3, 2, deploy=deploy),
        )
        # The rates of the whole network, so that leaving out late stages does not change the early ones.
        rates = iter(np.linspace(0, drop_path_rate, sum(depths)).tolist())
        self.stages = nn.ModuleList()
        for i in range(min(stages, built + (out_merged and not with_neck))):
            parts = {'downsample': PatchMerging(dims[i - 1], dims[i], merge_strides[i - 1], deploy)} if i else {}
            if i < built:
                parts['blocks'] = nn.Sequential(
                    *(
                        TinyViTBlock(dims[i], arch['num_heads'][i], windows[i], next(rates), with_cp, deploy)
                        if i
                        else MBConv(dims[i], next(rates), with_cp, deploy)
                        for _ in range(depths[i])
                    )
                )
            self.stages.append(nn.Sequential(OrderedDict(parts)))
        self.neck = SAMNeck(dims[-1], neck_channels) if with_neck else None
        self._initialize()
        self.freeze()

    def _initialize(self) -> None:
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=0.02)
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) to one map for each of `out_indices`, then the neck's (B, neck_channels, h, w)."""
        x = self.stem(x)
        outs = []
        for i, stage in enumerate(self.stages):
            if i:
                x = stage.downsample(x)
            if self.out_merged and i - 1 in self.out_indices:
                outs.append(x)
            if hasattr(stage, 'blocks'):
                x = stage.blocks(x)
            if not self.out_merged and i in self.out_indices:
                outs.append(x)
        if self.neck is not None:
            outs.append(self.neck(x))
        return tuple(outs)

    def convert_state_dict(self, state_dict: StateDict) -> tuple[StateDict, list[str]]:
        """Weights of any known layout, interpolated to this network's windows; see PretrainedBackbone."""
        state, dropped = convert_tiny_vit_state_dict(state_dict)
        own = self.state_dict()
        # Parts that this network has or would have if it were built to its end.
        built = {f'stages.{i}.{part}' for i, stage in enumerate(self.stages) for part, _ in stage.named_children()}
        parts = {f'stages.{i}.{p}' for i in range(len(self.embed_dims)) for p in ('downsample', 'blocks')[i == 0 :]}
        unbuilt = tuple(f'{part}.' for part in sorted(parts - built)) + ('neck.',) * (self.neck is None)
        for key in [key for key in state if key.startswith(unbuilt)]:
            dropped.append(key)
            del state[key]
        for key, value in state.items():
            if key.endswith('.attention_biases') and key in own and value.shape != own[key].shape:
                state[key] = _resize_biases(value, own[key].shape)
        return state, dropped

    def frozen_parts(self) -> list[nn.Module]:
        """See PretrainedBackbone."""
        if self.frozen:
            return list(self.children())
        return [self.stem, *self.stages[: self.frozen_stages]] if self.frozen_stages >= 0 else []
