"""Find the targets in images and videos, and write masks, pictures and tables of targets."""

import argparse
import sys

from mmirstd.cli.options import CONFIG_HELP, add_cfg_options, keywords
from mmirstd.utils.configs import DEFAULT_MODEL
from mmirstd.utils.text import count_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their destinations are the arguments of :func:`mmirstd.apis.infer`."""
    add = parser.add_argument
    add('images', nargs='+', metavar='IMAGES', help='image files, folders of them, glob patterns, or videos')
    add('--out', required=True, metavar='DIR', help='folder to write to')
    add('--model', default=DEFAULT_MODEL, metavar='CONFIG', help=f'{CONFIG_HELP}; default: {DEFAULT_MODEL}')
    add('--checkpoint', metavar='FILE', help='weights, file or address; default: those that come with the model')
    add('--threshold', type=float, help="a pixel is target when its probability is above; default: the model's own")
    add('--connectivity', type=int, choices=[4, 8], default=8, help='neighbors that make a target (default: 8)')
    add('--min-area', type=int, default=1, metavar='PIXELS', help='leave out smaller targets')
    add('--batch-size', type=int, default=1, metavar='N', help='images of equal size at once')
    add('--device', help="'cpu' or 'cuda:0'; default: the GPU where there is one")
    add('--no-pictures', dest='pictures', action='store_false', help='draw nothing')
    add(
        '--probabilities',
        choices=['png', 'npz'],
        help='also write the probability maps, 255 * p or as they are; `mmirstd eval` reads both',
    )
    add(
        '--tile',
        type=int,
        metavar='SIZE',
        help='cut larger images into tiles of SIZE x SIZE pixels, 0: never; default: '
        "the model's, or else 1024, for images of more than 1.5 x 1.5 tiles",
    )
    add('--overlap', type=int, metavar='N', help='pixels that neighboring tiles share (default: a quarter of a tile)')
    add('--tta', action='store_true', help='average over the image and its mirror images')
    add('--link', action='store_true', help='join detections over frames into tracks (extra video)')
    add('--overwrite', action='store_true', help='replace files of an earlier run')
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> int:
    """Predict; the exit status is 1 if images failed."""
    from mmirstd.apis import infer

    summary = infer(**keywords(args))
    seen = [count_of(summary.images, 'image')] if summary.images or not summary.sequences else []
    seen += [f'{count_of(sequence.frames, "frame")} of {sequence.name}' for sequence in summary.sequences]
    print(f'{count_of(summary.targets, "target")} in {", ".join(seen)}: {summary.out}', flush=True)
    for name, reason in summary.failures.items():
        print(f'no prediction: {reason if name in reason else f"{name}: {reason}"}', file=sys.stderr)
    return 1 if summary.failures else 0
