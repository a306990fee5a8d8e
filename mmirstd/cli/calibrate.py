"""Choose the threshold of a model for a budget of false alarms, on the validation split of its config.

With --out, the weights are written with their operating point. `mmirstd infer` and `mmirstd export` then use it, unless
--threshold says another.
"""

import argparse

from mmirstd.cli.options import add_config, keywords


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their destinations are the arguments of :func:`mmirstd.apis.calibrate`."""
    add_config(parser)
    add = parser.add_argument
    add('checkpoint', nargs='?', help='weights, file or address; default: those that come with the model')
    criteria = parser.add_mutually_exclusive_group(required=True)
    criteria.add_argument('--budget-per-image', type=float, metavar='X', help='at most X false alarms per image')
    criteria.add_argument('--budget-fa', type=float, metavar='X', help='Fa of at most X false pixels per million')
    criteria.add_argument('--best-f1', action='store_true', help='the best F1, over pixels')
    add('--out', metavar='FILE', help='write the weights with the operating point: .safetensors or .pth')
    add('--overwrite', action='store_true', help='replace FILE if it exists')
    add('--device', help="'cpu' or 'cuda:0'; default: the GPU where there is one")
    add(
        '--allow-overlap',
        nargs='+',
        action='extend',
        default=[],
        metavar='NAME',
        help='choose on images of this dataset, or of this split of it, that the model was trained on',
    )


def run(args: argparse.Namespace) -> None:
    """Choose, and print the metrics with and without."""
    from mmirstd.apis import calibrate

    print(calibrate(**keywords(args)))
