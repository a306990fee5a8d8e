"""Curves of :mod:`mmirstd.evaluation.functional.sweeps` as pictures and CSV: ROC, precision over recall, Pd over Fa."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from mmirstd.evaluation.functional.exact import EmptyPolicy
from mmirstd.evaluation.functional.sweeps import ComponentSweep, Curve, PixelSweep
from mmirstd.io.files import write_atomically

_MARKED = 0.5


def draw_roc(sweeps: Mapping[str, PixelSweep], title: str = '') -> np.ndarray:
    """ROC curves by name, (H, W, 3) uint8 RGB.

    The false positive rate is logarithmic: targets are so few pixels that on a linear axis all curves lie in a corner.
    Lines that are straight on a linear axis, as the AUC takes them, are bent here. The left edge is half a pixel.
    """

    def plot(axes: Axes) -> None:
        lowest = min((0.5 / s.background_pixels for s in sweeps.values() if s.background_pixels), default=1e-6)
        for name, sweep in sweeps.items():
            _line(axes, _bent(sweep.roc(), lowest), f'{name} (AUC {_number(sweep.auc())})')
        axes.set(xscale='log', xlim=(lowest, 1), ylim=(-0.02, 1.02))
        axes.set(xlabel='false positive rate of pixels', ylabel='true positive rate of pixels')

    return _draw(sweeps, title, plot)


def draw_pr(sweeps: Mapping[str, PixelSweep], title: str = '') -> np.ndarray:
    """Precision over recall of pixels by name, (H, W, 3) uint8 RGB."""

    def plot(axes: Axes) -> None:
        for name, sweep in sweeps.items():
            _line(axes, sweep.pr(), f'{name} (AP {_number(sweep.average_precision)})')
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel='recall of pixels', ylabel='precision of pixels')

    return _draw(sweeps, title, plot)


def draw_pd_fa(sweeps: Mapping[str, ComponentSweep], title: str = '', *, max_fa: float = 100.0) -> np.ndarray:
    """Pd over Fa by name, (H, W, 3) uint8 RGB: thresholds as dots, and as steps the highest Pd at no more than that Fa.

    The legend has the area under the steps up to `max_fa` false pixels per million, see
    :meth:`ComponentSweep.pd_fa_area`. Fa is linear up to 1 and logarithmic above.
    """

    def plot(axes: Axes) -> None:
        highest = max_fa
        for name, sweep in sweeps.items():
            curve = sweep.pd_fa()
            highest = max(highest, curve.x.max())
            label = f'{name} (area to {max_fa:g}: {_number(sweep.pd_fa_area(max_fa))})'
            colour = _line(axes, curve, label, linestyle='none', marker='.', markersize=4)
            order = np.argsort(curve.x, kind='stable')
            steps = np.maximum.accumulate(curve.y[order])
            axes.step(curve.x[order], steps, where='post', color=colour, linewidth=1.2)
        axes.axvline(max_fa, color='0.6', linewidth=0.8, linestyle=':')
        axes.set_xscale('symlog', linthresh=1)
        axes.set(xlim=(0, highest * 1.5), ylim=(-0.02, 1.02), xlabel='Fa (false pixels per million)', ylabel='Pd')

    return _draw(sweeps, title, plot)


def pixel_csv(sweep: PixelSweep) -> bytes:
    """A CSV file with a row per threshold, ascending: tp, fp, fn, tn and the figures; what is undefined is empty."""
    tp, fp = sweep.tp, sweep.fp
    columns = {
        'threshold': sweep.thresholds,
        'tp': tp,
        'fp': fp,
        'fn': sweep.target_pixels - tp,
        'tn': sweep.background_pixels - fp,
        **sweep.figures(),
    }
    return _csv(columns)


def component_csv(sweep: ComponentSweep, *, empty: EmptyPolicy = 'skip') -> bytes:
    """A CSV file with a row per threshold, ascending: the counts and the figures, Fa in 1e-6."""
    names = ('tp', 'fp', 'fn', 'detected', 'components', 'false_components', 'false_pixels')
    columns = {'threshold': sweep.thresholds, **{name: getattr(sweep, name) for name in names}}
    columns['targets'] = np.full(len(sweep.thresholds), sweep.targets)
    return _csv({**columns, **sweep.figures(empty=empty)})


def save_curves(
    folder: str | Path,
    pixels: Mapping[str, PixelSweep],
    components: Mapping[str, ComponentSweep],
    *,
    title: str = '',
    max_fa: float = 100.0,
) -> list[Path]:
    """Write roc.png, pr.png and pd_fa.png and, for each name, pixels_NAME.csv and components_NAME.csv.

    An empty mapping gives none of its files. Nothing is written if one of the files exists.

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
        made['roc.png'] = lambda: _png(draw_roc(pixels, title))
        made['pr.png'] = lambda: _png(draw_pr(pixels, title))
    if components:
        made['pd_fa.png'] = lambda: _png(draw_pd_fa(components, title, max_fa=max_fa))
    made.update({f'pixels_{name}.csv': lambda s=sweep: pixel_csv(s) for name, sweep in pixels.items()})
    made.update({f'components_{name}.csv': lambda s=sweep: component_csv(s) for name, sweep in components.items()})
    there = [str(folder / name) for name in made if (folder / name).exists()]
    if there:
        raise FileExistsError(f'not overwritten: {", ".join(there)}')
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in made.items():
        write_atomically(folder / name, make())
    return [folder / name for name in made]


def _draw(sweeps: Mapping[str, object], title: str, plot: Callable[[Axes], None]) -> np.ndarray:
    if not sweeps:
        raise ValueError('there is no curve to draw')
    figure = Figure(figsize=(6.4, 4.8), dpi=120, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    plot(axes)
    axes.grid(color='0.9', linewidth=0.6)
    axes.set_axisbelow(True)
    axes.plot([], [], 'o', color='0.3', markerfacecolor='white', label=f'threshold {_MARKED:g}')
    axes.legend(fontsize=8)
    axes.set_title(title, fontsize=10)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _line(axes: Axes, curve: Curve, label: str, **style: object) -> str:
    """Draw a curve and, if it is one of the thresholds, a ring at 0.5; returns the colour."""
    (line,) = axes.plot(curve.x, curve.y, label=label, **{'linewidth': 1.4, **style})
    marked = curve.thresholds == _MARKED
    axes.plot(curve.x[marked], curve.y[marked], 'o', color=line.get_color(), markerfacecolor='white', zorder=3)
    return line.get_color()


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
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(columns)
    for row in zip(*(np.asarray(c).tolist() for c in columns.values()), strict=True):
        writer.writerow(['' if isinstance(v, float) and math.isnan(v) else v for v in row])
    return text.getvalue().encode()


def _png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, 'PNG', optimize=True)
    return file.getvalue()
