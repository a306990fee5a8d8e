"""Accuracy of models over their latency."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from mmirstd.io.files import figure_pixels


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
    for measured, color, label in ((True, 'C0', 'measured here'), (False, 'C1', 'quoted')):
        chosen = [p for p in points if p.measured == measured]
        style = {'facecolors': color if measured else 'none', 'edgecolors': color, 'zorder': 3}
        axes.scatter([p.ratio for p in chosen], [p.iou for p in chosen], s=28, label=label, **style)
        for p in chosen:
            axes.annotate(p.name, (p.ratio, p.iou), (4, 3), textcoords='offset points', fontsize=7, color=color)
    axes.set(xscale='log', xlabel=f'latency / {reference}', ylabel='IoU', title=title)
    axes.margins(0.12, 0.1)
    axes.xaxis.set_major_formatter(LogFormatter())
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc='lower right')
    return figure_pixels(figure)
