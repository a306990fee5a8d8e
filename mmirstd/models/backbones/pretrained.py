"""What the backbones share: freezing, folding, checks of arguments; and the neck of SAM."""

from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.model import BaseModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmirstd.models.layers.attention import LayerNorm2d
from mmirstd.models.layers.low_rank import LowRankLinear
from mmirstd.models.layers.reparam import switch_to_deploy
from mmirstd.models.published_weights import PublishedWeights


class SAMNeck(nn.Sequential):
    """conv1x1, LayerNorm, conv3x3, LayerNorm to the width of SAM's mask decoder; keys as in segment-anything."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            LayerNorm2d(out_channels, eps=1e-6),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels, eps=1e-6),
        )


class PretrainedBackbone(PublishedWeights, BaseModule):
    """Backbone that takes published checkpoints, has parts that are not trained, and folds."""

    norm_eval: bool = False

    def frozen_parts(self) -> Iterable[nn.Module | nn.Parameter]:
        """Parts that are not trained."""
        raise NotImplementedError

    def switch_to_deploy(self) -> int:
        """Fold in place all that folds exactly (eval mode only); returns the number of folded modules."""
        return sum(switch_to_deploy(child) for child in self.children())

    def train(self, mode: bool = True) -> 'PretrainedBackbone':
        """As ``nn.Module.train``, but frozen parts, and with ``norm_eval`` all batch norms, stay in eval mode."""
        super().train(mode)
        self.freeze()
        if mode and self.norm_eval:
            for m in self.modules():
                if isinstance(m, _BatchNorm):
                    m.eval()
        return self

    def freeze(self) -> None:
        """Stop training of :meth:`frozen_parts`, but for the factors of low-rank adaptation in them."""
        for part in self.frozen_parts():
            part.requires_grad_(False)
            if isinstance(part, nn.Module):
                factors = [p for m in part.modules() if isinstance(m, LowRankLinear) for p in m.factors()]
                for p in factors:
                    p.requires_grad_(True)
                if not factors:
                    part.eval()


def find_arch(arch: str | Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """Look an architecture up by its name, or check that one given as a mapping has the keys of those that are known.

    Raises:
        ValueError: If it has not, or the name is unknown; the message begins with the backbone's `name`.
    """
    keys = list(next(iter(known.values())))
    if isinstance(arch, str):
        if arch not in known:
            raise ValueError(f'unknown {name} arch {arch!r}: choose from {sorted(known)} or give {keys}')
        return known[arch]
    if set(arch) != set(keys):
        raise ValueError(f'a {name} arch has the keys {keys}, got {sorted(arch)}')
    return arch


def checked_indices(indices: Iterable[int], count: int, what: str) -> tuple[int, ...]:
    """Ascending indices below `count`; ``ValueError`` otherwise."""
    indices = tuple(indices)
    if sorted(set(indices) & set(range(count))) != list(indices):
        raise ValueError(f'out_indices must be ascending {what} out of 0..{count - 1}, got {indices}')
    return indices
