"""Evaluate a model on the test set of its config, and draw what it found, what it missed and its false alarms."""

import argparse

from mmirstd.cli.options import add_config, add_run_options, keywords, report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their destinations are the arguments of :func:`mmirstd.apis.test`."""
    add_config(parser)
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='checkpoint file or address; default: the one that comes with the model',
    )
    add_run_options(parser)
    parser.add_argument('--show-dir', metavar='DIR', help='draw every image with its detections into this folder')
    parser.add_argument(
        '--preset',
        dest='presets',
        nargs='+',
        action='extend',
        default=[],
        metavar='NAME',
        help='evaluate as published code does, side by side: exact (the default), dnanet, basicirstd, ..., or all',
    )
    parser.add_argument('--out', metavar='DIR', help='save the predictions into this folder')
    parser.add_argument(
        '--out-format',
        choices=['png', 'npz'],
        default='png',
        help='png: 255 * p, at least 128 where p > 0.5 (default); npz: the probabilities',
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='allow replacing files in the folders of --show-dir and --out'
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help="average over the image and its mirror images, or what the config's tta_pipeline says",
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate, and print where the pictures are."""
    from mmirstd.apis import test

    result = test(**keywords(args))
    report(log=result.log, pictures=args.show_dir, out=args.out)
