"""Entry point of ``mmirstd`` and of the scripts in ``tools/``.

A subcommand is a module of this package with ``add_arguments(parser)`` and ``run(args)``. It imports torch and
MMEngine inside ``run``, so that ``mmirstd COMMAND --help`` answers at once.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from mmirstd.version import __version__

COMMANDS: dict[str, str] = {
    # name of the subcommand and of its module -> one line of help
}


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run a subcommand; returns its exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] in COMMANDS:
        command = import_module(f'mmirstd.cli.{argv[0]}')
        parser = argparse.ArgumentParser(prog=f'mmirstd {argv[0]}', description=command.__doc__)
        command.add_arguments(parser)
        return command.run(parser.parse_args(argv[1:]))
    parser = argparse.ArgumentParser(prog='mmirstd', description='Infrared small target detection.')
    parser.add_argument('--version', action='version', version=f'mmirstd {__version__}')
    subparsers = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for name, line in COMMANDS.items():
        subparsers.add_parser(name, help=line, add_help=False)
    parser.parse_args(argv)
    return None
