"""Show a page in the browser, on this machine alone: drop images or videos, move the threshold, take the files.

It needs the extra ``app``, in an environment of its own (``make app``), since Gradio does not go with pillow 13.
"""

import argparse

from mmirstd.cli.options import at_least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add = parser.add_argument
    add(
        '--model',
        dest='models',
        nargs=2,
        action='append',
        default=[],
        metavar=('CONFIG', 'CHECKPOINT'),
        help='a model to choose, beside those whose weights come with the package; may be given several times',
    )
    add('--port', type=at_least(1), metavar='N', help='default: the first free one from 7860')
    add('--device', help="'cpu' or 'cuda:0'; default: the GPU where there is one")
    add('--max-megabytes', type=at_least(1), default=256, metavar='N', help='size of a file (default: 256)')
    add('--max-pixels', type=at_least(1), default=2**24, metavar='N', help='of an image (default: 16777216)')
    add('--max-frames', type=at_least(1), default=500, metavar='N', help='of a video that are shown (default: 500)')
    add('--no-browser', dest='browser', action='store_false', help='print the address alone')


def run(args: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    from mmirstd.app.page import serve
    from mmirstd.app.uploads import UploadLimits

    limits = UploadLimits(
        file_bytes=args.max_megabytes * 10**6,
        pixels=args.max_pixels,
        frames=args.max_frames,
        total_pixels=max(UploadLimits.total_pixels, args.max_pixels),
    )
    serve(args.models, port=args.port, device=args.device, limits=limits, browser=args.browser)
