"""Which recipe trains a network best in equal time: variants of a config, each with several seeds."""

import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmirstd.apis.configuration import OptionError
from mmirstd.apis.recipe_training import (
    METRICS,
    AblationError,
    limited_threads,
    read_json,
    train_variant,
    training_digest,
)
from mmirstd.apis.recipe_variants import read_variants, seeded_config, variant_config
from mmirstd.apis.running import running, say
from mmirstd.apis.scheduling import set_iterations
from mmirstd.datasets.wrapped import leaves
from mmirstd.engine.value_checks import check_values
from mmirstd.io.files import refuse_no_folder, write_atomically
from mmirstd.io.tables import json_bytes, markdown_rows
from mmirstd.utils.errors import describe
from mmirstd.utils.interrupts import interruption_message
from mmirstd.utils.locks import folder_lock
from mmirstd.utils.text import as_list, did_you_mean

TIMED_STEPS, FIRST_STEPS = 12, 3  # measured, and not counted before
# Of a larger set, most samples are loaded for the first time in a training, too.
MOST_CACHED = 2000


class VariantResult(NamedTuple):
    """A variant after its trainings.

    Attributes:
        name: Of the variant.
        seconds: Of the processor, for a step of training.
        iterations: That fit into the time.
        minutes: Of the processor that the trainings took on average, with validation and start.
        metrics: On the validation split at the end of the schedule, for each seed.
        test_metrics: The same on the test split, if asked for.
    """

    name: str
    seconds: float
    iterations: int
    minutes: float
    metrics: dict[int, dict[str, float]]
    test_metrics: dict[int, dict[str, float]] | None = None

    @property
    def iou(self) -> float:
        """Mean over the seeds."""
        return means(self.metrics, METRICS[:1])['IoU']

    def row(self, reference: 'VariantResult') -> dict[str, Any]:
        """A row of the table, with the change from another variant."""
        found = [metrics['IoU'] for metrics in self.metrics.values()]
        averages = means(self.metrics, METRICS)
        mean = averages.pop('IoU')
        row = {
            'variant': self.name,
            'iterations': self.iterations,
            's/step': f'{self.seconds:.3f}',
            'CPU min': f'{self.minutes:.1f}',
            'IoU by seed': by_seed(self.metrics),
            'mean': f'{mean:.4f}',
            'spread': f'{statistics.stdev(found):.4f}' if len(found) > 1 else None,
            f'change from {reference.name}': f'{mean - reference.iou:+.4f}',
            **averages,
        }
        if self.test_metrics:
            tested = {f'test {name}': value for name, value in means(self.test_metrics, METRICS).items()}
            row |= {'test IoU by seed': by_seed(self.test_metrics), **tested}
        return row


def by_seed(metrics: Mapping[int, Mapping[str, float]]) -> str:
    """IoU of each seed, as one text."""
    return ', '.join(f'{m["IoU"]:.3f}' for m in metrics.values())


def means(metrics: Mapping[int, Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    """Metrics averaged over the seeds."""
    return {name: statistics.fmean(m[name] for m in metrics.values()) for name in names}


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
    test_too: bool = False,
) -> list[VariantResult]:
    """Train each variant of a config for equal CPU time, and compare IoU on the validation split.

    A step of each variant is measured, loading included. Its iterations are what fits into the time, and the phases of
    its schedule keep their shares of them. Each training is a process of its own. What is done is not done again, and
    an interrupted training is resumed; a variant that was changed is trained anew. Steps of all variants are measured
    before the first training, so that mistakes come first. The table shows the CPU time that was used, since other work
    on the machine raises it.

    Args:
        variants: A config with one more variable, ``variants``: a dict of names and changes, each merged into the
            config as that of a config into its base. The first that is trained is what the others are compared with;
            the table names it.
        minutes: Of the processor for each training, without validation.
        seeds: Each variant is trained once with each.
        only: Names of the variants to train and show; by default all.
        work_dir: Where to write; by default ``work_dirs/NAME-MINUTESmin``. ``ablation.md`` and ``ablation.json`` hold
            the table.
        data_root: Folder of the dataset; by default what the config says.
        amp: Mixed precision; bfloat16 on a CPU.
        threads: Of each training.
        test_too: Whether the model at the end of each training is also tested on the test split. That is for a report
            of what was chosen before, not to choose by it.

    Raises:
        OptionError: If there are no variants, or none of a name in ``only``, or one changes what no config has.
        ConfigValueError: If a variant has a value, or ``seeds`` a seed, that cannot be.
        AblationError: If a variant cannot be built, or its training fails; the log is named.
        FolderInUseError: If another process trains one of the variants in ``work_dir``.
        Interrupted: On Ctrl-C or SIGTERM, after the training under way has written a checkpoint.
    """
    base, changes = read_variants(variants)
    chosen = as_list(only) or list(changes)
    if unknown := [name for name in chosen if name not in changes]:
        raise OptionError(f'there is no variant {unknown[0]}{did_you_mean(unknown[0], changes, 3)}')
    names = [name for name in changes if name in chosen]
    if not (minutes > 0 and math.isfinite(minutes)) or threads < 1 or not seeds:
        raise OptionError(f'minutes={minutes} must be positive and finite, threads={threads} at least 1, seeds given')
    stem = Path(base.filename or 'ablation').stem
    folder, seeds = Path(work_dir or Path('work_dirs', f'{stem}-{minutes:g}min')), list(dict.fromkeys(seeds))
    refuse_no_folder(folder)
    configs = {name: variant_config(base, name, changes[name], data_root, amp, test_too) for name in names}
    for cfg in configs.values():
        for seed in seeds:
            check_values(seeded_config(cfg, seed))
    results: list[VariantResult] = []
    kept = 'the same command continues, finished trainings and checkpoints are kept'
    with folder_lock(*(folder / name for name in names)), interruption_message(kept):
        steps = {name: measured_step(cfg, folder / name, threads) for name, cfg in configs.items()}
        for name, cfg in configs.items():
            seconds, iterations = steps[name], max(round(60 * minutes / steps[name]), 1)
            say(f'{name}: {seconds:.3f} s of CPU time per step, {iterations} iterations')
            done = {seed: train_variant(cfg, folder / name, seed, iterations, threads, test_too) for seed in seeds}
            used = statistics.fmean(run['cpu_minutes'] for run in done.values())
            metrics = {seed: run['metrics'] for seed, run in done.items()}
            tested = {seed: run['test_metrics'] for seed, run in done.items()} if test_too else None
            results.append(VariantResult(name, seconds, iterations, used, metrics, tested))
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
    path, digest = folder / 'step.json', training_digest(cfg, threads)
    if (known := read_json(path)) and known['config'] == digest:
        return known['seconds']
    short = Config(cfg._cfg_dict.to_dict(), filename=cfg.filename)
    set_iterations(short, TIMED_STEPS + FIRST_STEPS, 1, 'an ablation')
    short.val_cfg = short.val_dataloader = short.val_evaluator = None
    short.test_cfg = short.test_dataloader = short.test_evaluator = None
    short.log_level = 'WARNING'
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


def table_rows(results: Sequence[VariantResult]) -> list[dict[str, Any]]:
    """Rows of the table: the first variant first, the others by their mean IoU."""
    first, *others = (result.row(results[0]) for result in results)
    return [first, *sorted(others, key=lambda row: -float(row['mean']))]


def write_results(folder: Path, results: Sequence[VariantResult], minutes: float) -> None:
    """Write the table as far as it goes, as Markdown and as JSON."""
    heading = f'{minutes:g} minutes of CPU time for each training. Metrics are those on the validation split'
    heading += ', and on the test split where the column says so.' if results[0].test_metrics else '.'
    write_atomically(folder / 'ablation.md', f'{heading}\n\n{markdown_rows(table_rows(results))}\n')
    write_atomically(folder / 'ablation.json', json_bytes([result._asdict() for result in results]))
