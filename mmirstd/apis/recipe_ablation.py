"""Which recipe trains a network best in equal time: variants of a config, each with several seeds."""

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmirstd.apis.configuration import OptionError
from mmirstd.apis.recipe_variants import read_variants, seeded_config, variant_config
from mmirstd.apis.running import running, say
from mmirstd.apis.scheduling import set_iterations
from mmirstd.datasets.wrapped import leaves
from mmirstd.engine.value_checks import check_values
from mmirstd.io.files import refuse_no_folder, write_atomically
from mmirstd.io.tables import json_bytes, markdown_rows
from mmirstd.utils.errors import UserError, describe
from mmirstd.utils.locks import folder_lock
from mmirstd.utils.processor_time import processor_seconds
from mmirstd.utils.text import as_list, did_you_mean

TIMED_STEPS, FIRST_STEPS = 12, 3  # measured, and not counted before
METRICS = ('IoU', 'nIoU', 'Pd', 'Fa')
# Of a larger set, most samples are loaded for the first time in a training, too.
MOST_CACHED = 2000


class AblationError(UserError, RuntimeError):
    """A training of an ablation failed, or its files are not those of an ablation."""


class VariantResult(NamedTuple):
    """A variant after its trainings.

    Attributes:
        name: Of the variant.
        seconds: Of the processor, for a step of training.
        iterations: That fit into the time.
        minutes: Of the processor that the trainings took on average, with validation and start.
        metrics: On the validation split at the end of the schedule, for each seed.
    """

    name: str
    seconds: float
    iterations: int
    minutes: float
    metrics: dict[int, dict[str, float]]

    def row(self, reference: float) -> dict[str, Any]:
        """A row of the table; ``reference`` is the mean IoU of the first variant."""
        found = [metrics['IoU'] for metrics in self.metrics.values()]
        mean = statistics.fmean(found)
        return {
            'variant': self.name,
            'iterations': self.iterations,
            's/step': f'{self.seconds:.3f}',
            'CPU min': f'{self.minutes:.1f}',
            'IoU by seed': ', '.join(f'{iou:.3f}' for iou in found),
            'mean': f'{mean:.4f}',
            'spread': f'{statistics.stdev(found):.4f}' if len(found) > 1 else None,
            'change': f'{mean - reference:+.4f}',
            **{name: statistics.fmean(m[name] for m in self.metrics.values()) for name in METRICS[1:]},
        }


def ablate_recipes(
    variants: str | Path | Config,
    *,
    minutes: float,
    seeds: Sequence[int] = (0, 1),
    only: Sequence[str] = (),
    work_dir: str | Path | None = None,
    data_root: str | Path | None = None,
    amp: bool = False,
    threads: int = 1,
) -> list[VariantResult]:
    """Train each variant of a config for equal time of the processor, and compare IoU on the validation split.

    A step of each variant is measured, loading included. Its iterations are what fits into the time, and the phases of
    its schedule keep their shares of them. Each training is a process of its own. What is done is not done again, and
    an interrupted training is resumed; a variant that was changed is trained anew. Steps of all variants are measured
    before the first training, so that mistakes come first. Other work on the machine changes
    the time of the processor little: the table shows what was used.

    Args:
        variants: A config with one more variable, ``variants``: a dict of names and changes, each merged into the
            config as that of a config into its base. The first is what the others are compared with.
        minutes: Of the processor for each training, without validation.
        seeds: Each variant is trained once with each.
        only: Names of the variants to train and show; by default all.
        work_dir: Where to write; by default ``work_dirs/NAME-MINUTESmin``. ``ablation.md`` and ``ablation.json`` hold
            the table.
        data_root: Folder of the dataset; by default what the config says.
        amp: Mixed precision; bfloat16 on a CPU.
        threads: Of each training.

    Raises:
        OptionError: If there are no variants, or none of a name in ``only``, or one changes what no config has.
        ConfigValueError: If a variant has a value, or ``seeds`` a seed, that cannot be.
        AblationError: If a variant cannot be built, or its training fails; the log is named.
        FolderInUseError: If another process trains one of the variants in ``work_dir``.
    """
    base, changes = read_variants(variants)
    names = list(dict.fromkeys(as_list(only))) or list(changes)
    if unknown := [name for name in names if name not in changes]:
        raise OptionError(f'there is no variant {unknown[0]}{did_you_mean(unknown[0], changes, 3)}')
    if not (minutes > 0 and math.isfinite(minutes)) or threads < 1 or not seeds:
        raise OptionError(f'minutes={minutes} must be positive and finite, threads={threads} at least 1, seeds given')
    stem = Path(base.filename or 'ablation').stem
    folder, seeds = Path(work_dir or Path('work_dirs', f'{stem}-{minutes:g}min')), list(dict.fromkeys(seeds))
    refuse_no_folder(folder)
    configs = {name: variant_config(base, name, changes[name], data_root, amp) for name in names}
    for cfg in configs.values():
        for seed in seeds:
            check_values(seeded_config(cfg, seed))
    results: list[VariantResult] = []
    with folder_lock(*(folder / name for name in names)):
        steps = {name: measured_step(cfg, folder / name, threads) for name, cfg in configs.items()}
        for name, cfg in configs.items():
            seconds, iterations = steps[name], max(round(60 * minutes / steps[name]), 1)
            say(f'{name}: {seconds:.3f} s of the processor a step, {iterations} iterations')
            done = {seed: train_variant(cfg, folder / name, seed, iterations, threads) for seed in seeds}
            used = statistics.fmean(run['cpu_minutes'] for run in done.values())
            metrics = {seed: run['metrics'] for seed, run in done.items()}
            results.append(VariantResult(name, seconds, iterations, used, metrics))
            write_results(folder, results, minutes)
    return results


class _StepTimer(Hook):
    """Measures the processor time from the end of one training step to the end of the next."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.ends: list[float] = []

    def before_train(self, runner: Runner) -> None:
        """Fill the caches of samples, as they are after the first epoch, unless a set is large."""
        for part in leaves(runner.train_loop.dataloader.dataset):
            if getattr(part, 'sample_cache', None) is not None and len(part) <= MOST_CACHED:
                for index in range(len(part)):
                    part.prepare_data(index)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Take the time."""
        self.ends.append(time.process_time())


def measured_step(cfg: Config, folder: Path, threads: int) -> float:
    """Seconds of processor time of a training step; what was measured before for this config is read.

    Raises:
        AblationError: If no training can be built from the config; the variant is named.
    """
    path, digest = folder / 'step.json', config_digest(cfg, threads)
    if (known := read_json(path)) and known['config'] == digest:
        return known['seconds']
    short = Config(cfg._cfg_dict.to_dict(), filename=cfg.filename)
    set_iterations(short, TIMED_STEPS + FIRST_STEPS, 1, 'an ablation')
    short.val_cfg = short.val_dataloader = short.val_evaluator = None
    short.test_cfg = short.test_dataloader = short.test_evaluator = None
    short.default_hooks.checkpoint = dict(type='CheckpointHook', interval=10**9, save_last=False, by_epoch=False)
    timer = _StepTimer()
    try:
        with tempfile.TemporaryDirectory() as short.work_dir, limited_threads(threads), running(short) as runner:
            runner.register_hook(timer)
            runner.train()
    except Exception as error:
        raise AblationError(f'{cfg.filename}: variant {folder.name}: {describe(error)}') from error
    steps = sorted(b - a for a, b in zip(timer.ends[FIRST_STEPS - 1 :], timer.ends[FIRST_STEPS:], strict=False))
    seconds = statistics.median(steps)
    write_atomically(path, json_bytes({'config': digest, 'seconds': seconds, 'steps': steps}))
    return seconds


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Let PyTorch compute with so many threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_variant(cfg: Config, folder: Path, seed: int, iterations: int, threads: int) -> dict[str, Any]:
    """Train with a seed in a process of its own, or read what an earlier call found.

    Returns:
        ``metrics`` on the validation split at the end, and ``cpu_minutes``.

    Raises:
        AblationError: If the process fails, or its log has no metrics at the end.
    """
    run, cfg = folder / f'seed{seed}', seeded_config(cfg, seed)
    set_iterations(cfg, iterations, 1, 'an ablation')
    cfg.default_hooks.checkpoint.interval = max(iterations // 4, 1)  # to resume from
    digest = config_digest(cfg, threads)
    state = read_json(run / 'run.json') or {}
    if state.get('config') != digest:
        if not state and run.is_dir() and any(run.iterdir()):
            raise AblationError(f'{run} has no run.json: its files are of no ablation, and are not replaced')
        if state:
            say(f'{run}: of another config or time: trained anew')
            shutil.rmtree(run)
        state = {'config': digest, 'cpu_minutes': 0.0}
        write_atomically(run / 'run.json', json_bytes(state))
    if 'metrics' in state:
        return state
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
    return state


def run_training(run: Path, output: Path, threads: int) -> int:
    """Train by the config in a folder, or resume; returns the status of the process."""
    command = [sys.executable, '-m', 'mmirstd', 'train', str(run / 'config.py'), '--work-dir', str(run), '--resume']
    with output.open('ab') as file:
        return run_process(command, file, {'OMP_NUM_THREADS': str(threads), 'MKL_NUM_THREADS': str(threads)})


def run_process(command: Sequence[str], output: IO[bytes], environment: Mapping[str, str]) -> int:
    """Run a command to its end; one that is interrupted here has the time to write its checkpoint."""
    process = subprocess.Popen(
        command,
        stdout=output,
        stderr=output,
        env=os.environ | dict(environment),
        start_new_session=True,  # Ctrl-C in a terminal would reach it, too, and a second signal ends it at once
    )
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


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


def config_digest(cfg: Config, threads: int) -> str:
    """Changes with anything that a training depends on."""
    content = {key: value for key, value in cfg._cfg_dict.to_dict().items() if key != 'work_dir'}
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


def table_rows(results: Sequence[VariantResult]) -> list[dict[str, Any]]:
    """Rows of the table: the first variant first, the others by their mean IoU."""
    reference = statistics.fmean(m['IoU'] for m in results[0].metrics.values())
    first, *others = (result.row(reference) for result in results)
    return [first, *sorted(others, key=lambda row: -float(row['mean']))]


def write_results(folder: Path, results: Sequence[VariantResult], minutes: float) -> None:
    """Write the table as far as it goes, as Markdown and as JSON."""
    heading = f'{minutes:g} minutes of the processor for each training. Metrics are those on the validation split.'
    write_atomically(folder / 'ablation.md', f'{heading}\n\n{markdown_rows(table_rows(results))}\n')
    write_atomically(folder / 'ablation.json', json_bytes([result._asdict() for result in results]))
