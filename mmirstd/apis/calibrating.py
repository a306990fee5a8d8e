"""The threshold of a model for a budget of false alarms, chosen on the validation split of its config."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from scipy import special

from mmirstd.apis.configuration import CfgOptions, refuse_without_weights, run_config
from mmirstd.apis.inference import checkpoint_for, head_threshold, init_model
from mmirstd.apis.validation import refuse_test_images, validation_loader
from mmirstd.checkpoints.loading import load_checkpoint, meta_of
from mmirstd.checkpoints.operating_point import CalibratedThreshold
from mmirstd.checkpoints.provenance import Provenance
from mmirstd.checkpoints.publishing import check_destination, publish
from mmirstd.engine.provenance import check_overlaps
from mmirstd.evaluation.functional.intervals import bootstrap_intervals
from mmirstd.evaluation.functional.protocols import PRESETS
from mmirstd.evaluation.functional.sweeps import ComponentSweep, component_sweep, sum_sweeps
from mmirstd.io.tables import text_rows
from mmirstd.ops.pairs import split_labels
from mmirstd.ops.samples import probability_map, to_array
from mmirstd.utils.errors import ArgumentError, UserError
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.text import format_threshold

# Logits from -5 to 16 in steps of 0.05, 0.5 among them: below there is noise, above there is no float32. Of a
# probability, or of its difference from 1, three digits are kept, since people read them.
_SMALL = np.array([float(f'{p:.3g}') for p in special.expit(np.arange(-320, 1) / 20)])
THRESHOLDS = np.concatenate([_SMALL[-101:], np.round(1 - _SMALL[-2::-1], 12)])
CRITERIA = {
    'false_alarms_per_image': ('--budget-per-image', 'false alarms per image'),
    'Fa': ('--budget-fa', 'false pixels per million'),
}
LEVEL = 0.95


class BudgetError(UserError, ValueError):
    """A budget that no threshold meets."""


@dataclass(frozen=True)
class Calibration:
    """What :func:`calibrate` chose.

    Attributes:
        point: The operating point.
        before: Metrics at the threshold that the model had before, as ``point.metrics`` without the interval.
        threshold_before: That threshold.
        path: Where weights and operating point were written; None if they were not.
    """

    point: CalibratedThreshold
    before: dict[str, float]
    threshold_before: float
    path: Path | None = None

    def __str__(self) -> str:
        metrics = self.point.metrics
        rows = [
            {'': name, 'threshold': format_threshold(threshold)} | {key: f'{found[key]:.4g}' for key in self.before}
            for name, threshold, found in (
                ('before', self.threshold_before, self.before),
                ('chosen', self.point.threshold, metrics),
            )
        ]
        lines = [
            str(self.point),
            text_rows(rows),
            f'Pd {metrics["Pd"]:.4f}, {LEVEL:.0%} interval [{metrics["Pd_low"]:.4f}, {metrics["Pd_high"]:.4f}] '
            '(bootstrap over images)',
            f'weights and operating point: {self.path}' if self.path else 'not stored: give --out FILE.safetensors',
        ]
        return '\n'.join(lines)


def calibrate(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    budget_per_image: float | None = None,
    budget_fa: float | None = None,
    best_f1: bool = False,
    data_root: str | Path | None = None,
    cfg_options: CfgOptions | None = None,
    allow_overlap: Sequence[str] = (),
    device: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Calibration:
    """Choose the threshold of a model on the validation split of its config, and store it with the weights.

    Of the thresholds that meet a budget, and above which all others meet it, that of the highest Pd is taken; among
    equals that of the fewest false alarms. Matching is that of the protocol ``exact``.

    Args:
        config: Path or name of a config, or a config.
        checkpoint: Path or address of the weights; by default those that come with the package.
        budget_per_image: At most so many false components per image.
        budget_fa: At most so many false pixels per million.
        best_f1: Take the threshold of the best F1, which is over pixels.
        data_root: Folder of the dataset; by default what the config says.
        cfg_options: Changes of the config: dotted keys and values, or ``'KEY=VALUE'`` texts.
        allow_overlap: Names of datasets, or of splits of them, that the model may have been trained on.
        device: Such as ``'cpu'`` or ``'cuda:0'``; by default the GPU where there is one.
        out: File for the weights with the operating point, ``.safetensors`` or ``.pth``; by default nothing is stored.
        overwrite: Replace ``out`` if it exists.

    Raises:
        ArgumentError: Unless one criterion is given, with a budget that is not negative.
        OptionError: If the config has no validation split with masks, or it is the test split.
        OverlapError: If the model was trained on images of the validation split.
        BudgetError: If no threshold meets the budget; the message has the nearest value that can be reached.
        CheckpointError: If the checkpoint is missing or does not fit, or ``out`` cannot be written.
    """
    criterion, budget = _criterion(budget_per_image, budget_fa, best_f1)
    refuse_without_weights(config, 'store a threshold with')
    checkpoint = checkpoint_for(config, checkpoint)
    if out is not None:
        check_destination(checkpoint, Path(out), overwrite)
    cfg = run_config(config, ('val',), cfg_options=cfg_options, data_root=data_root)
    loader = validation_loader(cfg)
    records = refuse_test_images(cfg, loader.dataset)
    trained = Provenance.of(meta_of(load_checkpoint(checkpoint)), checkpoint).trained_on
    check_overlaps(records, trained, allow_overlap, checkpoint)
    model = init_model(cfg, checkpoint, device)
    sweeps = _sweep_images(model, loader)
    total = sum_sweeps(sweeps)
    at = choose_threshold(total, criterion, budget)
    pd = bootstrap_intervals([sweep.counts[at] for sweep in sweeps], level=LEVEL)['Pd']
    metrics = operating_metrics(total, at) | {'Pd_low': pd.low, 'Pd_high': pd.high}
    protocol = PRESETS['exact']
    point = CalibratedThreshold(
        threshold=float(THRESHOLDS[at]),
        criterion=criterion,
        budget=budget,
        metrics=metrics,
        splits=[{key: record[key] for key in ('dataset', 'name', 'num', 'sha256')} for record in records],
        protocol={'name': protocol.name, 'distance': protocol.distance, 'connectivity': protocol.connectivity},
    )
    before = model.operating_point.threshold if model.operating_point else head_threshold(model)
    nearest = int(np.abs(THRESHOLDS - before).argmin())
    if out is not None:
        publish(checkpoint, out, overwrite, operating_point=point)
    return Calibration(point, operating_metrics(total, nearest), before, None if out is None else Path(out))


def _criterion(per_image: float | None, fa: float | None, best_f1: bool) -> tuple[str, float | None]:
    budgets = {'false_alarms_per_image': per_image, 'Fa': fa}
    given = {name: budget for name, budget in budgets.items() if budget is not None}
    if len(given) + bool(best_f1) != 1:
        raise ArgumentError('give one of --budget-per-image, --budget-fa and --best-f1')
    if best_f1:
        return 'F1', None
    ((name, budget),) = given.items()
    if not 0 <= budget < float('inf'):
        raise ArgumentError(f'{CRITERIA[name][0]} must be a number from 0, got {budget}')
    return name, float(budget)


@torch.no_grad()
def _sweep_images(model: torch.nn.Module, loader: torch.utils.data.DataLoader) -> list[ComponentSweep]:
    found = []
    for batch in progress_bar(loader, 'validation'):
        for sample in model.test_step(batch):
            name = sample.get('img_path') or sample.get('img_id', 'a validation image')
            mask, ignored = split_labels(to_array(sample.gt_sem_seg.data[0]), 255)
            found.append(component_sweep(probability_map(sample, name), mask, THRESHOLDS, ignore=ignored))
    return found


def operating_metrics(total: ComponentSweep, at: int) -> dict[str, float]:
    """Pd, Fa, false alarms per image, F1 and IoU of a set at one of its thresholds, given by its place."""
    found = total.metrics() | {'false_alarms_per_image': _false_alarms(total)}
    return {name: float(found[name][at]) for name in ('Pd', 'Fa', 'false_alarms_per_image', 'F1', 'IoU')}


def choose_threshold(total: ComponentSweep, criterion: str, budget: float | None) -> int:
    """Choose the place of a threshold, see :func:`calibrate`.

    Args:
        total: The sweep of the validation split.
        criterion: ``'false_alarms_per_image'``, ``'Fa'`` or ``'F1'``.
        budget: Of the first two.

    Raises:
        BudgetError: If the split has no target, no threshold meets the budget, or only those at which nothing is found.
    """
    metrics, thresholds = total.metrics(), total.thresholds
    pd = metrics['Pd']
    if not total.counts.targets:
        raise BudgetError('the validation split holds no target: there is no threshold to choose')
    if not (pd > 0).any():
        raise BudgetError('the model detects no target of the validation split at any threshold')
    if budget is None:
        return int(np.flatnonzero(thresholds == total.oracle_threshold('F1').threshold)[0])
    values = _false_alarms(total) if criterion == 'false_alarms_per_image' else metrics['Fa']
    # As the threshold falls, false components grow into one: only above all thresholds that exceed it a budget is met.
    above = np.flatnonzero(values > budget)
    first = above[-1] + 1 if above.size else 0
    candidates = [k for k in range(first, len(thresholds)) if pd[k] > 0]
    if not candidates:
        finding = np.flatnonzero(pd > 0)
        nearest = finding[np.lexsort((-pd[finding], values[finding]))[0]]
        option, unit = CRITERIA[criterion]
        raise BudgetError(
            f'{option} {budget:g}: no threshold at which targets are detected has so few; the nearest is '
            f'{values[nearest]:.4g} {unit} at threshold {format_threshold(thresholds[nearest])}, with Pd '
            f'{pd[nearest]:.4f}'
        )
    return min(candidates, key=lambda k: (-pd[k], values[k], abs(thresholds[k] - 0.5)))


def _false_alarms(total: ComponentSweep) -> np.ndarray:
    return np.broadcast_to(total.counts.false_components / total.counts.images, total.thresholds.shape)
