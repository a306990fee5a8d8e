"""What ``tools/train.py`` and ``tools/test.py`` share: options, config, and errors in one line."""

import argparse
import inspect
import os
import os.path as osp
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from difflib import get_close_matches
from types import SimpleNamespace

from mmengine.config import Config, DictAction
from mmengine.runner import Runner

with redirect_stdout(sys.stderr):  # mmseg prints here what is not installed; a tool's output may be JSON
    import mmseg.datasets  # noqa: F401

from mmirstd.checkpoints.loading import latest_checkpoint
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.engine import CollapseError
from mmirstd.engine.distributed import stop_distributed
from mmirstd.engine.provenance import OverlapError, allowed_names
from mmirstd.registry import RUNNERS
from mmirstd.utils.data_root import check_data_root, set_data_root

# What the runner and the tools read from a config; anything else at top level is a variable of the file.
CONFIG_KEYS = (frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}) | {
    'activation_checkpointing', 'allow_overlap', 'compile', 'efficient_conv_bn_eval', 'find_unused_parameters',
    'model_wrapper_cfg', 'runner_type', 'strategy', 'strict_load', 'sync_bn', 'tta_model',
    'tta_pipeline',
}  # fmt: skip


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of training and testing."""
    parser.add_argument('--work-dir', metavar='DIR', help='where to write; by default work_dirs/CONFIG')
    parser.add_argument('--data-root', metavar='DIR', help='folder of the dataset; by default what the config says')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='change parts of the config, e.g. train_dataloader.batch_size=4 "model.backbone.out_indices=(0,1)"',
    )
    parser.add_argument(
        '--allow-overlap',
        nargs='+',
        action='extend',
        default=[],
        metavar='NAME',
        help='evaluate on images of this dataset, or of this list of it, that the model was trained on, and say so in '
        "the report: NUAA-SIRST, 'NUAA-SIRST irsam/train'",
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none')
    # Some launchers pass it; torchrun sets the variable instead.
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace, loaders: tuple[str, ...], subfolder: str = '') -> Config:
    """Read the config and apply the common options; see that the data folders of ``loaders`` exist.

    ``subfolder`` goes below the default work dir.

    Raises:
        SystemExit: With one line for the user if a file, key or folder does not exist.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if not osp.isfile(args.config):
        raise SystemExit(f'error: there is no config file {args.config}')
    cfg = Config.fromfile(args.config)
    for key in args.cfg_options:
        check_option(cfg, key)
    cfg.merge_from_dict(args.cfg_options)
    cfg.launcher = args.launcher
    if args.allow_overlap:
        cfg.allow_overlap = allowed_names(cfg.get('allow_overlap') or []) + args.allow_overlap
    default = cfg.get('work_dir') or osp.join('work_dirs', osp.splitext(osp.basename(args.config))[0])
    cfg.work_dir = osp.normpath(args.work_dir or osp.join(default, subfolder))
    if args.data_root:
        set_data_root(cfg, args.data_root)
    check_data_root(cfg, loaders)
    return cfg


def check_option(cfg: Config, key: str) -> None:
    """See that changing ``key`` has an effect.

    Raises:
        SystemExit: If it is no key of a config, or a variable whose value is already in the parts built from it.
    """
    top = key.split('.', 1)[0]
    if top in CONFIG_KEYS:
        return
    if top == 'data_root':
        raise SystemExit('error: --cfg-options data_root: use --data-root, which reaches all datasets')
    if top in cfg:
        raise SystemExit(
            f'error: --cfg-options {key}: {top} is a variable of the config file, and changing it here would not '
            'reach the parts built from it; change those (for example train_dataloader.batch_size)'
        )
    close = get_close_matches(top, CONFIG_KEYS, 1)
    advice = f'; did you mean {close[0]}?' if close else ''
    raise SystemExit(f'error: --cfg-options {key}: configs have no {top}{advice}')


def set_start(cfg: Config, resume: str | None, overwrite: bool) -> None:
    """Let training start anew, or continue from ``resume``: a checkpoint, or ``'auto'`` for the latest in the work dir.

    Raises:
        SystemExit: If it would replace the checkpoints of another run, and ``overwrite`` is false.
        CheckpointError: If a checkpoint is missing.
    """
    found = sorted(f for f in os.listdir(cfg.work_dir) if f.endswith('.pth')) if osp.isdir(cfg.work_dir) else []
    checkpoint = latest_checkpoint(cfg.work_dir) if resume == 'auto' else resume
    if resume:
        say(f'resuming from {checkpoint}' if checkpoint else f'nothing to resume in {cfg.work_dir}: starting anew')
    same_run = checkpoint and osp.realpath(osp.dirname(checkpoint)) == osp.realpath(cfg.work_dir)
    if found and not same_run and not overwrite:
        raise SystemExit(
            f'error: {cfg.work_dir} holds checkpoints of an earlier run ({", ".join(found[:3])}): continue it with '
            '--resume, choose another --work-dir, or allow replacing them with --overwrite'
        )
    if checkpoint:
        cfg.load_from = checkpoint
    cfg.resume = bool(checkpoint)
    if cfg.get('load_from'):
        check_checkpoint(cfg.load_from)


def check_checkpoint(name: str) -> None:
    """See early that a checkpoint exists, unless it is an address.

    Raises:
        CheckpointError: If not.
    """
    if '://' not in name and not osp.isfile(name):
        raise CheckpointError(f'there is no checkpoint file {name}')


def build_runner(cfg: Config) -> Runner:
    """Build the runner that ``runner_type`` names."""
    return RUNNERS.build(cfg)


@contextmanager
def one_line_errors() -> Iterator[SimpleNamespace]:
    """Turn failures of set-up into one line on stderr; give the traceback for those of a run.

    The block sets ``runner`` of what it gets, and until that has processed a batch, everything that goes wrong is taken
    for a matter of set-up. ``MMIRSTD_TRACEBACK=1`` shows tracebacks always. Ends a distributed job's process group.

    Raises:
        SystemExit: With the line.
    """
    state = SimpleNamespace(runner=None)
    try:
        yield state
    except Exception as e:
        running = getattr(state.runner, 'started', False)
        expected = isinstance(e, (CheckpointError, CollapseError, OverlapError))
        if os.environ.get('MMIRSTD_TRACEBACK') or (running and not expected):
            raise
        raise SystemExit(f'{_rank()}error: {describe(e)}') from None
    else:
        stop_distributed(state.runner)


def _rank() -> str:
    return f'[rank {os.environ["RANK"]}] ' if 'RANK' in os.environ else ''


def describe(error: Exception) -> str:
    """One line: the message, and for errors that are not raised for the user also their type."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    message = ' '.join(message.split())
    if isinstance(error, (CheckpointError, CollapseError, OSError, OverlapError)):
        return message
    if not message and (frames := traceback.extract_tb(error.__traceback__)):  # a bare assertion
        message = f'{frames[-1].line} ({frames[-1].filename}:{frames[-1].lineno})'
    return f'{type(error).__name__}: {message} (MMIRSTD_TRACEBACK=1 shows where)'


def say(text: str) -> None:
    """Print on the first process only."""
    if os.environ.get('RANK', '0') == '0':
        print(text, flush=True)


def report(**places: str | None) -> None:
    """Print where things are."""
    say('\n'.join(f'{name + ":":<10}{place}' for name, place in places.items() if place))
