"""Train a model."""

import argparse

from mmirstd.cli.options import add_config, add_run_options, report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
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

    result = train(
        args.config,
        work_dir=args.work_dir,
        data_root=args.data_root,
        cfg_options=args.cfg_options,
        allow_overlap=args.allow_overlap,
        resume=args.resume,
        overwrite=args.overwrite,
        amp=args.amp,
        launcher=args.launcher,
    )
    report(**result._asdict())
