"""See what a pipeline does, and what is in a split.

Draws samples of a config's split after each transform of its pipeline, and with --stats measures the whole split as its
files are, before any augmentation: printed, and written as CSV, JSON and a picture of histograms.
"""

import argparse
import sys

from mmirstd.cli.options import add_config, keywords


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their names are those of the arguments of :func:`mmirstd.apis.browse`."""
    add_config(parser)
    add = parser.add_argument
    add('--split', choices=['train', 'val', 'test'], default='train', help='default: train')
    add('--out-dir', metavar='DIR', help='default: work_dirs/CONFIG/browse_SPLIT')
    add('--num', type=int, default=4, help='samples to draw at random (default: 4; 0 for none)')
    add('--ids', nargs='+', action='extend', default=[], metavar='ID', help='draw these instead')
    add('--seed', type=int, default=0, help='of the choice and of the augmentation (default: 0)')
    add('--per-picture', type=int, default=1, metavar='N', help='samples side by side (default: 1)')
    add('--panel-size', type=int, default=256, metavar='PIXELS', help='long side of an image (default: 256)')
    add('--stats', action='store_true', help='measure the whole split')
    add('--surroundings', type=int, default=20, metavar='PIXELS', help="width of a target's (default: 20)")
    add('--workers', type=int, default=2, help='processes that load images for --stats (default: 2)')
    add('--overwrite', action='store_true', help='allow replacing files in the output folder')


def run(args: argparse.Namespace) -> None:
    """Draw and measure, and print the statistics."""
    from mmirstd.apis import browse
    from mmirstd.apis.browsing import STATISTICS_FILES

    found = browse(**keywords(args))
    if found.tables:
        print(found.tables)
        print(f'{", ".join(STATISTICS_FILES)} in {found.folder}', file=sys.stderr)
    print(f'{len(found.pictures)} pictures in {found.folder}', file=sys.stderr)
