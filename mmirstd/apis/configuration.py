"""A config as a run uses it: found by name, changed by options, its data folders checked."""

import copy
import inspect
import os.path as osp
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmseg.registry import MODELS

from mmirstd.checkpoints.loading import use_strict_loader
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.engine.provenance import allowed_names
from mmirstd.io.files import refuse_no_folder
from mmirstd.utils.configs import ConfigNotFoundError, find_config
from mmirstd.utils.data_root import check_data_root, set_data_root
from mmirstd.utils.errors import UserError
from mmirstd.utils.literals import NO_LITERAL, literal
from mmirstd.utils.text import as_list, did_you_mean, is_one_slip

CfgOptions = Mapping[str, Any] | Sequence[str]

# What the runner and the commands read from a config; anything else at top level is a variable of the file.
CONFIG_KEYS = (frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}) | {
    'activation_checkpointing', 'allow_overlap', 'compile', 'efficient_conv_bn_eval', 'find_unused_parameters',
    'model_wrapper_cfg', 'resume_anew', 'runner_type', 'strategy', 'strict_load', 'sync_bn', 'tta_model',
    'tta_pipeline',
}  # fmt: skip


_CLOSED_BY = {'(': ')', '[': ']', '{': '}'}


class OptionError(UserError, ValueError):
    """An option that has no effect, or not the one that is meant."""


def read_config(config: str | Path | Config, cfg_options: CfgOptions | None = None) -> Config:
    """Read a config and change parts of it.

    Args:
        config: Path or name, as :func:`mmirstd.utils.configs.find_config` takes it; or a config, which is copied.
        cfg_options: Dotted keys and values, or texts such as ``'train_dataloader.batch_size=4'``.

    A variable whose name is a slip of a key, such as ``modle``, gets a warning: MMEngine would pass over it in silence.

    Raises:
        ConfigNotFoundError: If there is no such config, or a base of it is missing.
        OptionError: If an option would have no effect.
    """
    use_strict_loader()  # of whatever the config has built
    try:
        cfg = copy.deepcopy(config) if isinstance(config, Config) else Config.fromfile(find_config(config))
    except SyntaxError as error:  # which of them it is, MMEngine does not say
        raise OptionError(f'{config}, or a base of it, line {error.lineno}: {error.msg}') from error
    except RecursionError:
        raise OptionError(f'{config}: its _base_ leads in a circle') from None
    except ConfigNotFoundError:
        raise
    except FileNotFoundError as error:
        raise ConfigNotFoundError(f'{config}, or a base of it: {error}') from error
    _warn_of_misspelled_keys(cfg)
    options = parse_options(cfg_options)
    for key in options:
        check_option(cfg, key)
    for key, value in options.items():
        try:
            cfg.merge_from_dict({key: value})
        except (KeyError, TypeError, IndexError, ValueError, AttributeError, AssertionError) as error:
            reason = ' '.join(str(error.args[0] if error.args else error).split())
            raise OptionError(f'--cfg-options {key}: {reason}') from error
    return cfg


def _warn_of_misspelled_keys(cfg: Config) -> None:
    for name in cfg:
        if name not in CONFIG_KEYS and (meant := [key for key in sorted(CONFIG_KEYS) if is_one_slip(name, key)]):
            warnings.warn(
                f'{cfg.filename}: nothing reads the variable {name}; did you mean {" or ".join(meant)}?', stacklevel=3
            )


def parse_options(options: CfgOptions | None, option: str = '--cfg-options') -> dict[str, Any]:
    """Read ``KEY=VALUE`` texts; a mapping is taken as it is.

    A value is what Python reads there, ``dict(...)`` included, or what MMEngine reads: ``a,b`` and ``[a,b]`` are lists
    of texts, ``true`` and ``None`` are values, all else is a text.

    Raises:
        OptionError: If a text has no key or no ``=``, or its brackets or quotes do not close.
    """
    if isinstance(options, Mapping):
        return dict(options)
    parsed = {}
    for text in as_list(options or ()):
        key, equals, value = text.partition('=')
        if not equals or not key.strip() or not all(key.strip().split('.')):
            raise OptionError(f'{option} {text}: expected KEY=VALUE')
        parsed[key.strip()] = _parse_value(value, f'{option} {text}')
    return parsed


def _parse_value(text: str, option: str) -> Any:
    if (value := literal(text)) is not NO_LITERAL:
        if isinstance(value, tuple) and literal(f'[{text}]') != [value]:
            return list(value)  # without brackets, as MMEngine reads it
        return value
    open_: list[str] = []
    for character in text:
        if character in _CLOSED_BY:
            open_.append(character)
        elif character in _CLOSED_BY.values() and (not open_ or _CLOSED_BY[open_.pop()] != character):
            raise OptionError(f'{option}: {character} closes nothing')
    if open_:
        raise OptionError(f'{option}: {open_[-1]} is not closed')
    if text.lstrip().startswith(('{', 'dict(')) or '{' in text or 'dict(' in text:
        raise OptionError(f"{option}: write a dict as {{'key': value}} or dict(key=value), with texts in quotes")
    try:
        value = DictAction._parse_iterable(text)
    except (AssertionError, RecursionError) as error:
        raise OptionError(f'{option}: {" ".join(str(error).split()) or "brackets do not match"}') from None
    return _with_spaces(value, text)


def _with_spaces(value: Any, text: str) -> Any:
    """Give a text, or a list of texts, the spaces inside back that MMEngine takes out, such as those of a path."""
    if isinstance(value, str):
        return text.strip().strip('\'"')
    parts = text.strip().strip('[]()').split(',')
    if isinstance(value, (list, tuple)) and len(parts) == len(value):
        return type(value)(
            _with_spaces(v, part) if isinstance(v, str) else v for v, part in zip(value, parts, strict=True)
        )
    return value


def check_option(cfg: Config, key: str) -> None:
    """See that changing ``key`` has an effect.

    Raises:
        OptionError: If it is no key of a config, or a variable whose value is already in the parts built from it.
    """
    top = key.split('.', 1)[0]
    if top in CONFIG_KEYS:
        return
    if top == 'data_root':
        raise OptionError('--cfg-options data_root: use --data-root, which reaches all datasets')
    if top in cfg:
        raise OptionError(
            f'--cfg-options {key}: {top} is a variable of the config file, and changing it here would not '
            'reach the parts built from it; change those (for example train_dataloader.batch_size)'
        )
    raise OptionError(f'--cfg-options {key}: configs have no {top}{did_you_mean(top, CONFIG_KEYS, 1)}')


def run_config(
    config: str | Path | Config,
    loaders: Sequence[str],
    *,
    cfg_options: CfgOptions | None = None,
    data_root: str | Path | None = None,
    work_dir: str | Path | None = None,
    allow_overlap: Sequence[str] = (),
    launcher: str | None = None,
    subfolder: str = '',
) -> Config:
    """Read the config of a run that trains or tests, and see that the data folders of ``loaders`` exist.

    Args:
        config: See :func:`read_config`.
        loaders: Those of ``'train'``, ``'val'`` and ``'test'`` that are used.
        cfg_options: See :func:`read_config`.
        data_root: Folder of the dataset; by default what the config says.
        work_dir: Where to write; by default what the config says, or ``work_dirs/NAME``.
        allow_overlap: Names of datasets, or of splits of them, that may be both trained on and evaluated.
        launcher: ``'none'``, ``'pytorch'`` or ``'slurm'``; by default what the config says.
        subfolder: Goes below the default of ``work_dir``.

    Raises:
        ConfigNotFoundError: If there is no such config.
        OptionError: If an option would have no effect.
        DataRootError: If a folder does not exist.
    """
    cfg = read_config(config, cfg_options)
    cfg.launcher = launcher if launcher not in (None, 'none') else cfg.get('launcher', 'none')
    if allow_overlap:
        cfg.allow_overlap = [*allowed_names(cfg.get('allow_overlap') or []), *as_list(allow_overlap)]
    default = cfg.get('work_dir') or osp.join('work_dirs', osp.splitext(osp.basename(cfg.filename or 'config'))[0])
    cfg.work_dir = osp.normpath(work_dir or osp.join(default, subfolder))
    refuse_no_folder(cfg.work_dir)
    if data_root:
        set_data_root(cfg, str(data_root))
    check_data_root(cfg, loaders)
    for loader in loaders:  # PyTorch refuses both together
        if (cfg.get(f'{loader}_dataloader') or {}).get('num_workers') == 0:
            cfg[f'{loader}_dataloader'].persistent_workers = False
    return cfg


def has_weights(cfg: Config) -> bool:
    """Whether the model of a config has weights: classical detectors have none, see ``ClassicalSegmentor``."""
    kind = (cfg.get('model') or {}).get('type')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        return getattr(MODELS.get(kind) if isinstance(kind, str) else kind, 'HAS_WEIGHTS', True)


def refuse_needless_checkpoint(cfg: Config, checkpoint: str | Path | None) -> None:
    """See that no checkpoint is given for a model without weights.

    Raises:
        OptionError: If one is.
    """
    if checkpoint is not None and not has_weights(cfg):
        raise OptionError(f'{cfg.filename or "the model"} has no weights: leave out the checkpoint {checkpoint}')


def refuse_without_weights(config: str | Path | Config, purpose: str) -> None:
    """See that a model has weights for what a command does with them.

    Args:
        config: See :func:`read_config`.
        purpose: Goes after "nothing to".

    Raises:
        OptionError: If it has none.
    """
    cfg = read_config(config)
    if not has_weights(cfg):
        raise OptionError(f'{cfg.filename or "the model"} has no weights: there is nothing to {purpose}')


def refuse_distiller(cfg: Config) -> None:
    """See that a config is of a model that predicts masks, and not of a distillation.

    Raises:
        OptionError: If it is of a distillation.
    """
    if 'teacher' in (cfg.get('model') or {}):
        raise OptionError(
            f'{cfg.filename or "the config"} is of a distillation, which predicts no masks: give the config of its '
            'student, with the student.pth that the training wrote'
        )


def check_checkpoint(name: str) -> None:
    """See early that a checkpoint exists, unless it is an address.

    Raises:
        CheckpointError: If not.
    """
    if '://' not in name and not osp.isfile(name):
        raise CheckpointError(f'there is no checkpoint file {name}')
