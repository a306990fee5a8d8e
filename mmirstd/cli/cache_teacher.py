"""Run the teacher of a distillation once over all views, and keep its features for training.

Training then takes them with `--cfg-options model.teacher_cache=OUT` and does not run the teacher. An interrupted run
is continued by the same command.
"""

import argparse

from mmirstd.cli.options import add_config, at_least, keywords


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options; their destinations are the arguments of :func:`mmirstd.apis.cache_teacher`."""
    add_config(parser)
    parser.add_argument('--out', required=True, metavar='DIR', help='folder of the cache')
    parser.add_argument(
        '--views', type=at_least(1), metavar='K', help='views of each training image; by default as the config says'
    )
    parser.add_argument('--batch-size', type=at_least(1), default=4, metavar='N', help='views at once (default 4)')
    parser.add_argument('--workers', type=at_least(0), default=1, metavar='N', help='loading processes (default 1)')


def run(args: argparse.Namespace) -> None:
    """Fill the cache, and say what is there."""
    from mmirstd.apis import cache_teacher

    print(cache_teacher(**keywords(args)))
