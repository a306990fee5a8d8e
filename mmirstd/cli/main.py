"""Entry point of ``mmirstd`` and of the scripts in ``tools/``.

A subcommand is a module of this package with ``add_arguments(parser)`` and ``run(args)``. It imports torch and
MMEngine inside ``run``, so that ``mmirstd COMMAND --help`` answers at once.
"""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from mmirstd.utils.errors import ArgumentError, UserError, describe
from mmirstd.utils.interrupts import handled_signals
from mmirstd.version import __version__

COMMANDS: dict[str, str] = {
    # name of the subcommand -> one line of help; see command_module
    'train': 'train a model',
    'cache-teacher': 'run the teacher of a distillation once over all views, for training without it',
    'test': 'evaluate a model on the test set of its config, and draw its detections',
    'infer': 'find the targets in images: masks, pictures and a table',
    'app': 'show a page in the browser to find targets with',
    'calibrate': 'choose the threshold of a model for a budget of false alarms',
    'browse': 'draw samples after each transform of their pipeline, and measure a split',
    'prepare': 'check a download of a dataset, and prepare it for its dataset class',
    'synthesize': 'write synthetic scenes',
    'eval': 'evaluate saved predictions, of any code, by one or several protocols',
    'export': 'export a model to ONNX or torch.export',
    'benchmark': 'measure speed and memory of models side by side',
    'flops': 'count parameters and multiply-adds of a model by part',
    'ablate': 'compare variants of a config, each trained for equal CPU time',
    'parts': 'measure what each part of a trained model gives',
    'convert': 'convert a published checkpoint to the keys used here',
    'convert labels': 'make masks from boxes, outlines and points, or boxes from masks; draw splits',
    'publish': 'strip a checkpoint for publication',
    'models': 'list the shipped configs',
    'reproduce': 'train and test models on datasets, keep a record of each run, and write the results pages',
    'run': "run another project's script with the configs and parts of mmirstd",
}


def find_command(argv: Sequence[str]) -> tuple[str | None, list[str]]:
    """The command, of two words or of one, that a command line begins with, and what follows it."""
    for words in (2, 1):
        if (name := ' '.join(argv[:words])) in COMMANDS:
            return name, list(argv[words:])
    return None, list(argv)


def command_module(name: str) -> ModuleType:
    """The module of a command: its name, with an underscore between words and for a hyphen."""
    return import_module(f'mmirstd.cli.{name.replace(" ", "_").replace("-", "_")}')


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run a subcommand.

    Args:
        argv: The command line without the program's name; by default that of this process.

    Returns:
        The exit status; None is success.

    Raises:
        SystemExit: With one line, if something is wrong with what the command was given.
    """
    argv = sys.argv[1:] if argv is None else list(map(str, argv))
    name, rest = find_command(argv)
    if name is not None:
        command = command_module(name)
        parser = argparse.ArgumentParser(
            prog=f'mmirstd {name}',
            description=command.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(parser)
        args = parser.parse_args(rest)
        args.command_line = shlex.join(['mmirstd', *argv])
        try:
            return _run(command, args)
        except ArgumentError as e:
            parser.error(str(e))
    parser = argparse.ArgumentParser(
        prog='mmirstd',
        description='Infrared small target detection.',
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=18, width=100),
    )
    parser.add_argument('--version', action='version', version=f'mmirstd {__version__}')
    subparsers = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for name, line in COMMANDS.items():
        subparsers.add_parser(name, help=line, add_help=False)
    parser.parse_args(argv)
    return None


def _run(command: ModuleType, args: argparse.Namespace) -> int | None:
    if (rank := getattr(args, 'local_rank', None)) is not None:
        os.environ.setdefault('LOCAL_RANK', str(rank))

    one_of_several = int(os.environ.get('WORLD_SIZE') or os.environ.get('SLURM_NTASKS') or 1) > 1

    def run() -> int | None:
        try:
            return command.run(args)
        except KeyboardInterrupt as e:
            if one_of_several:
                raise
            print(str(e) or 'interrupted', file=sys.stderr, flush=True)
            raise SystemExit(128 + getattr(e, 'number', signal.SIGINT)) from None
        except Exception as e:
            if isinstance(e, ArgumentError) or _needs_traceback(e):
                raise
            rank = f'[rank {os.environ["RANK"]}] ' if 'RANK' in os.environ else ''
            raise SystemExit(f'{rank}error: {describe(e)}') from None

    if one_of_several:  # the launcher handles signals
        from mmirstd.engine.distributed import one_of_many

        return one_of_many(run)()
    with handled_signals():
        return run()


def _needs_traceback(error: Exception) -> bool:
    """Whether one line says too little: only for what goes wrong in a run after its first batch, or on request."""
    return bool(os.environ.get('MMIRSTD_TRACEBACK')) or (
        getattr(error, 'after_start', False) and not isinstance(error, UserError)
    )
