"""One training of an ablation, in a process of its own, and what it left."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import torch
from mmengine.config import Config

from mmirstd.apis.configuration import CONFIG_KEYS
from mmirstd.apis.recipe_variants import seeded_config
from mmirstd.apis.running import say
from mmirstd.apis.scheduling import set_iterations
from mmirstd.apis.testing import test
from mmirstd.io.files import write_atomically
from mmirstd.io.tables import json_bytes
from mmirstd.utils.errors import UserError
from mmirstd.utils.interrupts import wait_for_training
from mmirstd.utils.processor_time import processor_seconds

METRICS = ('IoU', 'nIoU', 'Pd', 'Fa')


class AblationError(UserError, RuntimeError):
    """A training of an ablation failed, or its files are not those of an ablation."""


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let PyTorch compute with so many threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_variant(
    cfg: Config, folder: Path, seed: int, iterations: int, threads: int, test_too: bool = False
) -> dict[str, Any]:
    """Train with a seed in a process of its own, or read what an earlier call found.

    Returns:
        ``metrics`` on the validation split at the end, ``cpu_minutes``, and ``test_metrics`` if ``test_too``.

    Raises:
        AblationError: If the process fails, or its log has no metrics at the end.
    """
    run, cfg = folder / f'seed{seed}', seeded_config(cfg, seed)
    set_iterations(cfg, iterations, 1, 'an ablation')
    cfg.default_hooks.checkpoint.interval = max(iterations // 4, 1)  # to resume from
    digest = training_digest(cfg, threads)
    state = read_json(run / 'run.json') or {}
    if state.get('config') != digest:
        if not state and run.is_dir() and any(run.iterdir()):
            raise AblationError(f'{run} has no run.json: its files are of no ablation, and are not replaced')
        if state:
            say(f'{run}: of another config or time: trained anew')
            shutil.rmtree(run)
        state = {'config': digest, 'cpu_minutes': 0.0}
        write_atomically(run / 'run.json', json_bytes(state))
    if 'metrics' not in state:
        finish_training(cfg, run, state, iterations, threads)
    if test_too and 'test_metrics' not in state:
        with limited_threads(threads):
            state['test_metrics'] = metrics_on_test_split(cfg, run, iterations)
        write_atomically(run / 'run.json', json_bytes(state))
    return state


def finish_training(cfg: Config, run: Path, state: dict[str, Any], iterations: int, threads: int) -> None:
    """Train to the end, and add metrics and time to the state of the run."""
    cfg.dump(str(run / 'config.py'))
    begin = processor_seconds()
    output = run / 'output.txt'
    try:
        code = run_training(run, output, threads)
        if code == 0 and (metrics := final_metrics(run, iterations)):
            state['metrics'] = metrics
    finally:
        state['cpu_minutes'] += (processor_seconds() - begin) / 60
        write_atomically(run / 'run.json', json_bytes(state))
    if 'metrics' not in state:
        raise AblationError(f'the training in {run} ended with status {code} and no metrics: see {output}')


def metrics_on_test_split(cfg: Config, run: Path, iterations: int) -> dict[str, float]:
    """Metrics on the test split of the model at the end of a training."""
    cfg = Config(cfg._cfg_dict.to_dict(), filename=cfg.filename)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.log_level = 'WARNING'
    found = test(cfg, run / f'iter_{iterations}.pth', work_dir=run / 'test').metrics
    return {name: found[name] for name in METRICS if name in found}


def run_training(run: Path, output: Path, threads: int) -> int:
    """Train by the config in a folder, or resume; returns the status of the process."""
    command = [sys.executable, '-m', 'mmirstd', 'train', str(run / 'config.py'), '--work-dir', str(run), '--resume']
    with output.open('ab') as file:
        return run_process(command, file, {'OMP_NUM_THREADS': str(threads), 'MKL_NUM_THREADS': str(threads)})


def run_process(command: Sequence[str], output: IO[bytes], environment: Mapping[str, str]) -> int:
    """Run a training to its end, and return its status; on a signal it has the time to write a checkpoint."""
    process = subprocess.Popen(
        command,
        stdout=output,
        stderr=output,
        env=os.environ | dict(environment),
        start_new_session=True,  # Ctrl-C in a terminal would reach it, too, as a second signal
    )
    return wait_for_training(process.wait, process.terminate)


def final_metrics(run: Path, iterations: int) -> dict[str, float] | None:
    """Metrics of the validation at the end of training, from what the logger wrote; None if it did not get there."""
    for path in sorted(run.glob('*/vis_data/scalars.json'), reverse=True):
        for line in reversed(path.read_text(encoding='utf-8').splitlines()):
            try:
                values = json.loads(line)
            except ValueError:  # the last line of a run that was killed
                continue
            if values.get('step') == iterations and METRICS[0] in values:
                return {name: values[name] for name in METRICS if name in values}
    return None


def training_digest(cfg: Config, threads: int) -> str:
    """Changes with anything that a training depends on; variables of the file are not read by it."""
    content = {key: cfg.get(key) for key in CONFIG_KEYS - {'work_dir'}}
    return sha256(json.dumps([content, threads], sort_keys=True, default=repr).encode()).hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any] | None:
    """Content of a file of an ablation; None where there is none.

    Raises:
        AblationError: If it is damaged.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(content, dict) or 'config' not in content:
            raise ValueError('it has no config')
    except ValueError as error:
        raise AblationError(f'{path} is damaged ({error}): delete the folder {path.parent}') from None
    return content
