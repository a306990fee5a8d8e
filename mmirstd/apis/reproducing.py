"""Reproduction of results: runs one by one, each in a process of its own, and the pages made from their records."""

import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Literal, NamedTuple

from mmirstd.apis.configuration import CfgOptions
from mmirstd.apis.planned_run import ReproductionRun
from mmirstd.apis.reproduction_plan import plan_runs
from mmirstd.apis.run_records import RecordError, RecordFormatError, read_record
from mmirstd.apis.running import say
from mmirstd.io.files import refuse_no_folder, write_atomically
from mmirstd.io.tables import json_bytes
from mmirstd.utils.errors import ArgumentError, describe
from mmirstd.utils.interrupts import handled_signals, interruption_message, wait_for_training
from mmirstd.utils.locks import folder_lock

RECORDS = 'records'
OUTPUT = 'output.log'
_FAILURE = 'failure.txt'


class RunOutcome(NamedTuple):
    """What became of one run: its record, or why there is none."""

    name: str
    state: Literal['done', 'skipped', 'failed']
    record: Path
    error: str = ''


def reproduce(
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    *,
    budget: str | None = None,
    weights: str | Path | None = None,
    out: str | Path = 'work_dirs/reproduce',
    records: str | Path | None = None,
    data_root: str | Path | None = None,
    cfg_options: CfgOptions | None = None,
    amp: bool = False,
    resamples: int = 1000,
    workers: int = 1,
) -> list[RunOutcome]:
    """Train and test models on datasets, and keep a record of each run.

    Every model is trained on every dataset, the checkpoint that was best on the validation split is tested under all
    protocols, and one JSON file says what was done and found. A run whose record is there, for the same config and
    weights, is skipped; a record of another config stays beside the new one. A run that was ended goes on where its
    last checkpoint stands. One that fails leaves the others alone.

    Args:
        models: Names of configs, with or without the dataset. With weights, none means all.
        datasets: Endings of configs: ``'nuaa'``, ``'nudt'``, ``'irstd1k'``, ....
        budget: ``'gpu'`` trains as each config says; ``'cpu'`` gives configs of more than 8,000 iterations the fast
            schedule.
        weights: Test these and train nothing: ``'packaged'``, a file, or a folder of files that others published,
            known by their names and converted as ``mmirstd convert`` does.
        out: Folder of checkpoints and logs.
        records: Folder of the records; by default ``records`` in ``out``.
        data_root: Folder that holds the datasets under their names; by default what the configs say.
        cfg_options: Changes of all configs: dotted keys and values, or ``'KEY=VALUE'`` texts.
        amp: Mixed precision in training; bfloat16 on a CPU.
        resamples: Of the images, for 95 % intervals; 0: none.
        workers: Processes that score predictions; 0: none but the run's own.

    Returns:
        What became of each run.

    Raises:
        ArgumentError: If the options do not go together, before anything begins.
        ConfigNotFoundError: If there is no such config or dataset, likewise.
        Interrupted: On Ctrl-C or SIGTERM, after the training under way has written a checkpoint.
    """
    runs = plan_runs(
        models, datasets, budget=budget, weights=weights, amp=amp, data_root=data_root, cfg_options=cfg_options
    )
    if min(resamples, workers) < 0:
        raise ArgumentError(f'--resamples {resamples} and --workers {workers} must be at least 0')
    out = Path(out)
    records = Path(records) if records is not None else out / RECORDS
    for folder in (out, records):
        refuse_no_folder(folder)
    outcomes = []
    for i, run in enumerate(runs, 1):
        say(f'[{i}/{len(runs)}] {run.name}')
        with interruption_message('the same command continues, finished runs and checkpoints are kept'):
            outcomes.append(outcome := attempt(run, out, records, resamples, workers))
        say(f'[{i}/{len(runs)}] {run.name}: {outcome.state}{f": {outcome.error}" if outcome.error else ""}')
    return outcomes


def attempt(run: ReproductionRun, out: Path, records: Path, resamples: int, workers: int) -> RunOutcome:
    """Perform a run in a process of its own, unless its record is there, or another process is at it."""
    record = records / f'{run.name}.json'
    try:
        digest = run.digest()
        if is_done(record, digest):
            return RunOutcome(run.name, 'skipped', record)
        # Another config has another folder: its checkpoints are not those to go on from.
        folder = out / f'{run.name}_{digest[:8]}'
        with folder_lock(folder):
            return _performed(run, folder, record, resamples, workers)
    except Exception as error:
        return RunOutcome(run.name, 'failed', record, describe(error))


def _performed(run: ReproductionRun, folder: Path, record: Path, resamples: int, workers: int) -> RunOutcome:
    write_atomically(folder / 'run.json', json_bytes(run.as_dict()))
    failure = folder / _FAILURE
    failure.unlink(missing_ok=True)
    process = _context().Process(target=_in_process, args=(run, folder, record, resamples, workers))
    process.start()
    wait_for_training(process.join, process.terminate)
    if process.exitcode == 0 and record.is_file():
        return RunOutcome(run.name, 'done', record)
    reason = failure.read_text() if failure.is_file() else f'its process ended with status {process.exitcode}'
    return RunOutcome(run.name, 'failed', record, f'{reason} (see {folder / OUTPUT})')


def is_done(record: Path, digest: str) -> bool:
    """Whether a record is complete, and of this config and these weights.

    Raises:
        RecordFormatError: If another version of mmirstd has written it; it is not to be replaced.
    """
    try:
        return read_record(record)['config_sha256'] == digest
    except RecordFormatError:
        raise
    except (FileNotFoundError, RecordError):
        return False


def _context() -> BaseContext:
    """Processes that begin as new, with what a run imports imported once for all."""
    if 'forkserver' not in get_all_start_methods():
        return get_context('spawn')
    context = get_context('forkserver')
    context.set_forkserver_preload(['mmirstd.apis.reproduction_run'])
    return context


def _in_process(run: ReproductionRun, folder: Path, record: Path, resamples: int, workers: int) -> None:
    """Perform a run whose output goes to a file."""
    with open(folder / OUTPUT, 'a', encoding='utf-8') as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    from mmirstd.apis.reproduction_run import perform_run

    if hasattr(signal, 'pthread_sigmask'):  # Ctrl-C in a terminal reaches all processes: the parent passes it on
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with handled_signals():
        try:
            perform_run(run, folder, record, resamples, workers)
        except KeyboardInterrupt as error:
            sys.exit(128 + getattr(error, 'number', 2))
        except Exception as error:
            write_atomically(folder / _FAILURE, describe(error))
            raise
