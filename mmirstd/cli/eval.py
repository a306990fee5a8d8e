"""Evaluate saved predictions, of any code, by one or several protocols.

Pairs predictions with masks by name and prints one table. --out writes a report that holds all that is needed to
compute the metrics again; breakdowns, curves, intervals and pictures of the worst images come on request.
"""

import argparse
import sys
from pathlib import Path

from mmirstd.cli.options import at_least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument('pred_dir', type=Path, metavar='PRED_DIR', help='predictions: images, .npz, .npy or .mat')
    parser.add_argument('mask_dir', type=Path, metavar='MASK_DIR', help='masks, as published')
    parser.add_argument(
        '--preset',
        nargs='+',
        action='extend',
        metavar='NAME',
        help='protocols: exact (the default), dnanet, basicirstd, ..., or all',
    )
    parser.add_argument(
        '--set',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        dest='settings',
        help='change the presets, e.g. threshold=0.4 size=512; the page on protocols has the names',
    )
    files = parser.add_argument_group('files')
    files.add_argument('--images', type=Path, metavar='DIR', help='for pictures and signal-to-clutter ratios')
    files.add_argument('--split', metavar='NAME', help="text file of ids, or a name like 'NUAA-SIRST basicirstd/test'")
    files.add_argument('--nested', action='store_true', help='read folders below, too; they belong to the ids')
    for kind in ('pred', 'mask', 'img'):
        files.add_argument(
            f'--{kind}-suffix',
            metavar='SUFFIX',
            help='what follows the id in the names (default: usual ones are known)',
        )
    files.add_argument('--key', help='name of the array in .npz and .mat files')
    files.add_argument(
        '--labels',
        choices=['auto', 'yes', 'no'],
        default='auto',
        help='whether images hold labels 0 and 1 (default: if none holds another value)',
    )
    missing = files.add_mutually_exclusive_group()
    missing.add_argument(
        '--allow-missing',
        dest='missing',
        action='store_const',
        const='skip',
        default='refuse',
        help='leave out masks without a prediction',
    )
    missing.add_argument(
        '--missing-as-empty',
        dest='missing',
        action='store_const',
        const='empty',
        help='take them as empty predictions',
    )
    files.add_argument('--allow-extra', action='store_true', help='leave out predictions without a mask')
    files.add_argument('--allow-sizes', action='store_true', help='allow predictions of another size than their masks')
    out = parser.add_argument_group('output')
    out.add_argument('--json', type=Path, metavar='FILE', help='the report as JSON')
    out.add_argument('--out', type=Path, metavar='DIR', help='report.md, report.json, metrics.csv, images.csv and more')
    out.add_argument('--overwrite', action='store_true', help='allow replacing files')
    out.add_argument('--breakdown', action='store_true', help='by area and, with --images, by signal-to-clutter ratio')
    out.add_argument('--curves', action='store_true', help='ROC, precision-recall and Pd-Fa; pictures with --out')
    out.add_argument(
        '--thresholds', type=at_least(2), default=255, metavar='N', help='of the curves (default: %(default)s)'
    )
    out.add_argument(
        '--worst', type=at_least(0), default=0, metavar='N', help='pictures of the worst images; needs --out'
    )
    out.add_argument(
        '--worst-by', choices=['IoU', 'false_pixels', 'missed'], default='IoU', help='default: %(default)s'
    )
    out.add_argument(
        '--bootstrap', type=at_least(0), default=0, metavar='N', help='95 %% intervals from N resamples of images'
    )
    out.add_argument('--seed', type=at_least(0), default=0, help='of the resamples (default: %(default)s)')
    parser.add_argument('--workers', type=at_least(0), default=2, help='processes (default: %(default)s)')


def run(args: argparse.Namespace) -> None:
    """Evaluate, print the metrics and what else was asked for, and say where the report is."""
    from mmirstd.apis import evaluate_predictions

    evaluation = evaluate_predictions(
        args.pred_dir,
        args.mask_dir,
        presets=args.preset or ['exact'],
        settings=args.settings,
        img_dir=args.images,
        split=args.split,
        nested=args.nested,
        pred_suffix=args.pred_suffix,
        mask_suffix=args.mask_suffix,
        img_suffix=args.img_suffix,
        key=args.key,
        labels={'auto': None, 'yes': True, 'no': False}[args.labels],
        missing=args.missing,
        allow_extra=args.allow_extra,
        allow_sizes=args.allow_sizes,
        breakdown=args.breakdown,
        thresholds=args.thresholds if args.curves else 0,
        worst=args.worst,
        worst_by=args.worst_by,
        resamples=args.bootstrap,
        seed=args.seed,
        out=args.out,
        json=args.json,
        overwrite=args.overwrite,
        workers=args.workers,
        command=args.command_line,
    )
    print(evaluation)
    if places := [str(p) for p in (args.json, args.out and args.out / 'report.md') if p]:
        print(f'\nreport: {", ".join(places)}', file=sys.stderr)
