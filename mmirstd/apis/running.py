"""A runner from its config to the end of its process group."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.runner import Runner

from mmirstd.engine.distributed import is_main, stop_distributed
from mmirstd.ops.samples import NonFiniteOutputError, non_finite_weights
from mmirstd.registry import RUNNERS


@contextmanager
def running(cfg: Config) -> Iterator[Runner]:
    """Build the runner that ``runner_type`` names, and end its process group after the block.

    An exception from a run that has processed a batch gets an attribute ``after_start``: it is then no matter of
    set-up, and a command line shows its traceback.
    """
    runner = None
    try:
        runner = RUNNERS.build(cfg)
        yield runner
    except Exception as e:
        if isinstance(e, NonFiniteOutputError):
            e.args = (f'{e}{non_finite_weights(runner.model)}',)
        e.after_start = getattr(runner, 'started', False)
        raise
    stop_distributed(runner)


def say(text: str) -> None:
    """Print on the first process only."""
    if is_main():
        print(text, flush=True)
