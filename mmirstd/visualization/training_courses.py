"""Courses of trainings: validation metrics over iterations and minutes, read from logs and drawn side by side."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mmirstd.io.files import figure_pixels
from mmirstd.io.validation_curve import VALIDATION_CURVE, read_validation_curve
from mmirstd.utils.errors import UserError

_TRAINED = re.compile(r'Iter\(train\)\s*\[\s*(\d+)/\d+\].*?\btime: ([\d.]+)')
_VALIDATED = re.compile(r'Iter\(val\)\s*\[[\d/ ]+\](.*)')
_VALUE = re.compile(r'(\w+): ([\d.]+(?:e[+-]?\d+)?|nan)')


class CourseError(UserError, ValueError):
    """A file or folder that tells of no validation."""


@dataclass(frozen=True, kw_only=True)
class TrainingCourse:
    """Validations of one training.

    Attributes:
        name: As the legend shows it.
        iterations: (N,) of the validations.
        minutes: (N,) since training began.
        metrics: (N,) each, by name; nan where one was not logged.
        estimated: The minutes are iterations times their logged time, without validations.
    """

    name: str
    iterations: np.ndarray
    minutes: np.ndarray
    metrics: Mapping[str, np.ndarray]
    estimated: bool


def read_course(path: str | Path, name: str | None = None) -> TrainingCourse:
    """Read the validations of a training.

    Args:
        path: A work dir: ``validation.jsonl`` of the ``ValidationCurveHook``, or else the logs of all its runs. Or a
            log as text.
        name: For the legend; by default that of the file or folder.

    Raises:
        CourseError: If there is no validation in it.
        FileNotFoundError: If it is not there.
    """
    path = Path(path)
    name = name or path.stem
    if path.is_file():
        return _estimated(name, _entries_of_text(path.read_text(encoding='utf-8', errors='replace')), path)
    if not path.is_dir():
        raise FileNotFoundError(f'there is no work dir or log {path}')
    if (curve := path / VALIDATION_CURVE).is_file():
        return course_of_lines(name, read_validation_curve(curve))
    logs = sorted(path.glob('*/vis_data/scalars.json'))
    entries = [json.loads(line) for log in logs for line in log.read_text(encoding='utf-8').splitlines() if line]
    return _estimated(name, entries, path)


def course_of_lines(name: str, lines: Sequence[Mapping[str, Any]]) -> TrainingCourse:
    """The course from the lines of ``validation.jsonl``, or from a record's."""
    if not lines:
        raise CourseError(f'{name}: no validation')
    keys = {k for line in lines for k in line} - {'iter', 'seconds', 'processor_seconds'}
    return TrainingCourse(
        name=name,
        iterations=np.array([line['iter'] for line in lines]),
        minutes=np.array([line['seconds'] / 60 for line in lines]),
        metrics={key: np.array([line.get(key, np.nan) for line in lines], float) for key in sorted(keys)},
        estimated=False,
    )


def draw_courses(courses: Sequence[TrainingCourse], metric: str = 'IoU') -> np.ndarray:
    """A metric on the validation split over iterations and over minutes, (H, W, 3) uint8 RGB.

    Raises:
        CourseError: If a course lacks the metric, or there is none.
    """
    if not courses:
        raise CourseError('there is no course to draw')
    figure = Figure(figsize=(11, 4), dpi=110, layout='constrained')
    left, right = figure.subplots(1, 2, sharey=True)
    for course in courses:
        if metric not in course.metrics:
            raise CourseError(f'{course.name}: {metric} was not validated; there are {", ".join(course.metrics)}')
        values = course.metrics[metric]
        left.plot(course.iterations, values, marker='.', label=course.name)
        right.plot(course.minutes, values, marker='.', linestyle='--' if course.estimated else '-')
    left.set(xlabel='iteration', ylabel=f'{metric} on the validation split')
    note = ' (dashed: of the training iterations alone)' if any(c.estimated for c in courses) else ''
    right.set(xlabel=f'minutes{note}')
    left.legend(fontsize=8)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return figure_pixels(figure)


def _entries_of_text(text: str) -> Iterable[dict[str, Any]]:
    step = 0
    for line in text.splitlines():
        if found := _TRAINED.search(line):
            step = int(found[1])
            yield {'step': step, 'time': float(found[2]), 'loss': 0.0}
        elif found := _VALIDATED.search(line):
            yield {'step': step} | {name: float(value) for name, value in _VALUE.findall(found[1])}


def _estimated(name: str, entries: Iterable[Mapping[str, Any]], source: Path) -> TrainingCourse:
    """Minutes from the time of the iterations; what a resumed run did again replaces what it was before."""
    times: dict[int, float] = {}
    validations: dict[int, Mapping[str, Any]] = {}
    for entry in entries:
        step = entry.get('step', 0)
        if 'loss' in entry and 'time' in entry:
            times[step] = entry['time']
        elif 'IoU' in entry:
            validations[step] = entry
    if not validations:
        raise CourseError(f'{source} tells of no validation: is it the work dir, or the log, of a training?')
    steps = sorted(times)
    spent = np.cumsum([times[step] * (step - before) for step, before in zip(steps, [0, *steps], strict=False)])
    order = sorted(validations)
    names = {k for v in validations.values() for k, x in v.items() if isinstance(x, float)} - {'time', 'data_time'}
    return TrainingCourse(
        name=name,
        iterations=np.array(order),
        minutes=np.interp(order, [0, *steps], [0.0, *spent]) / 60,
        metrics={k: np.array([validations[s].get(k, np.nan) for s in order], float) for k in sorted(names)},
        estimated=True,
    )
