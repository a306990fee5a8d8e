"""A runner from its config to the end of its process group."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from mmirstd.checkpoints.loading import use_strict_loader
from mmirstd.engine.distributed import is_main, stop_distributed
from mmirstd.engine.run_files import checkpoint_folder
from mmirstd.engine.runner import StrictRunner, StrictRunnerMixin
from mmirstd.engine.sharded import StrictFlexibleRunner
from mmirstd.ops.samples import NonFiniteOutputError, non_finite_weights
from mmirstd.registry import RUNNERS
from mmirstd.utils.errors import UserError
from mmirstd.utils.locks import folder_lock

# What takes the place of MMEngine's runners: they would read a checkpoint as code.
STRICT = {Runner: StrictRunner, FlexibleRunner: StrictFlexibleRunner}


class RunnerTypeError(UserError, TypeError):
    """A config names a runner that is not strict."""


@contextmanager
def running(cfg: Config) -> Iterator[Runner]:
    """Build the runner that ``runner_type`` names, and end its process group after the block.

    The runner is strict, whatever the config names (:func:`use_strict_runner`). Meanwhile no other process can run in
    the same work dir or write checkpoints to the same folder.

    An exception from a run that has processed a batch gets an attribute ``after_start``: it is then no matter of
    set-up, and a command line shows its traceback.
    """
    runner = None
    try:
        use_strict_runner(cfg)
        folders = {cfg.work_dir, checkpoint_folder(cfg.work_dir, checkpoint_settings(cfg).get('out_dir'))}
        with folder_lock(*(f for f in folders if '://' not in f)) if is_main() else nullcontext():
            runner = RUNNERS.build(cfg)
            yield runner
    except Exception as e:
        if isinstance(e, NonFiniteOutputError):
            e.args = (f'{e}{non_finite_weights(runner.model)}',)
        e.after_start = getattr(runner, 'started', False)
        raise
    stop_distributed(runner)


def checkpoint_settings(cfg: Config) -> Mapping[str, Any]:
    """What a config says of the hook that writes checkpoints."""
    return (cfg.get('default_hooks') or {}).get('checkpoint') or {}


def use_strict_runner(cfg: Config) -> None:
    """Have checkpoints read strictly: in place of MMEngine's runners come those that do.

    Raises:
        RunnerTypeError: If the config names a runner of another package.
    """
    use_strict_loader()
    kind = cfg.get('runner_type', 'Runner')
    runner = RUNNERS.get(kind) if isinstance(kind, str) else kind
    if not isinstance(runner, type | None):
        raise RunnerTypeError(f'runner_type={kind!r}: must be the name of a runner, such as mmirstd.StrictRunner')
    if runner in STRICT:
        cfg.runner_type = f'mmirstd.{STRICT[runner].__name__}'
        say(f'{cfg.runner_type} takes the place of {runner.__name__}: checkpoints are read as plain data only')
    elif runner is not None and not issubclass(runner, StrictRunnerMixin):
        raise RunnerTypeError(
            f'runner_type={kind!r} may run code that a checkpoint holds: derive {runner.__name__} from '
            'mmirstd.engine.StrictRunner'
        )


def say(text: str) -> None:
    """Print on the first process only."""
    if is_main():
        print(text, flush=True)
