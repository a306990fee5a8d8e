"""Check a download of a public set, or your own data, and prepare it for its dataset class.

    python tools/dataset_converters/prepare_dataset.py --list
    python tools/dataset_converters/prepare_dataset.py nuaa-sirst ~/Downloads/sirst-master.zip
    python tools/dataset_converters/prepare_dataset.py irstd-1k ~/Downloads/IRSTD-1k --check-only

SOURCE is what was downloaded: a folder, also one above or below the right one, or a zip or tar archive, or several that
together hold the set. Every image and mask is decoded completely, and what is missing or odd is reported file by file:
abridged here, in full in report.md and report.json. Files are copied as they are. The set can be prepared again at any
time: files that are there are compared, never replaced without --overwrite, and an interrupted run is completed.

The exit status is 0 if the set is usable, 1 if it is not, 2 if the command was wrong.
"""

import argparse
import os
import sys
from pathlib import Path

from mmengine.logging import MMLogger
from mmengine.utils import ProgressBar

from mmirstd.datasets.prepare import SETS, Limits, Options, check_report_folder, describe_sets, prepare


class Progress:
    """A bar per step on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        self.step, self.bar = None, None

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` are done."""
        if not sys.stderr.isatty():
            return
        if step != self.step:
            self.end()
            self.step, self.bar = step, ProgressBar(total, start=False, file=sys.stderr)
            print(step, file=sys.stderr)
            self.bar.start()
        self.bar.update()

    def end(self) -> None:
        """Leave the line of the last bar."""
        if self.bar is not None:
            print(file=sys.stderr)
        self.step, self.bar = None, None


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', nargs='?', choices=SETS, metavar='NAME', help=f'the set: {", ".join(SETS)}')
    parser.add_argument('sources', nargs='*', type=Path, metavar='SOURCE', help='folder or archive that was downloaded')
    parser.add_argument('--list', action='store_true', help='show the sets, their pages, conditions and numbers')
    parser.add_argument('-o', '--out', type=Path, metavar='DIR', help='where to write; by default data/ and the name')
    parser.add_argument(
        '--check-only', action='store_true', help='write nothing but the report, if --report-dir is given'
    )
    parser.add_argument('--report-dir', type=Path, metavar='DIR', help='where to write the report; by default --out')
    parser.add_argument('--link', choices=['hard', 'symbolic'], help='link to the files instead of copying them')
    parser.add_argument('--overwrite', action='store_true', help='replace files in --out that differ')
    parser.add_argument(
        '--skip-bad', action='store_true', help='leave out pairs with errors instead of writing nothing'
    )
    parser.add_argument(
        '--binarise',
        '--binarize',
        action='store_true',
        help='write masks that are not {0, 255} with one channel as such; without, masks are as published',
    )
    parser.add_argument('--threshold', type=float, default=127, help='values above it are target (default %(default)s)')
    parser.add_argument(
        '--ratios',
        type=float,
        nargs=3,
        default=(0.7, 0.1, 0.2),
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='shares of the lists that are drawn where a set has none (default 0.7 0.1 0.2)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of these lists (default %(default)s)')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='threads that decode')
    parser.add_argument(
        '--max-gib', type=float, default=128, help='refuse archives that unpack to more (default %(default)s)'
    )
    args = parser.parse_args()
    if args.list:
        return args
    if not args.name or not args.sources:
        parser.error('NAME and SOURCE are needed; --list shows the names')
    if args.out is None:
        if args.name == 'folder' and not args.check_only:
            parser.error('--out is needed for your own data')
        args.out = Path('data') / SETS[args.name].name
    if min(args.ratios) < 0 or args.ratios[0] == 0 or abs(sum(args.ratios) - 1) > 1e-6:
        parser.error(f'--ratios must be >= 0, the first > 0, and add up to 1, got {args.ratios}')
    if args.threshold < 0 or args.seed < 0 or args.workers < 1 or args.max_gib <= 0:
        parser.error('--threshold and --seed must be >= 0, --workers >= 1, --max-gib > 0')
    return args


def main() -> int:
    """Prepare or list."""
    args = parse_args()
    if args.list:
        print(describe_sets())
        return 0
    # What the dataset class says of its splits is in the report.
    MMLogger.get_instance('prepare_dataset').setLevel('ERROR')
    options = Options(
        link=args.link,
        overwrite=args.overwrite,
        skip_bad=args.skip_bad,
        binarise=args.binarise,
        threshold=args.threshold,
        ratios=tuple(args.ratios),
        seed=args.seed,
        workers=args.workers,
        limits=Limits(total_bytes=int(args.max_gib * 2**30)),
    )
    report_dir = args.report_dir or (None if args.check_only else args.out)
    progress = Progress()
    try:
        if report_dir:
            check_report_folder(report_dir)
        report = prepare(SETS[args.name], args.sources, None if args.check_only else args.out, options, progress)
        if report_dir:
            report.write(report_dir)
    except (ValueError, OSError) as error:
        progress.end()
        print(f'error: {error}', file=sys.stderr)
        return 1
    progress.end()
    print(report.to_text())
    if report_dir:
        print(f'Report: {report_dir / "report.md"}, {report_dir / "report.json"}')
    return 0 if report.usable else 1


if __name__ == '__main__':
    sys.exit(main())
