"""Accuracy of models over their latency."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import Bbox

from mmirstd.io.files import figure_pixels

_COLORS = {True: 'C0', False: 'C1'}  # measured, quoted


class AccuracyPoint(NamedTuple):
    """A model: its latency as a ratio to another's, its IoU as a fraction, and whether that was measured or quoted."""

    name: str
    ratio: float
    iou: float
    measured: bool


def draw_accuracy_over_latency(points: Sequence[AccuracyPoint], title: str, reference: str) -> np.ndarray:
    """Draw IoU over the ratio of latencies on a logarithmic axis, (H, W, 3) uint8 RGB.

    Args:
        points: Measured ones are full, quoted ones hollow.
        title: Of the picture.
        reference: The model whose latency is 1.

    Raises:
        ValueError: If there is no point.
    """
    if not points:
        raise ValueError('there is no point to draw')
    figure = Figure(figsize=(8, 5), dpi=110, layout='constrained')
    axes = figure.subplots()
    for measured, label in ((True, 'measured here'), (False, 'quoted')):
        color = _COLORS[measured]
        chosen = [p for p in points if p.measured == measured]
        style = {'facecolors': color if measured else 'none', 'edgecolors': color, 'zorder': 3}
        axes.scatter([p.ratio for p in chosen], [p.iou for p in chosen], s=28, label=label, **style)
    axes.set(xscale='log', xlabel=f'latency / {reference}', ylabel='IoU', title=title)
    axes.margins(0.12, 0.1)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc='lower right')
    _name_points(axes, points)
    return figure_pixels(figure)


def _name_points(axes: Axes, points: Sequence[AccuracyPoint]) -> None:
    """Write the name beside each point, or a little higher or lower where that would cover another name."""
    axes.figure.draw_without_rendering()  # places are known from here on
    taken: list[Bbox] = []
    for p in sorted(points, key=lambda p: (-p.measured, p.iou)):
        text = axes.annotate(
            p.name, (p.ratio, p.iou), (4, 3), textcoords='offset points', fontsize=7, color=_COLORS[p.measured]
        )
        for shift in (-4, 4, -8, 8, -12, 12, -16, 16, -24, 24, 0):  # where all are taken, it stays at its point
            if not any(text.get_window_extent().overlaps(box) for box in taken):
                break
            text.set_position((4, 3 + shift))
        taken.append(text.get_window_extent())
