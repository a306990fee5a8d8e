"""What a config says, checked by key before anything is built or trained: one function for each rule.

A rule raises :class:`ConfigValueError`, in one line that begins with the key. What is allowed, but is probably not what
is meant, it logs as a warning.
"""

import copy
import inspect
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import InfiniteSampler
from mmengine.hooks import CheckpointHook, EMAHook, LoggerHook
from mmengine.logging import print_log
from mmengine.registry import (
    DATA_SAMPLERS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    DefaultScope,
    Registry,
)
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmseg.evaluation import IoUMetric

from mmirstd.datasets.transforms import LoadIRImage
from mmirstd.models.data_preprocessor import IRSTDDataPreProcessor
from mmirstd.utils.data_root import iter_nested_datasets
from mmirstd.utils.errors import UserError
from mmirstd.utils.optimizers import has_several_optimizers, iter_optim_wrappers
from mmirstd.utils.text import as_list, did_you_mean

# What MMSegmentation's IoUMetric reports; all of it is better when greater.
_IOU_METRIC = {'mIoU': ('mIoU', 'mAcc'), 'mDice': ('mDice', 'mAcc'), 'mFscore': ('mFscore', 'mPrecision', 'mRecall')}
ANEW = ('optimizer', 'schedule')  # what of a resumed run may be taken from the config: resume_anew
_FLAGS = ('resume', 'strict_load', 'find_unused_parameters')
_CHANNEL_ARGUMENTS = ('in_channels', 'in_chans')


class ConfigValueError(UserError, ValueError):
    """A value of a config that has no effect, or another one than is meant."""


def check_config(cfg: Config) -> None:
    """Check what holds for training and testing alike; fills in the ``rule`` of ``save_best``, which a metric knows.

    Raises:
        ConfigValueError: Naming the key.
    """
    for rule in (check_flags, check_hook_arguments, check_intervals, check_save_best):
        rule(cfg)


def check_training(cfg: Config) -> None:
    """Check what holds for training.

    Raises:
        ConfigValueError: Naming the key.
    """
    for rule in (check_loop, check_units, check_schedule_end, check_optimizers, check_processes):
        rule(cfg)


def check_flags(cfg: Config) -> None:
    """Switches are true or false: any text would count as true."""
    if unknown := [part for part in as_list(cfg.get('resume_anew') or ()) if part not in ANEW]:
        raise ConfigValueError(f'resume_anew={unknown[0]!r}: there are {" and ".join(map(repr, ANEW))}')
    for key in _FLAGS:
        if not isinstance(cfg.get(key), (bool, type(None))):
            raise ConfigValueError(f'{key}={cfg[key]!r}: must be True or False')
    if cfg.get('launcher', 'none') not in ('none', 'pytorch', 'slurm', 'mpi'):
        raise ConfigValueError(f"launcher={cfg.launcher!r}: must be 'none', 'pytorch' or 'slurm'")
    if cfg.get('sync_bn') not in (None, False, 'torch', 'mmcv'):
        raise ConfigValueError(f"sync_bn={cfg.sync_bn!r}: must be 'torch', 'mmcv' or None")


def check_hook_arguments(cfg: Config) -> None:
    """Hooks take the arguments they are given; MMEngine's checkpoint hook would swallow any."""
    for place, hook in _hooks(cfg):
        _check_arguments(cfg, place, hook, HOOKS)


def check_intervals(cfg: Config) -> None:
    """Intervals are whole numbers from 1 on; -1 means never."""
    places = [*_hooks(cfg), ('train_cfg', cfg.get('train_cfg') or {})]
    for place, part in places:
        for key, value in part.items():
            if key != 'interval' and not key.endswith('_interval'):
                continue
            never = value == -1 and place != 'train_cfg'
            if isinstance(value, bool) or not isinstance(value, int) or (value < 1 and not never):
                also = '' if place == 'train_cfg' else ', or -1 for never'
                raise ConfigValueError(f'{place}.{key}={value!r}: must be a whole number from 1 on{also}')


def check_save_best(cfg: Config) -> None:
    """The best checkpoint is chosen by a metric that exists, in its direction."""
    if not cfg.get('val_evaluator') or (directions := _metric_directions(cfg)) is None:
        return
    for place, hook in _hooks(cfg):
        if not _is_a(cfg, hook, HOOKS, CheckpointHook) or not hook.get('save_best'):
            continue
        names = [hook['save_best']] if isinstance(hook['save_best'], str) else list(hook['save_best'])
        names = [next(iter(directions))] if names == ['auto'] else names
        for name in names:
            if name not in directions:
                near = did_you_mean(name, directions, 1)
                raise ConfigValueError(f'{place}.save_best={name!r}: the metrics are {", ".join(directions)}{near}')
        right = [directions[name] for name in names]
        given = hook.get('rule')
        rules = list(given) if isinstance(given, (list, tuple)) else [given] * len(names)
        for name, rule, direction in zip(names, rules, right, strict=False):
            if rule not in (None, direction):
                raise ConfigValueError(f'{place}.rule={rule!r}: {name} is better when it is {direction}')
        hook['save_best'], hook['rule'] = (names[0], right[0]) if len(names) == 1 else (names, right)


def check_loop(cfg: Config) -> None:
    """The loop takes the arguments it is given, and ends."""
    train_cfg = cfg.get('train_cfg')
    if not isinstance(train_cfg, Mapping):
        return
    known = 'type' in train_cfg or 'by_epoch' in train_cfg
    if known and (loop := _loop(cfg)) in (IterBasedTrainLoop, EpochBasedTrainLoop):
        part = {'type': loop.__name__} | {
            k: v for k, v in train_cfg.items() if k not in ('type', 'by_epoch', '_scope_')
        }
        _check_arguments(cfg, 'train_cfg', part, LOOPS, ignore=('runner', 'dataloader'))
    sampler = (cfg.get('train_dataloader') or {}).get('sampler')
    if _by_epoch(cfg) and isinstance(sampler, Mapping) and _is_a(cfg, sampler, DATA_SAMPLERS, InfiniteSampler):
        raise ConfigValueError(
            f'train_dataloader.sampler.type={sampler["type"]!r}: the first epoch of EpochBasedTrainLoop never ends; '
            "use DefaultSampler, or train_cfg.type='IterBasedTrainLoop'"
        )


def check_units(cfg: Config) -> None:
    """What counts epochs has no place in a loop by iteration, which is one epoch long."""
    if _by_epoch(cfg) is not False:
        return
    for place, schedule in _schedules(cfg):
        if schedule.get('by_epoch', True) and not schedule.get('convert_to_iter_based'):
            raise ConfigValueError(
                f'{place}.by_epoch={schedule.get("by_epoch", "True (the default)")}: the loop counts iterations, so '
                f'the schedule would never move; set {place}.by_epoch=False'
            )
    for place, hook in _hooks(cfg):
        if _is_a(cfg, hook, HOOKS, CheckpointHook) and hook.get('by_epoch', True) and hook.get('interval', -1) > 0:
            raise ConfigValueError(
                f'{place}.by_epoch={hook.get("by_epoch", "True (the default)")}: the loop counts iterations, so no '
                f'checkpoint would be written before the end; set {place}.by_epoch=False'
            )
        if _is_a(cfg, hook, HOOKS, LoggerHook) and hook.get('log_metric_by_epoch', True):
            _warn(f'{place}.log_metric_by_epoch is True in a loop by iteration: all metrics are logged at step 0')
    if (cfg.get('log_processor') or {}).get('by_epoch', True):
        _warn('log_processor.by_epoch is True in a loop by iteration: the log counts one epoch; set it to False')


def check_schedule_end(cfg: Config) -> None:
    """The schedule ends where training does, or it is said where."""
    by_epoch = _by_epoch(cfg)
    key = 'max_epochs' if by_epoch else 'max_iters'
    total = (cfg.get('train_cfg') or {}).get(key)
    ends = {
        f'{place}.{name}': end
        for place, schedule in _schedules(cfg)
        for name, end in _end(schedule)
        if bool(schedule.get('by_epoch', True)) == by_epoch and not schedule.get('convert_to_iter_based')
    }
    if by_epoch is None or not total or not ends:
        return
    place, end = max(ends.items(), key=lambda item: item[1])
    if end != total and not (place.endswith('milestones') and end < total):
        rest = 'is cut off' if end > total else 'is over before the end'
        _warn(f'{place}={end} and train_cfg.{key}={total}: the schedule of the learning rate {rest}')


def check_optimizers(cfg: Config) -> None:
    """The optimizer, or that of each part, exists and takes the arguments it is given."""
    for place, wrapper in iter_optim_wrappers(cfg):
        part = wrapper.get('optimizer')
        if not isinstance(part, Mapping) or 'type' not in part:
            if has_several_optimizers(cfg.optim_wrapper):
                raise ConfigValueError(f'{place}.optimizer={part!r}: must be a dict with the type of an optimizer')
            continue
        if _class(cfg, part, OPTIMIZERS) is None:
            near = did_you_mean(str(part['type']), list(OPTIMIZERS.module_dict), 1)
            raise ConfigValueError(f'{place}.optimizer.type={part["type"]!r}: there is no such optimizer{near}')
        _check_arguments(cfg, f'{place}.optimizer', part, OPTIMIZERS, ignore=('params', 'defaults'))


def check_processes(cfg: Config) -> None:
    """Several optimizers train in one process: wrappers of several processes make one step a batch."""
    if not has_several_optimizers(cfg.get('optim_wrapper')):
        return
    if cfg.get('launcher', 'none') != 'none':
        raise ConfigValueError(f'launcher={cfg.launcher!r}: a model with several optimizers trains in one process')
    if cfg.get('strategy'):
        raise ConfigValueError('strategy: a model with several optimizers trains in one process, without one')


def check_channels(cfg: Config) -> None:
    """Loader, preprocessor and backbone of a model agree on the number of channels of an image."""
    model = cfg.get('model')
    if not isinstance(model, Mapping):
        return
    counts = [(f'{place}.pipeline', n) for place, n in _loaded_channels(cfg)]
    preprocessor = model.get('data_preprocessor') or {}
    mean, own = preprocessor.get('mean'), _is_a(cfg, preprocessor, MODELS, IRSTDDataPreProcessor)
    if isinstance(mean, (list, tuple)) and (len(mean) > 1 or own):  # MMSegmentation's takes one value for all channels
        counts.append(('model.data_preprocessor.mean', len(mean)))
    backbone = model.get('backbone')
    if isinstance(backbone, Mapping) and (found := _in_channels(cfg, backbone)):
        counts.append((f'model.backbone.{found[0]}', found[1]))
    if len({n for _, n in counts}) > 1:
        shown = list(dict.fromkeys(f'{place}: {n}' for place, n in counts))
        raise ConfigValueError(f'the numbers of channels of an image differ: {", ".join(shown)}')


def _check_arguments(cfg: Config, place: str, part: Mapping, root: Registry, ignore: Sequence[str] = ()) -> None:
    cls = _class(cfg, part, root)
    known = None if cls is None else _arguments(cls)
    if known is not None and issubclass(cls, EMAHook):  # it passes on what it does not know
        average = _class(cfg, {'type': part.get('ema_type', 'ExponentialMovingAverage')}, MODELS)
        inner = None if average is None else _arguments(average)
        known = None if inner is None else known | inner
    if known is None:
        return
    known = known - set(ignore)
    for name in part:
        if name not in known | {'type', 'priority', '_scope_'}:
            raise ConfigValueError(
                f'{place}.{name}: {cls.__name__} has no argument {name}{did_you_mean(name, known, 1)}'
            )


def _arguments(cls: type) -> set[str] | None:
    """Names of the arguments of a class, those passed on to its bases included; None where any name is taken."""
    names: set[str] = set()
    for base in inspect.getmro(cls):
        if base is object or '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters
        names |= {n for n, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        if base in (CheckpointHook, EMAHook) or all(p.kind != p.VAR_KEYWORD for p in parameters.values()):
            return names - {'self'}
    return None if names else set()


def _class(cfg: Config, part: Mapping, root: Registry) -> type | None:
    kind = part.get('type')
    if isinstance(kind, str):
        default, scope = cfg.get('default_scope') or 'mmseg', part.get('_scope_')
        with DefaultScope.overwrite_default_scope(default), root.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    return kind if inspect.isclass(kind) else None


def _is_a(cfg: Config, part: Mapping, root: Registry, base: type) -> bool:
    cls = _class(cfg, part, root)
    return cls is not None and issubclass(cls, base)


def _hooks(cfg: Config) -> Iterator[tuple[str, dict]]:
    default, custom = cfg.get('default_hooks') or {}, cfg.get('custom_hooks') or []
    yield from ((f'default_hooks.{name}', hook) for name, hook in default.items() if isinstance(hook, Mapping))
    yield from ((f'custom_hooks[{i}]', hook) for i, hook in enumerate(custom) if isinstance(hook, Mapping))


def _schedules(cfg: Config) -> Iterator[tuple[str, dict]]:
    def walk(place: str, value: Any) -> Iterator[tuple[str, dict]]:
        if isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                yield from walk(f'{place}[{i}]', item)
        elif isinstance(value, Mapping) and 'type' in value:
            if _class(cfg, value, PARAM_SCHEDULERS):
                yield place, value
        elif isinstance(value, Mapping):  # by optimizer
            for name, item in value.items():
                yield from walk(f'{place}.{name}', item)

    yield from walk('param_scheduler', cfg.get('param_scheduler'))


def _end(schedule: Mapping) -> Iterator[tuple[str, float]]:
    if isinstance(end := schedule.get('end'), (int, float)) and math.isfinite(end):
        yield 'end', end
    elif milestones := schedule.get('milestones'):
        yield 'milestones', max(milestones)


def _loop(cfg: Config) -> type | None:
    train_cfg = cfg.get('train_cfg') or {}
    if 'type' in train_cfg:
        return _class(cfg, train_cfg, LOOPS)
    return EpochBasedTrainLoop if train_cfg.get('by_epoch', True) else IterBasedTrainLoop


def _by_epoch(cfg: Config) -> bool | None:
    """Whether training counts epochs; None where it is a loop of another kind."""
    loop = _loop(cfg)
    if loop is None or not isinstance(cfg.get('train_cfg'), Mapping):
        return None
    return False if issubclass(loop, IterBasedTrainLoop) else True if issubclass(loop, EpochBasedTrainLoop) else None


def _metric_directions(cfg: Config) -> dict[str, str] | None:
    """``'greater'`` or ``'less'`` for each metric of the validation; None where a metric does not say."""
    evaluator = cfg.val_evaluator
    if isinstance(evaluator, Mapping) and 'metrics' in evaluator:  # an Evaluator
        evaluator = evaluator['metrics']
    directions: dict[str, str] = {}
    for part in [evaluator] if isinstance(evaluator, Mapping) else evaluator:
        cls = _class(cfg, part, METRICS) if isinstance(part, Mapping) else None
        if cls is not None and issubclass(cls, IoUMetric):
            kinds = part.get('iou_metrics', ['mIoU'])
            names = ['aAcc', *(n for kind in kinds for n in _IOU_METRIC.get(kind, ()))]
            prefix = f'{part["prefix"]}/' if part.get('prefix') else ''
            directions |= {f'{prefix}{name}': 'greater' for name in names}
        elif hasattr(cls, 'directions'):
            arguments = {k: v for k, v in copy.deepcopy(dict(part)).items() if k not in ('type', '_scope_')}
            directions |= cls(**arguments).directions()
        else:
            return None
    return directions or None


def _loaded_channels(cfg: Config) -> Iterator[tuple[str, int]]:
    for place, nested in iter_nested_datasets(cfg):
        loader = next((s for s in _steps(nested[-1]) if _is_a(cfg, s, TRANSFORMS, LoadImageFromFile)), None)
        # WPMD may append channels, also in a wrapper around the dataset.
        if loader is None or any('WPMD' in str(s.get('type')) for d in nested for s in _steps(d)):
            continue
        if _is_a(cfg, loader, TRANSFORMS, LoadIRImage):
            yield place, loader.get('channels', 3)
        elif (kind := loader.get('color_type', 'color')) in ('color', 'grayscale'):
            yield place, 3 if kind == 'color' else 1


def _steps(dataset: Mapping) -> list[Mapping]:
    return [step for step in dataset.get('pipeline') or [] if isinstance(step, Mapping)]


def _in_channels(cfg: Config, backbone: Mapping) -> tuple[str, int] | None:
    cls = _class(cfg, backbone, MODELS)
    if cls is None:
        return None
    parameters = inspect.signature(cls.__init__).parameters
    for name in _CHANNEL_ARGUMENTS:
        if name in parameters:
            value = backbone.get(name, parameters[name].default)
            return (name, value) if isinstance(value, int) else None
    return None


def _warn(text: str) -> None:
    print_log(text, 'current', logging.WARNING)
