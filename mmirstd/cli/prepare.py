"""Check a download of a public set, or your own data, and prepare it for its dataset class.

    mmirstd prepare --list
    mmirstd prepare nuaa-sirst ~/Downloads/sirst-master.zip
    mmirstd prepare irstd-1k ~/Downloads/IRSTD-1k --check-only

SOURCE is what was downloaded: a folder, also one above or below the right one, or a zip or tar archive, or several that
together hold the set. Every image and mask is decoded completely. What is missing or odd is reported file by file:
abridged here, in full in report.md and report.json. Files are copied as they are. A set can be prepared again at any
time: files that are there are compared, never replaced without --overwrite, and an interrupted run is completed.

The exit status is 0 if the set is usable, 1 if it is not, 2 if the command was wrong.
"""

import argparse
from pathlib import Path

from mmirstd.cli.options import keywords
from mmirstd.utils.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add('name', nargs='?', metavar='NAME', help="the set, see --list; 'folder' for your own data")
    add('sources', nargs='*', type=Path, metavar='SOURCE', help='folder or archive that was downloaded')
    add('--list', action='store_true', help='show the sets, their pages, licenses and numbers')
    add('-o', '--out', type=Path, metavar='DIR', help='where to write; by default data/ and the name')
    add('--check-only', action='store_true', help='write nothing but the report, if --report-dir is given')
    add('--report-dir', type=Path, metavar='DIR', help='where to write the report; by default --out')
    add('--link', choices=['hard', 'symbolic'], help='link to the files instead of copying them')
    add('--overwrite', action='store_true', help='allow replacing files in --out that differ')
    add('--skip-bad', action='store_true', help='leave out pairs with errors instead of writing nothing')
    add(
        '--binarize',
        action='store_true',
        help='write masks that are not {0, 255} with one channel as such; without, masks are as published',
    )
    add('--threshold', type=float, default=127, help='mask values above it are target (default %(default)s)')
    add(
        '--ratios',
        type=float,
        nargs=3,
        default=(0.7, 0.1, 0.2),
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='shares of the splits that are drawn where a set has none (default 0.7 0.1 0.2)',
    )
    add('--seed', type=int, default=0, help='of these splits (default %(default)s)')
    add('--workers', type=int, help='threads that decode; by default one per processor')
    add('--max-gib', type=float, default=128, help='refuse archives that unpack to more (default %(default)s)')


def run(args: argparse.Namespace) -> int:
    """Prepare or list, and print the report."""
    options = keywords(args)
    show_list = options.pop('list')
    if not show_list and not (args.name and args.sources):
        raise ArgumentError('NAME and SOURCE are needed; --list shows the names')
    from mmirstd.apis import describe_sets, prepare

    if show_list:
        print(describe_sets())
        return 0
    report = prepare(**options)
    print(report.to_text())
    if report.written_to:
        print(f'Report: {", ".join(map(str, report.written_to))}')
    return 0 if report.usable else 1
