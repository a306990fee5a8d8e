"""Train a model."""

import argparse

from mmirstd.cli.options import add_config, add_run_options, keywords, report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their destinations are the arguments of :func:`mmirstd.apis.train`."""
    add_config(parser)
    add_run_options(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const=True,
        default=False,
        metavar='CHECKPOINT',
        help='continue the latest run in the work dir (or start if there is none), or from this checkpoint',
    )
    parser.add_argument('--overwrite', action='store_true', help='allow replacing the checkpoints in the work dir')
    parser.add_argument('--amp', action='store_true', help='mixed precision; bfloat16 on a CPU')


def run(args: argparse.Namespace) -> None:
    """Train, and print where the checkpoints are."""
    from mmirstd.apis import train

    report(**train(**keywords(args))._asdict())
