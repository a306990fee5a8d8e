"""Training curves as a picture: ``python tools/figures/plot_curves.py RUN [RUN ...] --out FILE.png``.

A run is a work dir, or a log as text. The loss is drawn over iterations; a metric on the validation split, or of a
distillation the loss on held-out images, over iterations and over minutes.
"""

import argparse
from pathlib import Path

from mmirstd.io.files import encode_png, refuse_overwriting, write_atomically
from mmirstd.visualization.training_curves import CurveError, draw_curves, read_curve


def main() -> None:
    """Read the command line and write the picture."""
    parser = argparse.ArgumentParser(description='Plot training curves.')
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN', help='work dir, or log')
    parser.add_argument('--metric', help='default: IoU, of a distillation held_out_loss')
    parser.add_argument('--out', type=Path, required=True, help='PNG to write')
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it exists')
    args = parser.parse_args()
    refuse_overwriting(args.out, args.overwrite, args.runs)
    try:
        pixels = draw_curves([read_curve(run) for run in args.runs], args.metric)
    except (CurveError, FileNotFoundError) as error:
        raise SystemExit(f'error: {error}') from None
    write_atomically(args.out, encode_png(pixels, 'rgb'))
    print(args.out)


if __name__ == '__main__':
    main()
