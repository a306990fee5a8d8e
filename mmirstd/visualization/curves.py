"""Curves of :mod:`mmirstd.evaluation.functional.sweeps` as pictures and CSV: ROC, precision over recall, Pd over Fa."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmirstd.evaluation.functional.protocols import EmptyPolicy
from mmirstd.evaluation.functional.sweeps import ComponentSweep, Curve, PixelSweep
from mmirstd.io.files import encode_png, figure_pixels, refuse_overwriting, write_atomically
from mmirstd.io.tables import csv_rows

_MARKED = 0.5
# Each color comes once in each style, so that no two of 30 curves look alike.
_COLORS, _STYLES = 10, ('-', '--', ':')
# More names than this stand beside the curves.
_NAMES_INSIDE = 6


def draw_roc(sweeps: Mapping[str, PixelSweep], title: str = '') -> np.ndarray:
    """ROC curves by name, (H, W, 3) uint8 RGB.

    The false positive rate is logarithmic: targets are so few pixels that on a linear axis all curves lie in a corner.
    Lines that are straight on a linear axis, as the AUC takes them, are bent here. The left edge is half a pixel.
    """

    def plot(axes: Axes) -> None:
        lowest = min((0.5 / s.background_pixels for s in sweeps.values() if s.background_pixels), default=1e-6)
        for i, (name, sweep) in enumerate(sweeps.items()):
            _line(axes, _bent(sweep.roc(), lowest), i, label=f'{name} (AUC {_number(sweep.auc())})')
        axes.set(xscale='log', xlim=(lowest, 1), ylim=(-0.02, 1.02))
        axes.set(xlabel='false positive rate of pixels', ylabel='true positive rate of pixels')

    return _draw(sweeps, title, plot)


def draw_pr(sweeps: Mapping[str, PixelSweep], title: str = '') -> np.ndarray:
    """Precision over recall of pixels by name, (H, W, 3) uint8 RGB."""

    def plot(axes: Axes) -> None:
        for i, (name, sweep) in enumerate(sweeps.items()):
            _line(axes, sweep.pr(), i, label=f'{name} (AP {_number(sweep.average_precision)})')
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel='recall of pixels', ylabel='precision of pixels')

    return _draw(sweeps, title, plot)


def draw_pd_fa(sweeps: Mapping[str, ComponentSweep], title: str = '', *, max_fa: float = 100.0) -> np.ndarray:
    """Pd over Fa by name, (H, W, 3) uint8 RGB: thresholds as dots, and as steps the highest Pd at no more than that Fa.

    The legend has the area under the steps up to `max_fa` false pixels per million, see
    :meth:`ComponentSweep.pd_fa_area`. Fa is linear up to 1 and logarithmic above.
    """

    def plot(axes: Axes) -> None:
        highest = max_fa
        for i, (name, sweep) in enumerate(sweeps.items()):
            curve = sweep.pd_fa()
            highest = max(highest, curve.x.max())
            label = f'{name} (area to {max_fa:g}: {_number(sweep.pd_fa_area(max_fa))})'
            _line(axes, curve, i, linestyle='none', marker='.', markersize=4)
            order = np.argsort(curve.x, kind='stable')
            steps = np.maximum.accumulate(curve.y[order])
            axes.step(curve.x[order], steps, where='post', label=label, linewidth=1.2, **_style(i))
        axes.axvline(max_fa, color='0.6', linewidth=0.8, linestyle=':')
        axes.set_xscale('symlog', linthresh=1)
        axes.set(xlim=(0, highest * 1.5), ylim=(-0.02, 1.02), xlabel='Fa (false pixels per million)', ylabel='Pd')

    return _draw(sweeps, title, plot)


def pixel_csv(sweep: PixelSweep) -> bytes:
    """A CSV file with a row per threshold, ascending: tp, fp, fn, tn and the metrics; what is undefined is empty."""
    tp, fp = sweep.tp, sweep.fp
    columns = {
        'threshold': sweep.thresholds,
        'tp': tp,
        'fp': fp,
        'fn': sweep.target_pixels - tp,
        'tn': sweep.background_pixels - fp,
        **sweep.metrics(),
    }
    return _csv(columns)


def component_csv(sweep: ComponentSweep, *, empty: EmptyPolicy = 'skip') -> bytes:
    """A CSV file with a row per threshold, ascending: the counts and the metrics, Fa in 1e-6."""
    names = ('tp', 'fp', 'fn', 'detected', 'components', 'false_components', 'false_pixels')
    columns = {'threshold': sweep.thresholds, **{name: getattr(sweep.counts, name) for name in names}}
    columns['targets'] = np.full(len(sweep.thresholds), sweep.counts.targets)
    return _csv({**columns, **sweep.metrics(empty=empty)})


def save_curves(
    folder: str | Path,
    pixels: Mapping[str, PixelSweep],
    components: Mapping[str, ComponentSweep],
    *,
    title: str = '',
    max_fa: float = 100.0,
    overwrite: bool = False,
) -> list[Path]:
    """Write roc.png, pr.png and pd_fa.png and, for each name, pixels_NAME.csv and components_NAME.csv.

    Args:
        folder: Where the files go.
        pixels: Sweeps by name; an empty mapping gives none of its files.
        components: Likewise.
        title: Of the pictures.
        max_fa: Of the areas in ``pd_fa.png``, see :func:`draw_pd_fa`.
        overwrite: Allow replacing files; otherwise nothing is written if one of them exists.

    Raises:
        FileExistsError: Naming the files that exist.
        ValueError: If a name cannot be part of a file name.
    """
    folder = Path(folder)
    for name in {*pixels, *components}:
        if not name or {*name} & {*'/\\:\0'}:
            raise ValueError(f'{name!r} cannot be part of a file name')
    made: dict[str, Callable[[], bytes]] = {}
    if pixels:
        made['roc.png'] = lambda: encode_png(draw_roc(pixels, title), 'rgb')
        made['pr.png'] = lambda: encode_png(draw_pr(pixels, title), 'rgb')
    if components:
        made['pd_fa.png'] = lambda: encode_png(draw_pd_fa(components, title, max_fa=max_fa), 'rgb')
    made.update({f'pixels_{name}.csv': lambda s=sweep: pixel_csv(s) for name, sweep in pixels.items()})
    made.update({f'components_{name}.csv': lambda s=sweep: component_csv(s) for name, sweep in components.items()})
    refuse_overwriting((folder / name for name in made), overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in made.items():
        write_atomically(folder / name, make())
    return [folder / name for name in made]


def _draw(sweeps: Mapping[str, object], title: str, plot: Callable[[Axes], None]) -> np.ndarray:
    if not sweeps:
        raise ValueError('there is no curve to draw')
    beside = len(sweeps) > _NAMES_INSIDE
    figure = Figure(figsize=(9.6 if beside else 6.4, 4.8), dpi=120, layout='constrained')
    axes = figure.subplots()
    plot(axes)
    axes.grid(color='0.9', linewidth=0.6)
    axes.set_axisbelow(True)
    axes.plot([], [], 'o', color='0.3', markerfacecolor='white', label=f'threshold {_MARKED:g}')
    if beside:
        figure.legend(fontsize=7, loc='outside right upper')
    else:
        axes.legend(fontsize=8)
    axes.set_title(title, fontsize=10)
    return figure_pixels(figure)


def _line(axes: Axes, curve: Curve, number: int, **style: object) -> None:
    """Draw a curve in the style of its number and, if it is one of the thresholds, a ring at 0.5."""
    own = _style(number)
    axes.plot(curve.x, curve.y, **{'linewidth': 1.4, **own, **style})
    marked = curve.thresholds == _MARKED
    axes.plot(curve.x[marked], curve.y[marked], 'o', color=own['color'], markerfacecolor='white', zorder=3)


def _style(number: int) -> dict[str, str]:
    return {'color': f'C{number % _COLORS}', 'linestyle': _STYLES[number // _COLORS % len(_STYLES)]}


def _bent(curve: Curve, lowest: float) -> Curve:
    """A curve of straight lines for a logarithmic axis from `lowest`: with points between, whose threshold is nan."""
    parts = []
    for i in range(len(curve.x) - 1):
        left, right = curve.x[i : i + 2]
        start, steps = max(left, lowest), 0
        if right > start:
            steps = int(20 * math.log10(right / start))
        x = np.geomspace(start, right, steps + 2)[1:-1] if steps else np.zeros(0)
        y = np.interp(x, (left, right), curve.y[i : i + 2])
        parts.append(np.stack([np.append(curve.thresholds[i], np.full(steps, np.nan)), [start, *x], [curve.y[i], *y]]))
    parts.append(np.array(curve)[:, -1:])
    return Curve(*np.concatenate(parts, axis=1))


def _number(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.4f}'


def _csv(columns: Mapping[str, Sequence]) -> bytes:
    values = (np.asarray(column).tolist() for column in columns.values())
    return csv_rows([dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)])
