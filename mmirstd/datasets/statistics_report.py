"""What a set of images and targets is like: tables, histograms and CSV rows of their statistics."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from mmirstd.io.files import figure_pixels
from mmirstd.io.tables import plain, text_rows
from mmirstd.ops.target_statistics import ImageStatistics, TargetStatistics, quantiles

AT = (0, 0.01, 0.1, 0.5, 0.9, 0.99, 1)
HEADINGS = ('min', '1 %', '10 %', 'median', '90 %', '99 %', 'max')
# Definitions of a small target end at 9 x 9 pixels.
SMALL = 81
AXIS = {'target area': ', pixels', 'noise': ', levels', 'contrast': ', levels', 'clutter': ', levels'}
BOX = ('top', 'left', 'bottom', 'right')
TARGET = ('area', 'contrast', 'clutter', 'scr', 'background', 'at_border')


class SampleStatistics(NamedTuple):
    """The statistics of one sample."""

    part: str
    name: str
    image: ImageStatistics
    targets: TargetStatistics


def columns(measured: Sequence[SampleStatistics]) -> dict[str, list[float]]:
    """Values of each quantity, over images or over targets."""
    images, targets = [m.image for m in measured], [m.targets for m in measured]

    def over_targets(field: str) -> list[float]:
        return [v for t in targets for v in getattr(t, field).tolist()]

    return {
        'width': [i.width for i in images],
        'height': [i.height for i in images],
        'mean level': [i.mean for i in images],
        'std of levels': [i.std for i in images],
        'noise': [i.noise for i in images],
        'targets per image': [i.targets for i in images],
        'target area': over_targets('area'),
        'contrast': over_targets('contrast'),
        'clutter': over_targets('clutter'),
        'SCR': over_targets('scr'),
    }


def summarize_statistics(measured: Sequence[SampleStatistics], width: int) -> dict[str, Any]:
    """Counts and quantiles of one or several parts; plain data for JSON, null where there is no value."""
    values = columns(measured)
    counts = Counter(m.image.targets for m in measured)
    return {
        'images': len(measured),
        'empty': counts[0],
        'targets': len(values['target area']),
        'targets_per_image': {str(k): counts[k] for k in sorted(counts)},
        'at_border': sum(int(m.targets.at_border.sum()) for m in measured),
        'darker': int(np.sum(np.less(values['contrast'], 0))),
        f'larger_than_{SMALL}_pixels': int(np.sum(np.greater(values['target area'], SMALL))),
        'surroundings': width,
        'quantiles': {
            name: dict(zip(map(str, AT), plain([round(q, 6) for q in quantiles(v, AT)]), strict=True))
            for name, v in values.items()
        },
    }


def statistics_table(name: str, summary: dict[str, Any]) -> str:
    """A summary as text for a terminal."""
    s = summary
    counts = Counter({int(k): v for k, v in s['targets_per_image'].items()})
    more = sum(v for k, v in counts.items() if k > 2)
    lines = [
        f'{name}: {s["images"]} images, {s["targets"]} targets; '
        f'images with 0 / 1 / 2 / more targets: {counts[0]} / {counts[1]} / {counts[2]} / {more}; '
        f'targets at the border: {s["at_border"]}, darker than their surroundings: {s["darker"]}, '
        f'larger than {SMALL} pixels: {s[f"larger_than_{SMALL}_pixels"]}',
    ]
    rows = [
        {'': name} | dict(zip(HEADINGS, map(_cell, at.values()), strict=True)) for name, at in s['quantiles'].items()
    ]
    return '\n'.join([*lines, text_rows(rows)])


def _cell(value: float | str | None) -> str:
    if value is None:
        return '-'
    if isinstance(value, str):
        return value
    return f'{value:.0f}' if value == int(value) or abs(value) >= 100 else f'{value:.{1 if abs(value) >= 10 else 2}f}'


def draw_histograms(measured: Sequence[SampleStatistics], title: str) -> np.ndarray:
    """(H, W, 3) RGB."""
    values = columns(measured)
    figure = Figure(figsize=(12, 5), layout='constrained')
    axes = figure.subplots(2, 4)
    figure.suptitle(title, fontsize=11)
    sizes = Counter(zip(values['width'], values['height'], strict=True))
    x, y = np.array(list(sizes)).T
    axes[0, 0].scatter(x, y, s=10 + 300 * np.array(list(sizes.values())) / len(measured), alpha=0.5)
    axes[0, 0].set(xlabel='width', ylabel='height', xlim=(0, x.max() * 1.1), ylim=(0, y.max() * 1.1))
    most = int(max(values['targets per image']))
    axes[0, 1].hist(values['targets per image'], bins=np.arange(-0.5, most + 1.5))
    axes[0, 1].set(xlabel='targets per image', ylabel='images')
    for axis, name, logarithmic in (
        (axes[0, 2], 'mean level', False),
        (axes[0, 3], 'noise', False),
        (axes[1, 0], 'target area', True),
        (axes[1, 1], 'contrast', False),
        (axes[1, 2], 'clutter', True),
        (axes[1, 3], 'SCR', True),
    ):
        shown = np.array([v for v in values[name] if math.isfinite(v) and (v > 0 or not logarithmic)])
        if shown.size:
            bins = np.geomspace(shown.min(), shown.max() * 1.01, 40) if logarithmic else 40
            axis.hist(shown, bins=bins)
            [median] = quantiles(values[name], [0.5])  # that of the table
            if math.isfinite(median):
                axis.axvline(median, color='C1', label=f'median {_cell(median)}')
                axis.legend(fontsize=8)
        axis.set(xlabel=name + AXIS.get(name, ''), ylabel='images' if axis in axes[0] else 'targets')
        if logarithmic and shown.size and shown.min() < shown.max():
            axis.set_xscale('log')
    return figure_pixels(figure)


def image_rows(measured: Iterable[SampleStatistics]) -> list[dict[str, Any]]:
    """A row per image; floats have six digits."""
    return [{'dataset': m.part, 'id': m.name, **{k: _round(v) for k, v in m.image._asdict().items()}} for m in measured]


def target_rows(measured: Iterable[SampleStatistics]) -> list[dict[str, Any]]:
    """A row per target; floats have six digits."""
    return [
        {'dataset': m.part, 'id': m.name, **dict(zip(BOX, box, strict=True))}
        | {name: _round(getattr(m.targets, name)[i].item()) for name in TARGET}
        for m in measured
        for i, box in enumerate(m.targets.boxes.tolist())
    ]


def _round(value: Any) -> Any:
    return float(f'{value:.6g}') if isinstance(value, float) else value
