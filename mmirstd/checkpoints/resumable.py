"""Whether what a run resumes from is what a run writes: the type and range of every field that is used.

MMEngine takes these values as they are. A wrong one ends in an error far from its cause, in a run that never ends, or
in one that goes on without the state it was to continue.
"""

import math
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mmirstd.checkpoints.state_dict import CheckpointError

# In ``meta``: which run wrote a checkpoint. A run deletes no file without its own.
RUN_ID = 'run_id'
# Where a loop does not say when it ends. No training has as many iterations; a number above it is damage.
MAX_STEPS = 10**12


class ResumeFields:
    """Checks of the entries of one checkpoint; errors name the file and the field.

    Args:
        source: The file, for messages.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def fail(self, field: str, value: object, expected: str) -> NoReturn:
        """Raise the error about one field."""
        raise CheckpointError(
            f'cannot resume from {self._source}: {field} is {" ".join(reprlib.repr(value).split())}, not {expected}'
        )

    def mapping(self, value: object, field: str) -> Mapping:
        """See that a value is a dict with texts as keys."""
        if not isinstance(value, Mapping):
            self.fail(field, value, 'a dict')
        if wrong := [key for key in value if not isinstance(key, str)]:
            self.fail(f'a key of {field}', wrong[0], 'a text')
        return value

    def count(self, value: object, field: str, most: int = MAX_STEPS, why: str = '') -> int:
        """See that a value is a whole number from 0 to ``most``."""
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 0 <= value <= most:
            self.fail(field, value, f'a whole number from 0 to {most}{why}')
        return value

    def finite(self, value: object, field: str) -> None:
        """See that a number, or all of a tensor, is finite: training could not go on from it."""
        if isinstance(value, (Tensor, float)) and not torch.as_tensor(value).isfinite().all():
            self.fail(field, value, 'finite numbers alone')

    def meta(self, value: object, max_epochs: int | None, max_iters: int | None, why: str) -> Mapping:
        """Check ``meta``.

        Args:
            value: The entry.
            max_epochs: The last epoch of the training; None if it is not counted.
            max_iters: Its last iteration; None if it is not counted.
            why: What sets these ends, for messages.

        Raises:
            CheckpointError: Naming the field.
        """
        meta = self.mapping(value, 'meta')
        for key, most in (('epoch', max_epochs), ('iter', max_iters)):
            self.count(meta.get(key), f'meta.{key}', *((MAX_STEPS,) if most is None else (most, why)))
        if meta.get('seed') is not None:
            self.count(meta['seed'], 'meta.seed', 2**32 - 1)
        for key, kind, expected in (
            (RUN_ID, str, 'a text'),
            ('dataset_meta', Mapping, 'a dict'),
            ('rng', Sequence, 'a list'),
            ('outdated', Sequence, 'a list'),
        ):
            if meta.get(key) is not None and (
                not isinstance(meta[key], kind) or (kind is Sequence and isinstance(meta[key], str))
            ):
                self.fail(f'meta.{key}', meta[key], expected)
        for i, name in enumerate(meta.get('outdated') or ()):
            if not isinstance(name, str):
                self.fail(f'meta.outdated[{i}]', name, 'a text')
        return meta

    def message_hub(self, value: object) -> None:
        """Check the log history and what hooks keep there.

        Raises:
            CheckpointError: Naming the field.
        """
        hub = self.mapping(value, 'message_hub')
        scalars, info, resumed = (
            self.mapping(hub.get(key), f'message_hub.{key}') for key in ('log_scalars', 'runtime_info', 'resumed_keys')
        )
        for key, buffer in scalars.items():
            self._history(buffer, f'message_hub.log_scalars[{key!r}]')
        for key, flag in resumed.items():
            if not isinstance(flag, bool):
                self.fail(f'message_hub.resumed_keys[{key!r}]', flag, 'true or false')
        for key, entry in info.items():
            field = f'message_hub.runtime_info[{key!r}]'
            if key.startswith('best_score') and not _is_number(entry):
                self.fail(field, entry, 'a number')
            if (key.startswith('best_ckpt') or key == 'last_ckpt') and not isinstance(entry, str | None):
                self.fail(field, entry, 'a text')
            if key in ('epoch', 'iter', 'max_epochs', 'max_iters', 'iter_validated'):
                self.count(entry, field)
            if key == 'keep_ckpt_ids':
                if not isinstance(entry, (list, tuple)):
                    self.fail(field, entry, 'a list')
                for i, step in enumerate(entry):
                    self.count(step, f'{field}[{i}]')

    def _history(self, buffer: object, field: str) -> None:
        if not isinstance(buffer, HistoryBuffer):
            self.fail(field, buffer, 'a HistoryBuffer')
        values, counts = (vars(buffer).get(key) for key in ('_log_history', '_count_history'))
        for part, name in ((values, 'values'), (counts, 'counts')):
            if not isinstance(part, np.ndarray) or part.ndim != 1 or part.dtype.kind not in 'biuf':
                self.fail(f'{name} of {field}', part, 'an array of numbers')
        if len(values) != len(counts):
            self.fail(f'the length of {field}', len(counts), f'{len(values)}, as many counts as values')
        self.count(vars(buffer).get('max_length'), f'max_length of {field}')

    def schedulers(self, value: object, own: Any, field: str = 'param_schedulers') -> None:
        """Compare the states of schedulers with the schedulers of the run.

        Args:
            value: The entry: a list, or a dict of lists where there are several optimizers.
            own: The schedulers.
            field: Its name for messages.

        Raises:
            CheckpointError: Naming the field.
        """
        if isinstance(own, Mapping):
            states = self.mapping(value, field)
            for name, part in own.items():
                self.schedulers(states.get(name), part, f'{field}.{name}')
            return
        if not isinstance(value, (list, tuple)):
            self.fail(field, value, 'a list')
        if len(value) != len(own):
            self.fail(f'the number of {field}', len(value), f'{len(own)} as in the config')
        for i, (state, scheduler) in enumerate(zip(value, own, strict=True)):
            state = self.mapping(state, f'{field}[{i}]')
            expected = scheduler.state_dict()
            for key in expected:
                self._alike(state, key, expected[key], f'{field}[{i}]')
            for key in ('last_step', '_global_step'):
                self.count(state[key], f'{field}[{i}].{key}')
            if len(state['_last_value']) != len(expected['_last_value']):
                self.fail(
                    f'the length of {field}[{i}]._last_value', len(state['_last_value']),
                    f'{len(expected["_last_value"])}, one for each group of parameters',
                )  # fmt: skip

    def optimizer(self, value: object, kind: type = int) -> tuple[Mapping, Sequence[Mapping]]:
        """Check the shape of an optimizer's state, and return ``state`` and ``param_groups``.

        Args:
            value: The entry.
            kind: What stands for a parameter: its number, or in sharded training its name.

        Raises:
            CheckpointError: Naming the field.
        """
        optimizer = self.mapping(value, 'optimizer')
        states, groups = optimizer.get('state'), optimizer.get('param_groups')
        if not isinstance(states, Mapping):
            self.fail('optimizer.state', states, 'a dict')
        if not isinstance(groups, (list, tuple)):
            self.fail('optimizer.param_groups', groups, 'a list')
        for i, group in enumerate(groups):
            indices = self.mapping(group, f'optimizer.param_groups[{i}]').get('params')
            if not isinstance(indices, (list, tuple)) or not all(isinstance(n, kind) for n in indices):
                expected = {int: 'whole numbers', str: 'names, as sharded training writes it'}[kind]
                self.fail(f'optimizer.param_groups[{i}].params', indices, f'a list of {expected}')
        for index, state in states.items():
            for key, entry in self.mapping(state, f'optimizer.state[{index!r}]').items():
                if not isinstance(entry, Tensor | int | float | None):
                    self.fail(f'optimizer.state[{index!r}].{key}', entry, 'a tensor or number')
        return states, groups

    def optimizer_settings(self, groups: Sequence[Mapping], own: Sequence[Mapping]) -> None:
        """Compare the settings in an optimizer's groups of parameters with those of the run's own optimizer.

        Raises:
            CheckpointError: Naming the field.
        """
        for i, (group, expected) in enumerate(zip(groups, own, strict=True)):
            for key in expected.keys() - {'params'}:
                if key in group or not key.startswith('initial_'):  # of a scheduler that the config may have added
                    self._alike(group, key, expected[key], f'optimizer.param_groups[{i}]')

    def _alike(self, state: Mapping, key: str, expected: object, where: str) -> None:
        """See that an entry is there, and of the kind that the run's own has."""
        field = f'{where}.{key}'
        if key not in state:
            self.fail(field, 'missing', 'there')
        value = state[key]
        if isinstance(expected, bool):
            if not isinstance(value, bool | None):
                self.fail(field, value, 'true or false')
        elif _is_number(expected):
            if not _is_number(value):
                self.fail(field, value, 'a finite number')
        elif isinstance(expected, (list, tuple)):
            if not isinstance(value, (list, tuple)):
                self.fail(field, value, 'a list')
            if all(map(_is_number, expected)) and (wrong := [v for v in value if not _is_number(v)]):
                self.fail(f'an entry of {field}', wrong[0], 'a finite number')
        elif isinstance(expected, str) and not isinstance(value, str):
            self.fail(field, value, 'a text')
        elif isinstance(expected, Mapping) and not isinstance(value, Mapping):
            self.fail(field, value, 'a dict')


def _is_number(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex() and math.isfinite(value.item())
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)
