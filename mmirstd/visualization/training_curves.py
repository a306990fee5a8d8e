"""Training curves: loss and validation metrics over iterations and minutes, read from logs and drawn side by side."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mmirstd.io.files import figure_pixels
from mmirstd.io.validation_curve import VALIDATION_CURVE, read_validation_curve
from mmirstd.utils.errors import UserError

METRIC, HELD_OUT_LOSS = 'IoU', 'held_out_loss'
# What a log has beside the metrics.
_NO_METRICS = {'iter', 'step', 'epoch', 'time', 'data_time', 'seconds', 'processor_seconds'}
_NUMBER = r'([\d.]+(?:e[+-]?\d+)?|nan)'
_TRAINED = re.compile(rf'Iter\(train\)\s*\[\s*(\d+)/\d+\].*?\btime: {_NUMBER}(?:.*?\bloss: {_NUMBER})?')
_VALIDATED = re.compile(r'Iter\(val\)\s*\[[\d/ ]+\](.*)')
_VALUE = re.compile(rf'(\w+): {_NUMBER}')


class CurveError(UserError, ValueError):
    """A file or folder without validations, or without the metric to draw."""


@dataclass(frozen=True, kw_only=True)
class TrainingCurve:
    """Loss and validations of one training.

    Attributes:
        name: As the legend shows it.
        iterations: (N,) of the validations.
        minutes: (N,) since training began.
        metrics: (N,) each, by name; nan where one was not logged.
        estimated: The minutes are iterations times their logged time, without validations.
        steps: (M,) iterations at which the loss was logged; M may be 0.
        losses: (M,) the loss there.
    """

    name: str
    iterations: np.ndarray
    minutes: np.ndarray
    metrics: Mapping[str, np.ndarray]
    estimated: bool
    steps: np.ndarray
    losses: np.ndarray


def read_curve(path: str | Path, name: str | None = None) -> TrainingCurve:
    """Read the curve of a training.

    Args:
        path: A work dir, with the logs of all its runs and perhaps ``validation.jsonl`` of the ``ValidationCurveHook``,
            whose minutes are then exact. Or a log as text.
        name: For the legend; by default that of the file or folder.

    Raises:
        CurveError: If there is no validation in it.
        FileNotFoundError: If it is not there.
    """
    path = Path(path)
    name = name or path.stem
    if path.is_file():
        return _curve_of_log(name, _entries_of_text(path.read_text(encoding='utf-8', errors='replace')), path)
    if not path.is_dir():
        raise FileNotFoundError(f'there is no work dir or log {path}')
    entries = list(_entries_of_runs(path))
    if (lines := path / VALIDATION_CURVE).is_file():
        return curve_of_lines(name, read_validation_curve(lines), entries)
    return _curve_of_log(name, entries, path)


def curve_of_lines(
    name: str, lines: Sequence[Mapping[str, Any]], entries: Iterable[Mapping[str, Any]] = ()
) -> TrainingCurve:
    """The curve from the lines of ``validation.jsonl``, or from a record's; the loss is that of a log's entries."""
    if not lines:
        raise CurveError(f'{name}: no validation')
    losses = {entry['step']: entry['loss'] for entry in entries if 'loss' in entry}
    return TrainingCurve(
        name=name,
        iterations=np.array([line['iter'] for line in lines]),
        minutes=np.array([line['seconds'] / 60 for line in lines]),
        metrics=_columns(lines),
        estimated=False,
        steps=np.array(sorted(losses)),
        losses=np.array([losses[step] for step in sorted(losses)]),
    )


def draw_curves(curves: Sequence[TrainingCurve], metric: str | None = None) -> np.ndarray:
    """Losses over iterations, where there are any, and a validation metric over iterations and over minutes.

    Args:
        curves: Drawn in one color each.
        metric: By default IoU; the loss on held-out images if the first curve is one of a distillation.

    Returns:
        Picture (H, W, 3) uint8 RGB.

    Raises:
        CurveError: If a curve lacks the metric, or there is none.
    """
    if not curves:
        raise CurveError('there is no curve to draw')
    metric = metric or (HELD_OUT_LOSS if HELD_OUT_LOSS in curves[0].metrics else METRIC)
    for curve in curves:
        if metric not in curve.metrics:
            raise CurveError(f'{curve.name}: {metric} was not validated; there are {", ".join(curve.metrics)}')
    with_loss = any(len(curve.losses) for curve in curves)
    figure = Figure(figsize=(14 if with_loss else 11, 4), dpi=110, layout='constrained')
    left, right = figure.subplots(1, 2 + with_loss)[-2:]
    right.sharey(left)
    for i, curve in enumerate(curves):
        values = curve.metrics[metric]
        left.plot(curve.iterations, values, f'.-C{i}', label=curve.name)
        right.plot(curve.minutes, values, f'C{i}', marker='.', linestyle='--' if curve.estimated else '-')
        if len(curve.losses):
            figure.axes[0].plot(curve.steps, curve.losses, f'C{i}', alpha=0.25)
            figure.axes[0].plot(curve.steps, smooth(curve.losses), f'C{i}')
    if with_loss:
        figure.axes[0].set(xlabel='iteration', ylabel='loss of training', yscale='log')
    left.set(xlabel='iteration', ylabel=f'{metric} on the validation split')
    note = ' (dashed: of the training iterations alone)' if any(c.estimated for c in curves) else ''
    right.set(xlabel=f'minutes{note}')
    left.legend(fontsize=8)
    for axes in figure.axes:
        axes.grid(alpha=0.3)
    return figure_pixels(figure)


def smooth(values: np.ndarray, width: int = 5) -> np.ndarray:
    """Centered moving average whose window is cut at the ends."""
    kernel = np.ones(min(width, len(values)))
    return np.convolve(values, kernel, 'same') / np.convolve(np.ones(len(values)), kernel, 'same')


def _entries_of_runs(work_dir: Path) -> Iterator[dict[str, Any]]:
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        yield from (json.loads(line) for line in log.read_text(encoding='utf-8').splitlines() if line)


def _entries_of_text(text: str) -> Iterator[dict[str, Any]]:
    step = 0
    for line in text.splitlines():
        if found := _TRAINED.search(line):
            step = int(found[1])
            yield {'step': step, 'time': float(found[2]), 'loss': float(found[3] or 'nan')}
        elif found := _VALIDATED.search(line):
            yield {'step': step} | {name: float(value) for name, value in _VALUE.findall(found[1])}


def _curve_of_log(name: str, entries: Iterable[Mapping[str, Any]], source: Path) -> TrainingCurve:
    """Minutes from the time of the iterations; what a resumed run did again replaces what it was before."""
    trained: dict[int, Mapping[str, Any]] = {}
    validated: dict[int, Mapping[str, Any]] = {}
    for entry in entries:
        step = entry.get('step', 0)
        if 'loss' in entry:
            trained[step] = entry
        elif entry.keys() & {METRIC, HELD_OUT_LOSS}:
            validated[step] = entry
    if not validated:
        raise CurveError(f'{source} has no validation: is it the work dir, or the log, of a training?')
    steps = sorted(trained)
    times = [trained[step].get('time', 0.0) for step in steps]
    spent = np.cumsum([time * (step - before) for time, step, before in zip(times, steps, [0, *steps], strict=False)])
    order = sorted(validated)
    return TrainingCurve(
        name=name,
        iterations=np.array(order),
        minutes=np.interp(order, [0, *steps], [0.0, *spent]) / 60,
        metrics=_columns([validated[step] for step in order]),
        estimated=True,
        steps=np.array(steps),
        losses=np.array([trained[step]['loss'] for step in steps]),
    )


def _columns(lines: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    names = {key for line in lines for key, value in line.items() if isinstance(value, int | float)} - _NO_METRICS
    return {name: np.array([line.get(name, np.nan) for line in lines], float) for name in sorted(names)}
