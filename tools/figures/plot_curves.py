"""Training curves as a picture: ``python tools/figures/plot_curves.py WORK_DIR [WORK_DIR ...] --out FILE.png``.

Reads what MMEngine's LocalVisBackend wrote (``vis_data/scalars.json`` of the newest run in each folder): the loss and
its smoothed course on the left, the validation metrics on the right; of a distillation the loss on held-out images.
"""

import argparse
import json
from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt
import numpy as np

from mmirstd.io.files import refuse_overwriting, write_atomically

METRICS = ('IoU', 'nIoU', 'Pd')
HELD_OUT = 'held_out_loss'


def read_scalars(work_dir: Path) -> tuple[list[dict], list[dict]]:
    """Return the records of training and of validation of the newest run in a work dir.

    Raises:
        SystemExit: If there is none.
    """
    runs = sorted(work_dir.glob('*/vis_data/scalars.json'))
    if not runs:
        raise SystemExit(f'error: {work_dir} holds no */vis_data/scalars.json; is it the work dir of a training?')
    records = [json.loads(line) for line in runs[-1].read_text().splitlines() if line.strip()]
    train = [r for r in records if 'loss' in r]
    val = [r for r in records if 'IoU' in r or HELD_OUT in r]
    if not train:
        raise SystemExit(f'error: {runs[-1]} has no record of a loss')
    return train, val


def smooth(values: np.ndarray, width: int = 5) -> np.ndarray:
    """Centered moving average whose window is cut at the ends."""
    kernel = np.ones(min(width, len(values)))
    return np.convolve(values, kernel, 'same') / np.convolve(np.ones(len(values)), kernel, 'same')


def plot(work_dirs: list[Path]) -> plt.Figure:
    """Draw the curves of one or several runs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), layout='constrained')
    runs = {work_dir: read_scalars(work_dir) for work_dir in work_dirs}
    distilled = {any(HELD_OUT in r for r in val) for _, val in runs.values()}
    if len(distilled) > 1:
        raise SystemExit('error: distillations and other trainings have different metrics: draw them apart')
    metrics = (HELD_OUT,) if distilled == {True} else METRICS
    for i, (work_dir, (train, val)) in enumerate(runs.items()):
        color = f'C{i}'
        steps, loss = (np.array([r[key] for r in train]) for key in ('step', 'loss'))
        left.plot(steps, loss, color=color, alpha=0.25)
        left.plot(steps, smooth(loss), color=color, label=work_dir.name)
        for key, style in zip(metrics, ('-', '--', ':'), strict=False):
            right.plot([r['step'] for r in val], [r[key] for r in val], style, color=color)
    left.set(xlabel='iteration', ylabel='loss', yscale='log')
    left.legend()
    right.set(xlabel='iteration', ylabel='on the validation split', ylim=(0, 1 if metrics == METRICS else None))
    handles = [
        plt.Line2D([], [], color='0.3', linestyle=s, label=k) for k, s in zip(metrics, ('-', '--', ':'), strict=False)
    ]
    right.legend(handles=handles, loc='lower right' if metrics == METRICS else 'upper right')
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


def main() -> None:
    """Read the command line and write the picture."""
    parser = argparse.ArgumentParser(description='Plot training curves.')
    parser.add_argument('work_dirs', nargs='+', type=Path, metavar='WORK_DIR')
    parser.add_argument('--out', type=Path, required=True, help='PNG, PDF or SVG to write')
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it exists')
    args = parser.parse_args()
    refuse_overwriting(args.out, args.overwrite)
    figure = plot(args.work_dirs)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    picture = BytesIO()
    figure.savefig(picture, dpi=110, format=args.out.suffix.lstrip('.'))
    write_atomically(args.out, picture.getvalue())
    print(args.out)


if __name__ == '__main__':
    main()
