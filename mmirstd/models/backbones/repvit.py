"""RepViT: a convolutional network with the macro design of light vision transformers.

A. Wang et al., "RepViT: Revisiting Mobile CNN From ViT Perspective", CVPR 2024, arXiv:2307.09283.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from mmcv.cnn import build_activation_layer
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from mmirstd.checkpoints.convert.repvit import convert_repvit_state_dict, has_branch_norm
from mmirstd.checkpoints.state_dict import StateDict
from mmirstd.models.backbones.pretrained import PretrainedBackbone, checked_indices, find_arch
from mmirstd.models.layers.recompute import recompute
from mmirstd.models.layers.reparam import ConvBN, RepVGGDW
from mmirstd.registry import MODELS

# Blocks per stage, the one that downsamples included, as in the authors' code. (timm counts the last block of a stage
# as the `pre_block` of the next stage's downsampling; the network is the same.)
ARCHS = {
    'm0_6': {'embed_dims': (40, 80, 160, 320), 'depths': (2, 3, 10, 2)},
    'm0_9': {'embed_dims': (48, 96, 192, 384), 'depths': (3, 4, 16, 3)},
    'm1_0': {'embed_dims': (56, 112, 224, 448), 'depths': (3, 4, 16, 3)},
    'm1_1': {'embed_dims': (64, 128, 256, 512), 'depths': (3, 4, 14, 3)},
    'm1_5': {'embed_dims': (64, 128, 256, 512), 'depths': (5, 6, 26, 5)},
    'm2_3': {'embed_dims': (80, 160, 320, 640), 'depths': (7, 8, 36, 3)},
}


class SqueezeExcite(nn.Module):
    """Channel attention with a quarter of the channels in between, rounded to a multiple of 8 (at least 8).

    mmseg's ``SELayer`` rounds otherwise and so does not take M0.6's weights.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(8, int(channels / 4 + 4) // 8 * 8)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class FFN(nn.Module):
    """Residual pair of 1x1 convolutions with twice the channels in between; starts as the identity."""

    def __init__(self, channels: int, drop_path: float, act_cfg: dict, deploy: bool) -> None:
        super().__init__()
        self.conv1 = ConvBN(channels, 2 * channels, deploy=deploy)
        self.act = build_activation_layer(act_cfg)
        self.conv2 = ConvBN(2 * channels, channels, bn_weight_init=0, deploy=deploy)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x + self.drop_path(self.conv2(self.act(self.conv1(x))))


class _Block(nn.Module):
    with_cp: bool

    def forward(self, x: Tensor) -> Tensor:
        return recompute(self, self._forward, x) if self.training else self._forward(x)


class RepViTBlock(_Block):
    """Depthwise token mixer, optional squeeze-and-excitation, FFN; keeps the shape."""

    def __init__(
        self,
        channels: int,
        with_se: bool,
        drop_path: float,
        act_cfg: dict,
        with_cp: bool,
        deploy: bool,
        branch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.token_mixer = RepVGGDW(channels, deploy=deploy, branch_norm=branch_norm)
        self.se = SqueezeExcite(channels) if with_se else nn.Identity()
        self.channel_mixer = FFN(channels, drop_path, act_cfg, deploy)

    def _forward(self, x: Tensor) -> Tensor:
        return self.channel_mixer(self.se(self.token_mixer(x)))


class RepViTDownsample(_Block):
    """Halves the resolution (depthwise 3x3), changes the channels (1x1), FFN."""

    def __init__(
        self, in_channels: int, out_channels: int, drop_path: float, act_cfg: dict, with_cp: bool, deploy: bool
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.spatial = ConvBN(in_channels, in_channels, 3, stride=2, groups=in_channels, deploy=deploy)
        self.channel = ConvBN(in_channels, out_channels, deploy=deploy)
        self.channel_mixer = FFN(out_channels, drop_path, act_cfg, deploy)

    def _forward(self, x: Tensor) -> Tensor:
        return self.channel_mixer(self.channel(self.spatial(x)))


def _checked_arch(arch: str | Mapping[str, Sequence[int]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    arch = find_arch(arch, ARCHS, 'RepViT')
    dims, depths = tuple(arch['embed_dims']), tuple(arch['depths'])
    if len(dims) != len(depths) or not dims or min(depths) < 1 or dims[0] % 2:
        raise ValueError(
            f'need equal lengths, positive depths and an even first dim: embed_dims {dims}, depths {depths}'
        )
    return dims, depths


@MODELS.register_module()
class RepViT(PretrainedBackbone):
    """RepViT trunk; (B, in_channels, H, W) to a tuple of feature maps, fine to coarse.

    Stage ``i`` has stride ``s * 2**i`` with ``s`` the product of ``stem_strides``; a map of stride 2 is rounded up, so
    any input size works. A caller may run it in steps: ``x = stem(x)``, then ``x = stages[i](x)`` in turn.

    Args:
        arch: One of ``ARCHS`` or a dict of ``embed_dims`` and ``depths`` per stage. ``depths`` counts the block that
            downsamples (the first of every stage but stage 0).
        in_channels: Image channels. With 1, an RGB checkpoint is summed over its input channels when loaded: exact for
            a gray image repeated three times if all channels are normalized with the same mean and standard deviation.
        stem_strides: Strides of the two stem convolutions; (2, 2) as published, (1, 1) in SimIR.
        branch_norm: Token mixers of the first version, with a batch norm in each branch and none behind their sum. Its
            M1, which is EdgeSAM's trunk, has the widths and depths of M0.9, its M2 those of M1.1.
        out_indices: Stages to return. Stages after the last of them are not built.
        frozen_stages: 0 freezes the stem, ``n`` the stem and the first ``n`` stages, -1 nothing (as mmseg's ResNet).
        act_cfg: Activation; GELU as published. ReLU is several times as fast on a CPU, and needs no copy when in place.
        drop_path_rate: Stochastic depth of the last block's FFN; grows linearly from 0 over the blocks.
        with_cp: Recompute each block's activations in the backward pass.
        norm_eval: Keep batch norms in eval mode during training.
        deploy: Build the folded form, into which a state dict taken after :meth:`switch_to_deploy` loads.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE_OR_URL, prefix=None)`` takes the authors', timm's, EdgeSAM's
            (of which the trunk is used) and this project's own checkpoints. Other weights start as in the authors'
            code.
    """

    stem_weight = 'stem.0.conv.weight'

    def __init__(
        self,
        arch: str | Mapping[str, Sequence[int]] = 'm1_1',
        in_channels: int = 3,
        stem_strides: Sequence[int] = (2, 2),
        branch_norm: bool = False,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        act_cfg: dict | None = None,
        drop_path_rate: float = 0.0,
        with_cp: bool = False,
        norm_eval: bool = False,
        deploy: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.embed_dims, self.depths = _checked_arch(arch)
        num_stages = len(self.embed_dims)
        self.out_indices = checked_indices(out_indices, num_stages, 'stages')
        if not self.out_indices:
            raise ValueError('out_indices must name a stage')
        if tuple(stem_strides) not in ((1, 1), (1, 2), (2, 1), (2, 2)):
            raise ValueError(f'stem_strides must be two numbers out of 1 and 2, got {stem_strides}')
        built = self.out_indices[-1] + 1
        if not -1 <= frozen_stages <= built:
            raise ValueError(f'frozen_stages must be in -1..{built}, got {frozen_stages}')

        self.in_channels = in_channels
        self.branch_norm = branch_norm
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.out_channels = tuple(self.embed_dims[i] for i in self.out_indices)
        stem_stride = stem_strides[0] * stem_strides[1]
        self.out_strides = tuple(stem_stride * 2**i for i in self.out_indices)

        dim = self.embed_dims[0]
        act_cfg = act_cfg or {'type': 'GELU'}
        self.stem = nn.Sequential(
            ConvBN(in_channels, dim // 2, 3, stem_strides[0], deploy=deploy),
            build_activation_layer(act_cfg),
            ConvBN(dim // 2, dim, 3, stem_strides[1], deploy=deploy),
        )
        # The rates of the whole network, so that leaving out late stages does not change the early ones.
        rates = iter(torch.linspace(0, drop_path_rate, sum(self.depths)).tolist())
        self.stages = nn.ModuleList()
        for i, (dim, depth) in enumerate(zip(self.embed_dims[:built], self.depths, strict=False)):
            blocks: list[nn.Module] = []
            if i > 0:
                blocks.append(RepViTDownsample(self.embed_dims[i - 1], dim, next(rates), act_cfg, with_cp, deploy))
            plain = depth - len(blocks)
            for j in range(plain):
                # Squeeze-and-excitation in every other block, never in the one before a downsampling.
                with_se = j % 2 == 0 and (j < plain - 1 or i == num_stages - 1)
                blocks.append(RepViTBlock(dim, with_se, next(rates), act_cfg, with_cp, deploy, branch_norm))
            self.stages.append(nn.Sequential(*blocks))
        self.freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) to one (B, C_i, H_i, W_i) for each of ``out_indices``."""
        x = self.stem(x)
        outs = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def convert_state_dict(self, state_dict: StateDict) -> tuple[StateDict, list[str]]:
        """From the authors', timm's, EdgeSAM's or our keys; other parts and stages that are not built are dropped."""
        state, dropped = convert_repvit_state_dict(state_dict)
        if not self.branch_norm and has_branch_norm(state):
            raise ValueError('a RepViT of the first version (M1, M2, M3, EdgeSAM) needs branch_norm=True')
        unbuilt = [key for key in state if (m := re.match(r'stages\.(\d+)\.', key)) and int(m[1]) >= len(self.stages)]
        return {key: value for key, value in state.items() if key not in unbuilt}, dropped + unbuilt

    def frozen_parts(self) -> list[nn.Module]:
        """Stem and stages by ``frozen_stages``."""
        return [self.stem, *self.stages[: self.frozen_stages]] if self.frozen_stages >= 0 else []
