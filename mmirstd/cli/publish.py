"""Strip a checkpoint for publication.

OUT holds the weights that `mmirstd test` tests (with EMAHook the averaged ones) and what is known of them: provenance,
config, split, versions. Optimizer, schedulers and log are left out.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument('checkpoint', help='.pth or .safetensors file, or its address')
    parser.add_argument('out', help='.safetensors or .pth file to write')
    parser.add_argument('--half', action='store_true', help='round the weights to float16')
    parser.add_argument('--overwrite', action='store_true', help='replace the file if it exists')


def run(args: argparse.Namespace) -> None:
    """Publish, and print what is in the file."""
    from mmirstd.apis import publish

    print(publish(args.checkpoint, args.out, args.overwrite, args.half))
