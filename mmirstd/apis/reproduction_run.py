"""One run of a reproduction: training, testing under all protocols, and the record."""

import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS

from mmirstd.apis.complexity import model_complexity
from mmirstd.apis.measuring import machine
from mmirstd.apis.planned_run import ReproductionRun
from mmirstd.apis.reproduction_scores import (
    DECIMALS,
    ReproductionError,
    check_scorable,
    compact_results,
    curves_of,
    faults_of,
    protocol_results,
    score_predictions,
)
from mmirstd.apis.run_records import FORMAT, RecordError, read_json, write_record
from mmirstd.apis.testing import test
from mmirstd.apis.training import train
from mmirstd.checkpoints.convert import convert_checkpoint
from mmirstd.checkpoints.loading import load_checkpoint, meta_of, read_meta
from mmirstd.checkpoints.provenance import Provenance
from mmirstd.engine.provenance import provenance_of_dataset
from mmirstd.io.files import file_sha256, write_atomically
from mmirstd.io.tables import json_bytes
from mmirstd.io.validation_curve import VALIDATION_CURVE, read_validation_curve
from mmirstd.utils.data_root import check_data_root
from mmirstd.utils.processor_time import processor_seconds

COST_SIZE = 256
VALIDATED = ('IoU', 'nIoU', 'Pd', 'Fa')
PACKAGES = ('mmengine', 'mmcv', 'mmseg')


def perform_run(run: ReproductionRun, folder: Path, record: Path, resamples: int, workers: int) -> None:
    """Train if that is asked for, test, and write the record; what is done in ``folder`` already is not done again.

    Args:
        run: What is to be done.
        folder: For checkpoints, logs and predictions.
        record: The file to write.
        resamples: Of the images, for 95 % intervals; 0: none.
        workers: Processes that score predictions.

    Raises:
        ReproductionError: If the test cannot be scored, before anything is trained, or its saved predictions give
            another IoU than itself.
        UserError: What training and testing raise.
    """
    digest = run.digest()
    checkpoint = converted(run, folder)
    check_test(run)
    training = trained(run, folder / 'training', digest) if run.kind == 'trained' else None
    if training:
        checkpoint = Path(training['checkpoint'])
    cfg = run.test_config()
    predictions = folder / 'predictions'
    shutil.rmtree(predictions, ignore_errors=True)  # of a run that was ended in between
    with measured() as testing:
        metrics = test(cfg, checkpoint, work_dir=folder / 'test', out=predictions, out_format='npz').metrics
    dataset = test_dataset(cfg)
    scored = score_predictions(dataset, predictions, workers)
    results = protocol_results(scored, resamples)
    _check_equal(results[0].metrics['IoU'], metrics['IoU'], run)
    (split,) = provenance_of_dataset(dataset).trained_on
    costs = model_complexity(cfg, COST_SIZE).total
    weights = {'kind': run.kind, 'name': run.weights_name or None, 'trained_on': trained_on(run, checkpoint, training)}
    # A file that others published, or that was given, is known by itself, and not by what it was converted to.
    file = run.weights or checkpoint
    weights['sha256'] = file_sha256(file) if file else None
    write_record(
        record,
        {
            'format': FORMAT,
            'name': run.name,
            'model': run.model,
            'config': Path(run.config).stem,
            'config_sha256': digest,
            'options': {**run.weights_options, **run.options},
            'variant': run.variant,
            'dataset': split['dataset'],
            'split': {key: split[key] for key in ('name', 'num', 'sha256')},
            'weights': weights,
            'budget': run.budget,
            'command': run.command,
            'versions': versions(),
            'hardware': machine('cuda' if torch.cuda.is_available() else 'cpu'),
            'training': None if training is None else {k: v for k, v in training.items() if k != 'checkpoint'},
            'testing': testing,
            'costs': {'size': COST_SIZE, 'params': costs.params, 'macs': costs.macs if costs.params else None},
            'bootstrap': {'level': 0.95, 'resamples': resamples, 'seed': 0} if resamples else None,
            'protocols': compact_results(results),
            'curves': curves_of(scored),
            'faults': faults_of(scored.records),
        },
    )
    shutil.rmtree(predictions)


def check_test(run: ReproductionRun) -> None:
    """See, before time is spent on training, that the test can be made and scored.

    Raises:
        DataRootError: If the dataset is not there.
        ReproductionError: If its masks cannot be scored, or masks are made at another threshold than 0.5.
    """
    cfg = run.test_config()
    check_data_root(cfg, ['test'])
    heads = cfg.model.get('decode_head') or ()
    for head in [heads] if isinstance(heads, Mapping) else heads:
        if head.get('threshold', 0.5) != 0.5:
            raise ReproductionError(
                f'{run.name}: model.decode_head.threshold={head.threshold}: records are of the threshold 0.5'
            )
    check_scorable(test_dataset(cfg))


def test_dataset(cfg: Config) -> BaseDataset:
    """The dataset that is tested on."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(cfg.test_dataloader.dataset)


def trained(run: ReproductionRun, folder: Path, digest: str) -> dict[str, Any]:
    """Train, or go on with it; the result is plain data, also of a training that is done already."""
    done = folder / 'done.json'
    if done.is_file():
        with suppress(RecordError):  # it is written again from the training, which is at its end
            found = read_json(done)
            if found['config_sha256'] == digest and Path(found['checkpoint']).is_file():
                return found
    cfg = run.train_config()
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or ()), dict(type='mmirstd.ValidationCurveHook')]
    best = train(cfg, work_dir=folder, resume=True).best
    if best is None:
        raise ReproductionError(f'{run.name}: no checkpoint was chosen on the validation split; see {folder}')
    curve = read_validation_curve(folder / VALIDATION_CURVE)
    chosen = read_meta(best).get('iter')
    result = {
        'config_sha256': digest,
        'schedule': 'fast' if run.takes_fast_schedule else 'config',
        'checkpoint': str(best),
        'iterations': curve[-1]['iter'],
        'chosen_iteration': chosen,
        'seconds': curve[-1]['seconds'],
        'processor_seconds': curve[-1]['processor_seconds'],
        'validation': [
            {key: round(line[key], DECIMALS) for key in ('iter', 'seconds', 'processor_seconds', *VALIDATED)
             if line.get(key) is not None}
            for line in curve
        ],
    }  # fmt: skip
    write_atomically(done, json_bytes(result))
    return result


def converted(run: ReproductionRun, folder: Path) -> Path | None:
    """The checkpoint to test, converted to this project's keys where it is published with others."""
    if run.weights is None or run.source is None:
        return None if run.weights is None else Path(run.weights)
    path = folder / 'converted.pth'
    convert_checkpoint(run.source, run.weights, path, overwrite=True)
    return path


def trained_on(run: ReproductionRun, checkpoint: Path | None, training: dict | None) -> list[dict[str, Any]]:
    """Dataset and, where it is known, split of what the weights were trained on."""
    if checkpoint is None:
        return []
    meta = read_meta(checkpoint) if training else meta_of(load_checkpoint(checkpoint))
    found = Provenance.of(meta, str(checkpoint))
    if found.unknown_splits:
        return [{'dataset': name} for name in run.trained_on]
    return [{key: split[key] for key in ('dataset', 'name', 'num', 'sha256')} for split in found.trained_on]


def versions() -> dict[str, str]:
    """Of what decides the numbers."""
    from mmirstd.evaluation.analysis.reports import versions as of_metrics

    found = of_metrics() | {'python': platform.python_version(), 'torch': torch.__version__}
    for package in PACKAGES:
        for distribution in (f'onedl-{package.replace("mmseg", "mmsegmentation")}', package):
            try:
                found[distribution] = version(distribution)
                break
            except PackageNotFoundError:
                continue
    return found


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Put the time and the processor time of the block into the dict that it gets."""
    found: dict[str, float] = {}
    start, of_processor = time.monotonic(), processor_seconds()
    yield found
    found['seconds'] = round(time.monotonic() - start, 1)
    found['processor_seconds'] = round(processor_seconds() - of_processor, 1)


def _check_equal(scored: float, tested: float, run: ReproductionRun) -> None:
    if not np.isclose(scored, tested, rtol=0, atol=1e-6, equal_nan=True):
        raise ReproductionError(
            f'{run.name}: the test gives IoU {tested:.6f} and its saved predictions {scored:.6f}; a threshold other '
            'than 0.5 is not reproduced'
        )
