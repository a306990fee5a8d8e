"""Find out what each part of a trained model gives: replace its output by a constant, and measure IoU again.

Zero stands in place of the output of one part at a time, then its own mean over space (or over tokens, where the output
has no axes of space). IoU is measured on the validation split of the config. A part whose replacement changes it by
less than 0.002 is called ineffective.
"""

import argparse

from mmirstd.cli.options import add_config, keywords


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their names are those of the arguments of :func:`mmirstd.apis.ablate_parts`."""
    add_config(parser)
    add = parser.add_argument
    add('checkpoint', nargs='?', help='checkpoint file or address; default: the weights that come with the config')
    add(
        '--parts',
        nargs='+',
        action='extend',
        default=[],
        metavar='PATTERN',
        help="only parts of these names, of any level: neck.sgem.2, 'backbone.levels.*' (default: all to --depth)",
    )
    add('--depth', type=int, default=2, metavar='N', help='levels of modules below the model (default: 2)')
    add('--images', type=int, metavar='N', help='use the first N images of the split (default: all)')
    add('--device', metavar='DEVICE', help='cpu, cuda or cuda:1 (default: the GPU where there is one)')
    add('--out', metavar='FILE', help='write the table: .csv, .json or .md')
    add('--overwrite', action='store_true', help='replace the file')


def run(args: argparse.Namespace) -> None:
    """Measure, and print the table."""
    from mmirstd.apis import ablate_parts

    print(ablate_parts(**keywords(args)))
    if args.out:
        print(f'written to {args.out}')
