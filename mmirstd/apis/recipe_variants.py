"""Variants of a config: a file that has them, and the config of each."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmirstd.apis.configuration import CONFIG_KEYS, OptionError, check_data_root, read_config, run_config
from mmirstd.apis.scheduling import set_iterations
from mmirstd.apis.training import use_amp
from mmirstd.utils.text import did_you_mean

# What a config needs to train and validate.
NEEDED = ('model', 'train_dataloader', 'val_dataloader', 'val_evaluator', 'train_cfg', 'optim_wrapper', 'default_hooks')
TO_TEST = ('test_dataloader', 'test_evaluator')


def read_variants(variants: str | Path | Config) -> tuple[Config, dict[str, Mapping[str, Any]]]:
    """Read a config and its variants.

    Raises:
        OptionError: If it has no dict of dicts called ``variants``, or names are no names of folders.
    """
    base = read_config(variants)
    changes = base.get('variants')
    if not isinstance(changes, Mapping) or not changes or not all(isinstance(v, Mapping) for v in changes.values()):
        raise OptionError(f'{base.filename}: variants must be a dict of names and dicts of changes, got {changes!r}')
    if wrong := [n for n in changes if not isinstance(n, str) or not n or n != Path(n).name or n.startswith('.')]:
        raise OptionError(f'{base.filename}: a variant cannot be called {wrong[0]!r}')
    base.pop('variants')
    return base, dict(changes)


def variant_config(
    base: Config,
    name: str,
    change: Mapping[str, Any],
    data_root: str | Path | None,
    amp: bool,
    test_too: bool = False,
) -> Config:
    """The config of a variant: without drawing, and with loading in its own process.

    Raises:
        OptionError: If the change has a key that no config has, or a variable of the file, which reaches nothing; or
            does not fit into the config; or the config does not train and validate.
    """
    place = f'{base.filename}: variant {name}'
    for key in change:
        if key not in CONFIG_KEYS:
            known = 'is a variable of the file, and' if key in base else 'is no key of a config:'
            raise OptionError(f'{place}: {key} {known} changing it has no effect{did_you_mean(key, CONFIG_KEYS, 1)}')
    try:
        content = Config._merge_a_into_b(copy.deepcopy(dict(change)), base._cfg_dict.to_dict())
    except (TypeError, KeyError, IndexError) as error:
        raise OptionError(f'{place}: {" ".join(str(error).split())}') from None
    needed = [*NEEDED, *(TO_TEST if test_too else ())]
    if missing := [key for key in needed if not isinstance(content.get(key), Mapping)]:
        raise OptionError(
            f'{place}: {missing[0]} must be a dict to train and evaluate, got {content.get(missing[0])!r}'
        )
    cfg = run_config(Config(content, filename=base.filename), ('train', 'val'), data_root=data_root)
    if test_too:  # the config remains the same, so that what was trained before is not trained again
        check_data_root(cfg, ['test'])
    set_iterations(copy.deepcopy(cfg), 1, 1, 'an ablation')
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
    if hook := cfg.default_hooks.get('visualization'):
        hook.draw = False
    if amp:
        use_amp(cfg)
    return cfg


def seeded_config(cfg: Config, seed: int) -> Config:
    """A copy of a config with a seed."""
    cfg = Config(cfg._cfg_dict.to_dict(), filename=cfg.filename)
    cfg.setdefault('randomness', {}).update(seed=seed)
    return cfg
