"""The values of a config that MMEngine takes as they are, and that then end in silence or far from their key."""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mmengine.config import Config

from mmirstd.engine.config_checks import ConfigValueError


class _Rule(NamedTuple):
    """What a value has to be; None, where a key may be left out, always may be."""

    holds: Callable[[Any], bool]
    expected: str


def _whole(least: int, most: float = math.inf) -> _Rule:
    limit = f'from {least} on' if most == math.inf else f'from {least} to {most}'
    return _Rule(
        lambda v: isinstance(v, int) and not isinstance(v, bool) and least <= v <= most, f'a whole number {limit}'
    )


_RATE = _Rule(
    lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) and v >= 0,
    'a finite number from 0 on',
)
_LEVELS = 'CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG', 'NOTSET'
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
_RULES = {
    'train_cfg.max_iters': _whole(1),
    'train_cfg.max_epochs': _whole(1),
    **{f'{loader}.batch_size': _whole(1) for loader in _LOADERS},
    **{f'{loader}.num_workers': _whole(0) for loader in _LOADERS},
    'optim_wrapper.optimizer.lr': _RATE,
    'optim_wrapper.optimizer.weight_decay': _RATE,
    'optim_wrapper.accumulative_counts': _whole(1),
    'randomness.seed': _whole(0, 2**32 - 1),
    'load_from': _Rule(lambda v: isinstance(v, str), 'the path or address of a checkpoint'),
    'log_level': _Rule(
        lambda v: v in _LEVELS or (isinstance(v, int) and logging.getLevelName(v) in _LEVELS),
        f'one of {", ".join(_LEVELS)}',
    ),
    'model.test_cfg.mode': _Rule(lambda v: v in ('whole', 'slide'), "'whole' or 'slide'"),
}


def check_values(cfg: Config) -> None:
    """Check kind and range of single values.

    Raises:
        ConfigValueError: Naming the key.
    """
    for key, (holds, expected) in _RULES.items():
        value = cfg
        for name in key.split('.'):
            value = value.get(name) if isinstance(value, (Config, Mapping)) else None
        if value is not None and not holds(value):
            raise ConfigValueError(f'{key}={value!r}: must be {expected}')
