"""What a resumed run takes from its checkpoint, what from its config, and where the two differ."""

import ast
import copy
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.config import Config, ConfigDict
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from mmirstd.checkpoints.fitting import check_optimizer
from mmirstd.checkpoints.loading import load_checkpoint, meta_of, use_strict_loader
from mmirstd.checkpoints.resumable import ResumeFields
from mmirstd.checkpoints.state_dict import CheckpointError, checkpoint_weights
from mmirstd.engine.config_checks import ANEW, ConfigValueError
from mmirstd.io.tables import text_rows
from mmirstd.utils.literals import literal_node
from mmirstd.utils.text import as_list

_COMPARED = (
    'model', 'optim_wrapper', 'param_scheduler', 'train_dataloader', 'train_cfg', 'custom_hooks', 'default_hooks',
    'val_dataloader', 'val_evaluator', 'auto_scale_lr', 'randomness',
)  # fmt: skip
# Where data lie and how many processes read them changes no result.
_IGNORED = ('.data_root', '.num_workers', '.persistent_workers', '.pin_memory', '.prefetch_factor')
_MOST = 20
_MISSING = object()


class ConfigDifference(NamedTuple):
    """A key of which checkpoint and config have different values, and which of them counts."""

    key: str
    checkpoint: str
    config: str
    counts: str


def config_of(text: Any) -> dict[str, Any] | None:
    """Read the config that a checkpoint holds as text, without running it; None if it holds none.

    What is no plain value stays text.
    """
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    config = {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(name := statement.targets[0], ast.Name):
            try:
                config[name.id] = literal_node(statement.value)
            except (ValueError, TypeError, RecursionError):
                config[name.id] = ast.get_source_segment(text, statement.value)
    return config


def config_differences(
    old: Mapping[str, Any], new: Mapping[str, Any], anew: Sequence[str] = ()
) -> list[ConfigDifference]:
    """Compare the config of a checkpoint with that of a run, by the keys that training depends on."""
    before, now = (dict(_flat(config)) for config in (old, new))
    return [
        ConfigDifference(key, _shown(before.get(key, _MISSING)), _shown(now.get(key, _MISSING)), _counts(key, anew))
        for key in dict.fromkeys([*before, *now])
        if before.get(key, _MISSING) != now.get(key, _MISSING) and not key.endswith(_IGNORED)
    ]


def resume_report(filename: str, meta: Mapping[str, Any], config: Mapping[str, Any], anew: Sequence[str]) -> str:
    """Say what a resumed run takes from where, and where checkpoint and config differ."""
    source = {part: 'config' if part in anew else 'checkpoint' for part in ANEW}
    rows = [
        {'what': 'weights, iteration, log history, random generators', 'taken from': 'checkpoint'},
        {'what': 'state of the optimizer, weight decay', 'taken from': source['optimizer']},
        {'what': 'learning rate and its schedule', 'taken from': source['schedule']},
        {'what': 'loss, data, batch size, hooks, length of training', 'taken from': 'config'},
    ]
    text = f'resuming from {filename}\n{text_rows(rows)}'
    old = config_of(meta.get('cfg'))
    if old is None:
        return f'{text}\nthe checkpoint does not hold its config, so it is not compared'
    differences = config_differences(old, config, anew)
    if not differences:
        return f'{text}\nits config is that of this run'
    advice = ''
    if any(d.counts == 'checkpoint' for d in differences):
        advice = "\nto train on with the config's values instead: --resume-anew optimizer schedule (either or both)"
    rows = [d._asdict() for d in differences[:_MOST]]
    more = f'\nand {len(differences) - _MOST} more' if len(differences) > _MOST else ''
    return f'{text}\nits config differs from that of this run:\n{text_rows(rows)}{more}{advice}'


class ResumedRates:
    """Learning rates, and what else is scheduled, of a run that takes optimizer or schedule from its config.

    Args:
        runner: Before it resumes, its optimizer and schedules built and new.
        anew: What of :data:`ANEW` is taken from the config.
    """

    def __init__(self, runner: Runner, anew: Sequence[str]) -> None:
        self._anew, self._runner = anew, runner
        if not anew:
            return
        if isinstance(runner.optim_wrapper, Mapping):  # not built yet
            runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
            if runner.param_schedulers is not None:
                runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
        if isinstance(runner.optim_wrapper, OptimWrapperDict):
            raise ConfigValueError('resume_anew: there are several optimizers, which are resumed whole only')
        self._fresh = [{k: v for k, v in group.items() if k != 'params'} for group in self._groups]

    def apply(self) -> None:
        """Set them, once weights and iteration are resumed."""
        if not self._anew:
            return
        schedules = self._runner.param_schedulers or []
        names = dict.fromkeys(['lr', *(s.param_name for s in schedules)])
        if 'schedule' in self._anew:
            for group, fresh in zip(self._groups, self._fresh, strict=True):
                group.update({k: v for name in names for k, v in fresh.items() if k in (name, f'initial_{name}')})
            self._forward(schedules)
        elif 'optimizer' in self._anew:  # a new optimizer goes on at the rate that the schedule has reached
            for schedule in schedules:
                for group, value, base in zip(self._groups, schedule._last_value, schedule.base_values, strict=True):
                    group[schedule.param_name], group[f'initial_{schedule.param_name}'] = value, base

    @property
    def _groups(self) -> list[dict[str, Any]]:
        return self._runner.optim_wrapper.optimizer.param_groups

    def _forward(self, schedules: Sequence[Any]) -> None:
        """Step new schedules to where training is."""
        iters, epochs = self._runner.iter, self._runner.epoch
        every = iters // epochs if epochs else 0
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # steps without steps of the optimizer
            for i in range(1, iters + 1):
                for schedule in schedules:
                    if not schedule.by_epoch or (every and i % every == 0):
                        schedule.step()


class ResumingMixin:
    """Has a runner say what a resumed run takes from where, take from the config what ``resume_anew`` names there, and
    take the rest of the checkpoint only as a whole.
    """

    _required: Sequence[str] = ()  # what the checkpoint being resumed must hold besides weights
    _checked_source = ''

    @classmethod
    def from_cfg(cls, cfg: Config) -> Runner:
        """Build from a config; a resumed run without a seed of its own takes that of the checkpoint from the start."""
        if cfg.get('resume') and cfg.get('load_from') and cfg.get('randomness', {}).get('seed') is None:
            use_strict_loader()
            seed = meta_of(load_checkpoint(cfg.load_from)).get('seed')
            if seed is not None:
                ResumeFields(cfg.load_from).count(seed, 'meta.seed', 2**32 - 1)
            cfg = copy.deepcopy(cfg)
            cfg.setdefault('randomness', ConfigDict())['seed'] = seed
        return super().from_cfg(cfg)

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable = 'default',
    ) -> None:
        """Resume weights, optimizer, schedulers, iteration and log history, and log what differs from the config.

        With ``resume_anew`` in the config, optimizer or schedule are taken from there.

        Raises:
            CheckpointError: Also if the checkpoint lacks one of them.
            ConfigValueError: If it has another number of schedules.
        """
        resume_optimizer = resume_optimizer and 'optimizer' not in self._anew
        resume_param_scheduler = resume_param_scheduler and 'schedule' not in self._anew
        rates = ResumedRates(self, self._anew)
        self._required = ['meta', 'message_hub']
        self._required += ['optimizer'] * resume_optimizer
        self._required += ['param_schedulers'] * (resume_param_scheduler and self.param_schedulers is not None)
        self._checked_source = filename
        try:
            super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        finally:
            self._required = ()
        rates.apply()

    @property
    def _anew(self) -> list[str]:
        return as_list(self.cfg.get('resume_anew') or ())

    def check_parts(self, content: Mapping[str, Any]) -> None:
        """See that a checkpoint to resume from holds what is taken from it.

        Raises:
            CheckpointError: Naming what is missing.
        """
        if missing := [k for k in self._required if k not in content]:
            raise CheckpointError(
                f'cannot resume from {self._checked_source}: it has no {", ".join(missing)}; to start from its '
                'weights, set load_from and do not resume'
            )

    def check_states(self, content: Mapping[str, Any]) -> None:
        """Log the table, and compare optimizer and schedules with the run's, once the weights are known to fit.

        Raises:
            CheckpointError: If they do not fit.
            ConfigValueError: If there is another number of schedules.
        """
        if not self._required:
            return
        filename = self._checked_source
        fields = ResumeFields(filename)
        for key, value in checkpoint_weights(content, filename).items():
            fields.finite(value, f'state_dict[{key!r}]')
        self.logger.info(resume_report(filename, content['meta'], self.cfg.to_dict(), self._anew))
        if 'param_schedulers' in self._required:
            refuse_other_schedules(content, self.param_schedulers, filename)
        if 'optimizer' in self._required:
            self.check_optimizer(content, filename)
        if 'param_schedulers' in self._required:
            fields.schedulers(content['param_schedulers'], self.param_schedulers)

    def check_optimizer(self, content: Mapping[str, Any], filename: str) -> None:
        """Compare the state of the optimizer with the run's own.

        Raises:
            CheckpointError: If they do not fit.
        """
        check_optimizer(content, self.optim_wrapper, filename)


def refuse_other_schedules(content: Mapping[str, Any], schedules: Any, filename: str) -> None:
    """See that a checkpoint holds as many schedules as the run has: MMEngine would resume the first ones alone.

    Raises:
        ConfigValueError: If not.
    """
    held = content.get('param_schedulers')
    if isinstance(held, list) and isinstance(schedules, list) and len(held) != len(schedules):
        raise ConfigValueError(
            f'param_scheduler: the config has {len(schedules)} and {filename} has {len(held)}; '
            "take the config's with --resume-anew schedule"
        )


def _flat(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    def walk(key: str, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping) and value:
            for name, item in value.items():
                yield from walk(f'{key}.{name}', item)
        elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
            for i, item in enumerate(value):
                yield from walk(f'{key}[{i}]', item)
        else:
            yield key, list(value) if isinstance(value, tuple) else value

    for key in _COMPARED:
        if key in config:
            yield from walk(key, config[key])


def _counts(key: str, anew: Sequence[str]) -> str:
    if key.startswith('param_scheduler'):
        return 'config' if 'schedule' in anew else 'checkpoint'
    if re.match(r'optim_wrapper\.(\w+\.)?(optimizer|paramwise_cfg)\b', key):
        rate = key.endswith(('.lr', '.lr_mult'))
        return 'config' if ('schedule' if rate else 'optimizer') in anew else 'checkpoint'
    return 'checkpoint' if key == 'randomness.seed' else 'config'


def _shown(value: Any) -> str:
    if value is _MISSING:
        return '(not there)'
    text = repr(value)
    return text if len(text) <= 40 else f'{text[:37]}...'
