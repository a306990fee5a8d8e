"""Export a model to ONNX or torch.export: raw pixels in, target probabilities out.

The file holds normalization, padding and the folded network. Threshold, class names and how files become levels of 0 to
255 are in its metadata. It is compared with PyTorch before it is kept.
"""

import argparse

from mmirstd.cli.options import CONFIG_HELP, add_cfg_options, image_size, keywords
from mmirstd.utils.configs import DEFAULT_MODEL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their destinations are the arguments of :func:`mmirstd.apis.export`."""
    add = parser.add_argument
    add('config', nargs='?', default=DEFAULT_MODEL, help=f'{CONFIG_HELP}; default: {DEFAULT_MODEL}')
    add('checkpoint', nargs='?', help='weights, file or address; default: those that come with the model')
    add('--out', required=True, metavar='FILE', help='file to write: .onnx, or .pt2 for torch.export')
    add('--static', type=image_size, metavar='HxW', help='one image of this size; default: batch and size are open')
    add('--channels', type=int, choices=[1, 3], default=1, help='of the images: 1, gray (default), or 3, RGB')
    add('--dtype', choices=['uint8', 'float32'], default='uint8', help='of the images (default: uint8)')
    add('--threshold', type=float, help="goes into the file; default: the weights' operating point, or the model's own")
    add('--images', nargs='+', action='extend', metavar='IMAGES', help='compare on these; default: synthetic scenes')
    add('--tolerance', type=float, default=1e-3, metavar='P', help='largest difference of probability (default: 1e-3)')
    add('--int8', action='store_true', help='also write NAME.int8.onnx, in 8 bits, and measure both')
    add(
        '--calibrate-images',
        nargs='+',
        action='extend',
        metavar='IMAGES',
        help='training images to take the ranges of 8 bits from',
    )
    add('--data-root', metavar='DIR', help='folder of the dataset: IoU, Pd and Fa of both on the validation split')
    add('--overwrite', action='store_true', help='replace files that exist')
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Export, and print the comparison."""
    from mmirstd.apis import export

    print(export(**keywords(args)))
