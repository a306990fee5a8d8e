"""Options that several subcommands have."""

import argparse
from collections.abc import Callable
from typing import Any

CONFIG_HELP = 'config file, or the name of a shipped config (`mmirstd models` lists them)'


def add_config(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    """Add the config and what changes it."""
    parser.add_argument('config', help=CONFIG_HELP, nargs='?' if optional else None)
    add_cfg_options(parser)
    parser.add_argument('--data-root', metavar='DIR', help='folder of the dataset; by default what the config says')


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``; the texts are read by :func:`mmirstd.apis.configuration.parse_options`."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='change parts of the config, e.g. train_dataloader.batch_size=4 "model.backbone.out_indices=(0,1)"',
    )


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what training and testing share."""
    parser.add_argument('--work-dir', metavar='DIR', help='where to write; by default work_dirs/CONFIG')
    parser.add_argument(
        '--allow-overlap',
        nargs='+',
        action='extend',
        default=[],
        metavar='NAME',
        help='evaluate on images of this dataset, or of this split of it, that the model was trained on, and say so in '
        "the report: NUAA-SIRST, 'NUAA-SIRST irsam/train'",
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    # Some launchers pass it; torchrun sets the variable instead.
    parser.add_argument('--local-rank', '--local_rank', type=int, help=argparse.SUPPRESS)


def at_least(least: float, kind: type = int) -> Callable[[str], float]:
    """Type of an option: a number that is not below ``least``."""

    def number(text: str) -> float:
        if not (value := kind(text)) >= least:
            raise argparse.ArgumentTypeError(f'must be at least {least}, got {text}')
        return value

    return number


def image_size(text: str) -> tuple[int, int]:
    """Type of an option: height and width as ``HxW``."""
    height, times, width = text.lower().partition('x')
    if not (times and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f'must be HxW such as 512x640, got {text}')
    return int(height), int(width)


def keywords(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of an API function that has them under the destinations of the options."""
    return {key: value for key, value in vars(args).items() if key not in ('command_line', 'local_rank')}


def report(**places: str | None) -> None:
    """Print where things are, on the first process of a job only."""
    from mmirstd.apis.running import say

    say('\n'.join(f'{name + ":":<10}{place}' for name, place in places.items() if place))
