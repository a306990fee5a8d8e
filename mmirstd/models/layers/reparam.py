"""Convolutions whose branches and batch norms fold into one convolution for inference."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks.wrappers import Conv2d as MMCVConv2d
from mmcv.cnn.bricks.wrappers import Conv3d as MMCVConv3d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Exact types: a subclass may transform its weight in forward (weight standardization), which folding would undo.
_PLAIN_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, MMCVConv2d, MMCVConv3d)


@torch.no_grad()
def fold_conv_bn(conv: nn.Module, bn: _BatchNorm) -> nn.Module:
    """A new convolution equal to ``bn(conv(x))`` in eval mode, computed in float64 and cast back."""
    if bn.training:
        raise RuntimeError('batch norm folds only in eval mode: call model.eval() before switch_to_deploy()')
    if bn.running_mean is None:
        raise RuntimeError('a batch norm without running statistics cannot be folded')
    weight = conv.weight
    # On the CPU because some accelerators have no float64.
    wide = [copy.deepcopy(m).to('cpu', torch.float64).eval() for m in (conv, bn)]
    return fuse_conv_bn_eval(*wide).to(weight.device, weight.dtype).train(conv.training)


class ConvBN(nn.Module):
    """Convolution, "same" padding for stride 1, then batch norm; ``deploy`` holds one biased convolution.

    ``bias`` is for networks published with a bias that the batch norm takes away again.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        bn_weight_init: float = 1.0,
        deploy: bool = False,
        dilation: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel_size // 2)
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=bias or deploy
        )
        self.bn = None if deploy else nn.BatchNorm2d(out_channels)
        if self.bn is not None:
            nn.init.constant_(self.bn.weight, bn_weight_init)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        x = self.conv(x)
        return x if self.bn is None else self.bn(x)

    def switch_to_deploy(self) -> int:
        """Fold the batch norm in place; returns the number of folded modules (0 when it was folded before)."""
        if self.bn is None:
            return 0
        self.conv, self.bn = fold_conv_bn(self.conv, self.bn), None
        return 1


class RepVGGDW(nn.Module):
    """Depthwise ``BN(BN(conv_k) + conv_1 + identity)``, RepViT's token mixer (arXiv:2307.09283, Fig. 3).

    With ``branch_norm`` it is the mixer of RepViT's first version: ``BN(conv_k) + BN(conv_1) + identity``. ``deploy``
    holds the one depthwise convolution ``reparam`` that equals it.
    """

    def __init__(self, channels: int, kernel_size: int = 3, deploy: bool = False, branch_norm: bool = False) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd for the identity branch to be centered, got {kernel_size}')
        self.reparam = (
            nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels) if deploy else None
        )
        if not deploy:
            self.conv = ConvBN(channels, channels, kernel_size, groups=channels)
            pointwise = ConvBN if branch_norm else nn.Conv2d
            self.conv1 = pointwise(channels, channels, 1, groups=channels)
            self.bn = nn.Identity() if branch_norm else nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        if self.reparam is not None:
            return self.reparam(x)
        return self.bn(self.conv(x) + self.conv1(x) + x)

    @torch.no_grad()
    def switch_to_deploy(self) -> int:
        """Fold all branches in place; returns the number of folded modules (0 when they were folded before)."""
        if self.reparam is not None:
            return 0
        conv = fold_conv_bn(self.conv.conv, self.conv.bn)
        branch_norm = isinstance(self.conv1, ConvBN)
        conv1 = fold_conv_bn(self.conv1.conv, self.conv1.bn) if branch_norm else self.conv1
        center = conv.kernel_size[0] // 2
        conv.weight[:, :, center, center] += conv1.weight[:, :, 0, 0] + 1
        conv.bias += conv1.bias
        self.reparam = conv if branch_norm else fold_conv_bn(conv, self.bn)
        del self.conv, self.conv1, self.bn
        return 1


def switch_to_deploy(module: nn.Module) -> int:
    """Fold in place all that folds exactly below ``module`` (in eval mode); returns how many modules were folded.

    A module's own ``switch_to_deploy`` answers for everything below it. Besides, batch norms go into the convolution
    before them in mmcv's ``ConvModule`` (order conv, norm, act) and in plain ``nn.Sequential``s. mmcv's
    ``fuse_conv_bn`` is not used: it pairs siblings by the order of their registration, which need not be the order of
    execution, and overlooks activations in between.
    """
    own = getattr(module, 'switch_to_deploy', None)
    if callable(own):
        count = own()
        return 1 if count is None else int(count)
    if isinstance(module, ConvModule):
        return _fold_conv_module(module)
    folded = _fold_sequential(module) if type(module) is nn.Sequential else 0
    return folded + sum(switch_to_deploy(child) for child in module.children())


def _foldable(conv: nn.Module, bn: nn.Module | None) -> bool:
    hooked = hasattr(conv, 'parametrizations') or bool(conv._forward_pre_hooks)  # spectral norm and the like
    return type(conv) in _PLAIN_CONVS and not hooked and isinstance(bn, _BatchNorm) and bn.running_mean is not None


def _fold_conv_module(module: ConvModule) -> int:
    if not module.with_norm or tuple(module.order[:2]) != ('conv', 'norm') or not _foldable(module.conv, module.norm):
        return 0
    module.conv = fold_conv_bn(module.conv, module.norm)
    setattr(module, module.norm_name, nn.Identity())
    module.efficient_conv_bn_eval_forward = None  # mmcv's folding during training, which would look for the norm
    return 1


def _fold_sequential(module: nn.Sequential) -> int:
    folded = 0
    for i in range(len(module) - 1):
        if _foldable(module[i], module[i + 1]):
            module[i], module[i + 1] = fold_conv_bn(module[i], module[i + 1]), nn.Identity()
            folded += 1
    return folded


@contextmanager
def frozen_running_stats(module: nn.Module) -> Iterator[None]:
    """Batch norms normalize as before but leave their running statistics alone.

    For the recomputation of a checkpointed block, which would count the batch twice.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    saved = [(m.momentum, m.num_batches_tracked) for m in norms]
    # Not by track_running_stats=False: other tensors would be kept for the backward pass than in the first run.
    for m in norms:
        m.momentum, m.num_batches_tracked = 0.0, m.num_batches_tracked.clone()
    try:
        yield
    finally:
        for m, (momentum, count) in zip(norms, saved, strict=True):
            m.momentum, m.num_batches_tracked = momentum, count
