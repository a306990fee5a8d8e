"""Courses of trainings as a picture: ``python tools/figures/plot_courses.py RUN [RUN ...] --out FILE.png``.

A run is a work dir, or a log as text. A metric on the validation split is drawn over iterations and over minutes.
"""

import argparse
from pathlib import Path

from mmirstd.io.files import encode_png, refuse_overwriting, write_atomically
from mmirstd.visualization.training_courses import CourseError, draw_courses, read_course


def main() -> None:
    """Read the command line and write the picture."""
    parser = argparse.ArgumentParser(description='Plot courses of trainings.')
    parser.add_argument('runs', nargs='+', type=Path, metavar='RUN', help='work dir, or log')
    parser.add_argument('--metric', default='IoU', help='default: IoU')
    parser.add_argument('--out', type=Path, required=True, help='PNG to write')
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it exists')
    args = parser.parse_args()
    refuse_overwriting(args.out, args.overwrite, args.runs)
    try:
        pixels = draw_courses([read_course(run) for run in args.runs], args.metric)
    except (CourseError, FileNotFoundError) as error:
        raise SystemExit(f'error: {error}') from None
    write_atomically(args.out, encode_png(pixels, 'rgb'))
    print(args.out)


if __name__ == '__main__':
    main()
