"""One run of a reproduction: training, testing under all protocols, and the record."""

import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS

from mmirstd.apis.complexity import model_complexity
from mmirstd.apis.evaluate import curve_thresholds
from mmirstd.apis.measuring import machine
from mmirstd.apis.reproduction_plan import ReproductionRun
from mmirstd.apis.run_records import FORMAT, RecordError, read_json, write_record
from mmirstd.apis.testing import test
from mmirstd.apis.training import train
from mmirstd.checkpoints.convert import convert_checkpoint
from mmirstd.checkpoints.loading import load_checkpoint, meta_of, read_meta
from mmirstd.checkpoints.provenance import Provenance
from mmirstd.engine.provenance import provenance_of_dataset
from mmirstd.evaluation.analysis.breakdowns import ImageRecord
from mmirstd.evaluation.analysis.pairing import FilePair
from mmirstd.evaluation.analysis.results import ProtocolResult, plain_results
from mmirstd.evaluation.analysis.scoring import PairReader, ScoredSet, score_pairs
from mmirstd.evaluation.functional.counts import sum_counts
from mmirstd.evaluation.functional.intervals import bootstrap_intervals
from mmirstd.evaluation.functional.protocols import PRESETS
from mmirstd.io.files import file_sha256, write_atomically, write_png
from mmirstd.io.masks import DEFAULT_RULE
from mmirstd.io.names import sample_names
from mmirstd.io.tables import json_bytes
from mmirstd.io.validation_curve import VALIDATION_CURVE, read_validation_curve
from mmirstd.utils.errors import UserError
from mmirstd.utils.processor_time import processor_seconds

COST_SIZE = 256
CURVE_THRESHOLDS = 15
VALIDATED = ('IoU', 'nIoU', 'Pd', 'Fa')
# Decimals of what a record keeps; Fa, in 1e-6, has as many.
DECIMALS = 6
PACKAGES = ('mmengine', 'mmcv', 'mmseg')


class ReproductionError(UserError, RuntimeError):
    """A run whose outcome cannot be right."""


def perform_run(run: ReproductionRun, folder: Path, record: Path, resamples: int, workers: int) -> None:
    """Train if that is asked for, test, and write the record; what is done in ``folder`` already is not done again.

    Args:
        run: What is to be done.
        folder: For checkpoints, logs and predictions.
        record: The file to write.
        resamples: Of the images, for 95 % intervals; 0: none.
        workers: Processes that score predictions.

    Raises:
        ReproductionError: If the saved predictions give another IoU than the test.
        UserError: What training and testing raise.
    """
    digest = run.digest()
    training = trained(run, folder / 'training', digest) if run.kind == 'trained' else None
    checkpoint = Path(training['checkpoint']) if training else converted(run, folder)
    cfg = run.test_config()
    predictions = folder / 'predictions'
    shutil.rmtree(predictions, ignore_errors=True)  # of a run that was ended in between
    with measured() as testing:
        metrics = test(cfg, checkpoint, work_dir=folder / 'test', out=predictions, out_format='npz').metrics
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
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
            'options': dict(run.options),
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


def score_predictions(dataset: Any, folder: Path, workers: int) -> ScoredSet:
    """Count saved predictions of a dataset under all protocols, with curves; masks that are rendered are saved, too.

    Raises:
        ReproductionError: If samples have neither mask files nor rendered masks.
    """
    names = sample_names(dataset)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    pairs = []
    for i, info in enumerate(infos):
        name = names[info['img_path']]
        mask = info.get('seg_map_path') or _save_mask(dataset.pipeline_input(i), folder / f'{name}_mask.png')
        pairs.append(FilePair(name, folder / f'{name}.npz', Path(mask)))
    rules = {info.get('mask_rule') or DEFAULT_RULE for info in infos}
    if len(rules) > 1:
        raise ReproductionError(f'the masks of the dataset follow {len(rules)} rules: test the sets one by one')
    return score_pairs(
        pairs,
        list(PRESETS.values()),
        reader=PairReader(rule=rules.pop()),
        rule=PRESETS['exact'],
        thresholds=curve_thresholds(CURVE_THRESHOLDS),
        workers=workers,
    )


def protocol_results(scored: ScoredSet, resamples: int) -> list[ProtocolResult]:
    """Metrics and intervals under all protocols."""
    results = []
    for protocol, counts in zip(PRESETS.values(), zip(*scored.counts, strict=True), strict=True):
        intervals = bootstrap_intervals(counts, protocol, resamples=resamples) if resamples else {}
        results.append(ProtocolResult.of(protocol, sum_counts(counts), intervals))
    return results


def compact_results(results: Sequence[ProtocolResult]) -> list[dict[str, Any]]:
    """Of each protocol what tables show, rounded; the settings are those of its name in this version."""
    found = []
    for entry in plain_results(results):
        kept = {'name': entry['name'], 'reported': entry['reported'], 'metrics': _rounded(entry['metrics'])}
        found.append(kept | {'intervals': {name: _rounded(value) for name, value in entry['intervals'].items()}})
    return found


def curves_of(scored: ScoredSet) -> dict[str, Any]:
    """What the curves are drawn from: pixels between thresholds, and counts above each, of ``exact``."""
    pixels, components = scored.sweeps
    counts = {name: value for name, value in asdict(components.counts).items() if np.any(value)}
    return {
        'thresholds': [float(f'{t:.6g}') for t in pixels.thresholds],
        'target_bins': pixels.target_bins,
        'background_bins': pixels.background_bins,
        'counts': {name: np.round(value, DECIMALS) for name, value in counts.items()},
    }


def faults_of(records: Sequence[ImageRecord]) -> dict[str, dict[str, int]]:
    """Images with missed targets, and with false components, and how many."""
    return {
        'missed': {r.img_id: r.missed for r in records if r.missed},
        'false': {r.img_id: len(r.false) for r in records if r.false},
    }


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


def _save_mask(sample: Mapping[str, Any], path: Path) -> Path:
    mask = sample.get('gt_seg_map')
    if mask is None:
        raise ReproductionError('the protocols need a mask for every image of the dataset')
    write_png(path, 255 * mask, flush=False)
    return path


def _check_equal(scored: float, tested: float, run: ReproductionRun) -> None:
    if not np.isclose(scored, tested, rtol=0, atol=1e-6, equal_nan=True):
        raise ReproductionError(
            f'{run.name}: the test gives IoU {tested:.6f} and its saved predictions {scored:.6f}; a threshold other '
            'than 0.5 is not reproduced'
        )


def _rounded(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _rounded(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_rounded(value) for value in values]
    return round(values, DECIMALS) if isinstance(values, float) else values
