"""Find the targets in images, and write masks, pictures and a table of targets."""

import argparse
import sys

from mmirstd.cli.options import CONFIG_HELP, add_cfg_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument('images', nargs='+', metavar='IMAGES', help='image files, folders of them, or glob patterns')
    parser.add_argument('--model', required=True, metavar='CONFIG', help=CONFIG_HELP)
    parser.add_argument('--checkpoint', required=True, metavar='FILE', help='weights: checkpoint file or address')
    parser.add_argument('--out', required=True, metavar='DIR', help='folder to write to')
    parser.add_argument(
        '--threshold', type=float, help="a pixel is target when its probability is above; default: the model's own"
    )
    parser.add_argument(
        '--connectivity', type=int, choices=[4, 8], default=8, help='neighbors that make a target (default: 8)'
    )
    parser.add_argument('--min-area', type=int, default=1, metavar='PIXELS', help='leave out smaller targets')
    parser.add_argument('--batch-size', type=int, default=1, metavar='N', help='images of equal size at once')
    parser.add_argument('--device', help="'cpu' or 'cuda:0'; default: the GPU where there is one")
    parser.add_argument('--no-pictures', action='store_true', help='draw nothing')
    parser.add_argument(
        '--probabilities',
        choices=['png', 'npz'],
        help='also write the probability maps, 255 * p or as they are; `mmirstd eval` reads both',
    )
    parser.add_argument('--tta', action='store_true', help='average over the image and its mirror images')
    parser.add_argument('--overwrite', action='store_true', help='replace files of an earlier run')
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> int:
    """Predict; the exit status is 1 if images could not be read."""
    from mmirstd.apis import infer

    summary = infer(
        args.images,
        args.model,
        args.checkpoint,
        args.out,
        threshold=args.threshold,
        connectivity=args.connectivity,
        min_area=args.min_area,
        batch_size=args.batch_size,
        device=args.device,
        cfg_options=args.cfg_options,
        pictures=not args.no_pictures,
        probabilities=args.probabilities,
        tta=args.tta,
        overwrite=args.overwrite,
    )
    print(f'{summary.targets} targets in {summary.images} images: {summary.out}', flush=True)
    for name, reason in summary.failures.items():
        print(f'not read: {reason if name in reason else f"{name}: {reason}"}', file=sys.stderr)
    return 1 if summary.failures else 0
