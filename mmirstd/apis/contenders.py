"""The models of a benchmark: a config, its weights, and the form it runs in."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmirstd.utils.errors import ArgumentError

PRECISIONS = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
FORMS = ('deploy', 'channels-last', 'compile', 'onnx', 'int8', *PRECISIONS)
SWITCHES = FORMS[: -len(PRECISIONS)]


@dataclass(frozen=True)
class Contender:
    """A model and the form it runs in."""

    name: str
    config: str
    checkpoint: str | None = None
    deploy: bool = False
    channels_last: bool = False
    compile: bool = False
    onnx: bool = False
    int8: bool = False
    precision: str = 'fp32'

    @property
    def form(self) -> str:
        """In words."""
        chosen = [f for f in SWITCHES if getattr(self, f.replace('-', '_'))]
        return ', '.join(chosen + [self.precision] * (self.precision != 'fp32')) or 'as trained'


def contenders(configs: Sequence[str], checkpoints: Sequence[str], flags: dict[str, Any]) -> list[Contender]:
    """Make names and forms of what is to be measured; a config may come several times.

    Raises:
        ArgumentError: For an unknown form, two precisions, or another number of checkpoints.
    """
    if checkpoints and len(checkpoints) != len(configs):
        raise ArgumentError(f'{len(checkpoints)} --checkpoints for {len(configs)} configs')
    found, seen = [], Counter()
    for given, checkpoint in zip(configs, checkpoints or ['-'] * len(configs), strict=True):
        config, at, suffix = (given, '', '') if os.path.isfile(given) else given.rpartition('@')
        config, forms = (config, suffix.split('+')) if at else (given, [])
        if wrong := [form for form in forms if form not in FORMS]:
            raise ArgumentError(f'{given}: there is no form {wrong[0]!r}; forms are {", ".join(FORMS)}')
        own = [form for form in forms if form in PRECISIONS]
        if len(own) > 1:
            raise ArgumentError(f'{given}: one precision, not {" and ".join(own)}')
        name = Path(config).stem + (at and f'@{suffix}')
        seen[name] += 1
        name = name if seen[name] == 1 else f'{name}#{seen[name]}'
        form = {form.replace('-', '_'): True for form in forms if form not in PRECISIONS}
        form |= {'precision': own[0]} if own else {}
        chosen = flags | form
        if form.get('onnx') or form.get('int8'):
            # What a flag asks of all models, onnxruntime decides itself.
            chosen |= {'deploy': True} | {key: False for key in ('channels_last', 'compile') if key not in form}
        contender = Contender(name, config, None if checkpoint == '-' else checkpoint, **chosen)
        _check_form(contender, given)
        found.append(contender)
    return found


def _check_form(contender: Contender, given: str) -> None:
    """onnxruntime has a form of its own."""
    if contender.int8 and not contender.onnx:
        raise ArgumentError(f'{given}: int8 is quantized by onnxruntime: write onnx+int8')
    if not contender.onnx:
        return
    others = [form for form in ('channels-last', 'compile') if getattr(contender, form.replace('-', '_'))]
    others += [contender.precision] * (contender.precision != 'fp32')
    if others:
        raise ArgumentError(f'{given}: onnx goes with deploy and int8 alone, not with {others[0]}')


def find_reference(asked: str, models: Sequence[Contender], configs: Sequence[str]) -> int:
    """Place of the reference, which is given by its place, its name, or the config as on the command line.

    Raises:
        ArgumentError: If there is none.
    """
    known = list(map(str, range(len(models)))), [m.name for m in models], list(configs)
    for names in known:
        if asked in names:
            return names.index(asked)
    raise ArgumentError(
        f'--reference {asked}: give a place from 0 to {len(models) - 1}, or one of {", ".join(known[1])}'
    )
