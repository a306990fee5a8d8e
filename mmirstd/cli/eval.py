"""Evaluate saved predictions, of any code, by one or several protocols.

Pairs predictions with masks by name and prints one table. --out writes a report that holds all that is needed to
compute the metrics again; breakdowns, curves, intervals and pictures of the worst images come on request.
"""

import argparse
import sys
from pathlib import Path

from mmirstd.cli.options import at_least, keywords


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their destinations are the arguments of :func:`mmirstd.apis.evaluate_predictions`."""
    add = parser.add_argument
    add('pred_dir', type=Path, metavar='PRED_DIR', help='predictions: images, .npz, .npy or .mat')
    add('mask_dir', type=Path, metavar='MASK_DIR', help='masks, as published')
    several = {'nargs': '+', 'action': 'extend', 'default': []}
    add(
        '--preset',
        dest='presets',
        metavar='NAME',
        **several,
        help='protocols: exact (the default), dnanet, basicirstd, ..., or all',
    )
    add(
        '--set',
        dest='settings',
        metavar='KEY=VALUE',
        **several,
        help='change the presets, e.g. threshold=0.4 size=512; the page on protocols has the names',
    )
    add('--workers', type=at_least(0), default=2, help='processes (default: %(default)s)')

    files = parser.add_argument_group('files')
    add = files.add_argument
    add('--images', dest='img_dir', type=Path, metavar='DIR', help='for pictures and signal-to-clutter ratios')
    add('--split', metavar='NAME', help="text file of ids, or a name like 'NUAA-SIRST basicirstd/test'")
    add('--nested', action='store_true', help='read folders below, too; they belong to the ids')
    for kind in ('pred', 'mask', 'img'):
        add(
            f'--{kind}-suffix',
            metavar='SUFFIX',
            help='what follows the id in the names (default: usual ones are known)',
        )
    add('--key', help='name of the array in .npz and .mat files')
    add(
        '--labels',
        choices=['auto', 'yes', 'no'],
        default='auto',
        help='whether images hold labels 0 and 1 (default: if none holds another value)',
    )
    add(
        '--mask-threshold',
        type=float,
        default=127,
        metavar='VALUE',
        help='a mask pixel is target when its value is above (default: %(default)s; masks of 0 and 1 are labels)',
    )
    for kind, text in (
        ('target', 'of target pixels in masks; all others are background'),
        ('ignore', 'of mask pixels that count nowhere'),
    ):
        add(f'--{kind}-value', type=float, nargs='+', metavar='VALUE', help=f'values {text}')
    add('--allow-extra', action='store_true', help='leave out predictions without a mask')
    add('--allow-sizes', action='store_true', help='allow predictions of another size than their masks')
    missing = files.add_mutually_exclusive_group()
    for option, value, text in (
        ('--allow-missing', 'skip', 'leave out masks without a prediction'),
        ('--missing-as-empty', 'empty', 'take them as empty predictions'),
    ):
        missing.add_argument(option, dest='missing', action='store_const', const=value, default='refuse', help=text)

    add = parser.add_argument_group('output').add_argument
    add('--json', type=Path, metavar='FILE', help='the report as JSON')
    add('--out', type=Path, metavar='DIR', help='report.md, report.json, metrics.csv, images.csv and more')
    add('--overwrite', action='store_true', help='allow replacing files')
    add(
        '--breakdown',
        action='store_true',
        help='by area, distance to the border and, with --images, signal-to-clutter ratio',
    )
    add('--curves', action='store_true', help='ROC, precision-recall and Pd-Fa; pictures with --out')
    add('--thresholds', type=at_least(2), default=255, metavar='N', help='of the curves (default: %(default)s)')
    add('--worst', type=at_least(0), default=0, metavar='N', help='pictures of the worst images; needs --out')
    add('--worst-by', choices=['IoU', 'false_pixels', 'missed'], default='IoU', help='default: %(default)s')
    add(
        '--bootstrap',
        dest='resamples',
        type=at_least(0),
        default=0,
        metavar='N',
        help='95 %% intervals from N resamples of images',
    )
    add('--seed', type=at_least(0), default=0, help='of the resamples (default: %(default)s)')


def run(args: argparse.Namespace) -> None:
    """Evaluate, print the metrics and what else was asked for, and say where the report is."""
    from mmirstd.apis import evaluate_predictions

    options = keywords(args)
    options['presets'] = args.presets or ['exact']
    options['labels'] = {'auto': None, 'yes': True, 'no': False}[args.labels]
    if not options.pop('curves'):
        options['thresholds'] = 0
    print(evaluate_predictions(**options, command=args.command_line))
    if places := [str(p) for p in (args.json, args.out and args.out / 'report.md') if p]:
        print(f'\nreport: {", ".join(places)}', file=sys.stderr)
