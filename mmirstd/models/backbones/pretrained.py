"""What the backbones share: strict loading of published weights, freezing, folding; and the neck of SAM."""

from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmirstd.checkpoints.fitting import load_strict
from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.checkpoints.state_dict import CheckpointError, StateDict, unwrap_state_dict
from mmirstd.models.layers.attention import LayerNorm2d
from mmirstd.models.layers.low_rank import LowRankLinear
from mmirstd.models.layers.reparam import switch_to_deploy


class SAMNeck(nn.Sequential):
    """conv1x1, LayerNorm, conv3x3, LayerNorm to the width of SAM's mask decoder; keys as in segment-anything."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            LayerNorm2d(out_channels, eps=1e-6),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels, eps=1e-6),
        )


class PretrainedBackbone(BaseModule):
    """Backbone that takes published checkpoints in ``init_cfg=dict(type='Pretrained', checkpoint=, prefix=None)``.

    A subclass gives ``stem_weight``, the key of the convolution on the image, :meth:`convert_state_dict` and
    :meth:`frozen_parts`.
    """

    stem_weight: str
    in_channels: int
    norm_eval: bool = False

    def convert_state_dict(self, state_dict: StateDict) -> tuple[StateDict, list[str]]:
        """Turn weights of any known layout into this network's, its size included; returns them and dropped keys."""
        raise NotImplementedError

    def frozen_parts(self) -> Iterable[nn.Module | nn.Parameter]:
        """Parts that are not trained."""
        raise NotImplementedError

    def init_weights(self) -> None:
        """Weights as built (the authors' initialization) or, with ``type='Pretrained'``, those of a checkpoint."""
        cfgs = [self.init_cfg] if isinstance(self.init_cfg, dict) else list(self.init_cfg or ())
        pretrained = [cfg for cfg in cfgs if cfg['type'] in ('Pretrained', PretrainedInit)]
        if self.is_init or not pretrained:
            return super().init_weights()
        self.init_cfg = [cfg for cfg in cfgs if cfg not in pretrained]
        super().init_weights()
        self.init_cfg = cfgs
        for cfg in pretrained:
            self.load_pretrained(cfg['checkpoint'], cfg.get('prefix'))
        return None

    def load_pretrained(self, checkpoint: str, prefix: str | None = None) -> None:
        """Load weights from a file or URL, below `prefix` in it.

        Raises:
            CheckpointError: naming file and keys, if weights are left over, missing or of another shape.
        """
        name = type(self).__name__
        try:
            state, dropped = self.convert_state_dict(unwrap_state_dict(load_checkpoint(checkpoint), prefix))
        except ValueError as error:
            raise CheckpointError(f'{checkpoint}: {error}') from None
        if self.stem_weight in state and self.in_channels == 1:
            state[self.stem_weight] = state[self.stem_weight].sum(1, keepdim=True)
        load_strict(self, state, checkpoint)
        note = f'; left out {len(dropped)} of parts that are not built here' if dropped else ''
        print_log(f'{name}: loaded {len(state)} tensors from {checkpoint}{note}', 'current')

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
