"""The values of a config that MMEngine takes as they are, and that then end in silence or far from their key."""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mmengine.config import Config

from mmirstd.engine.config_checks import ConfigValueError
from mmirstd.utils.optimizers import iter_optim_wrappers


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
    'randomness.seed': _whole(0, 2**32 - 1),
    'load_from': _Rule(lambda v: isinstance(v, str), 'the path or address of a checkpoint'),
    'log_level': _Rule(
        lambda v: v in _LEVELS or (isinstance(v, int) and logging.getLevelName(v) in _LEVELS),
        f'one of {", ".join(_LEVELS)}',
    ),
    'model.test_cfg.mode': _Rule(lambda v: v in ('whole', 'slide'), "'whole' or 'slide'"),
    'model.test_cfg.tile': _whole(64),
}

# Of the optimizer wrapper, or of that of each part.
_OPTIMIZER_RULES = {
    'optimizer.lr': _RATE,
    'optimizer.weight_decay': _RATE,
    'accumulative_counts': _whole(1),
}


def check_values(cfg: Config) -> None:
    """Check kind and range of single values.

    Raises:
        ConfigValueError: Naming the key.
    """
    _check(cfg, '', _RULES)
    for place, wrapper in iter_optim_wrappers(cfg):
        _check(wrapper, f'{place}.', _OPTIMIZER_RULES)


def check_value(key: str, value: Any) -> None:
    """Check kind and range of the value of one key of a config, such as ``'model.test_cfg.tile'``; None is left out.

    Raises:
        ConfigValueError: Naming the key.
    """
    _require(key, value, _RULES[key])


def _require(key: str, value: Any, rule: _Rule) -> None:
    if value is not None and not rule.holds(value):
        raise ConfigValueError(f'{key}={value!r}: must be {rule.expected}')


def _check(part: Config | Mapping, place: str, rules: Mapping[str, _Rule]) -> None:
    for key, rule in rules.items():
        value = part
        for name in key.split('.'):
            value = value.get(name) if isinstance(value, (Config, Mapping)) else None
        _require(f'{place}{key}', value, rule)
