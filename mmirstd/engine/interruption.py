"""A signal ends training between two iterations, in all processes at the same one, with a complete checkpoint."""

from datetime import timedelta
from typing import Any

import torch
import torch.distributed as torch_dist
from mmengine.dist import get_world_size
from mmengine.hooks import EMAHook
from torch import nn

from mmirstd.engine.distributed import peer_has_gone
from mmirstd.engine.hooks.resumable_checkpoint import ResumableCheckpointHook
from mmirstd.utils.interrupts import ECHO, Interrupted, PendingSignal, handled_signals


class JobVote:
    """Numbers that all processes of a job agree on, over gloo: it costs no step of a GPU.

    Args:
        timeout: Seconds after which waiting for another process is an error; None is PyTorch's.
    """

    def __init__(self, timeout: float | None = None) -> None:
        self._group: torch_dist.ProcessGroup | None = None
        self._alone = get_world_size() == 1
        if not self._alone and torch_dist.get_backend() != 'gloo':
            seconds = None if timeout is None else timedelta(seconds=timeout)
            self._group = torch_dist.new_group(backend='gloo', timeout=seconds)

    def greatest(self, number: int) -> int:
        """The greatest of the numbers that the processes give; all of them have to ask."""
        if self._alone:
            return number
        value = torch.tensor(number, dtype=torch.int64)
        torch_dist.all_reduce(value, torch_dist.ReduceOp.MAX, group=self._group)
        return int(value)


class InterruptibleMixin:
    """Has a runner's training end on Ctrl-C or SIGTERM as on purpose, in one process or many."""

    _signals: PendingSignal | None = None
    _common_batches = 0  # of the validation under way: as many as every process has

    def train(self) -> nn.Module:
        """Train.

        Raises:
            Interrupted: On Ctrl-C or SIGTERM, in any process of the job. Once training has begun, that is after the
                iteration, in all of them, and a checkpoint is written first.
        """
        with handled_signals(ECHO if self.distributed else 0.0) as self._signals:
            try:
                return super().train()
            except Exception as error:
                # The launcher ends this process too: that was its signal, which no iteration can heed any more.
                if self._signals.number is not None and peer_has_gone(error):
                    raise Interrupted(self._signals.number) from error
                raise

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call the hooks, then end if a signal has come."""
        if fn_name == 'before_train_iter' and self._signals and not self._signals.deferred:
            self._vote = JobVote((self.cfg.get('env_cfg') or {}).get('dist_cfg', {}).get('timeout'))
            self._signals.deferred = True
        super().call_hook(fn_name, **kwargs)
        if not (self._signals and self._signals.deferred):
            return
        validating = fn_name == 'after_val_iter'
        if fn_name == 'before_val_epoch':
            self._common_batches = -self._vote.greatest(-len(self.val_loop.dataloader))
        elif fn_name != 'after_train_iter' and not (validating and kwargs['batch_idx'] < self._common_batches):
            return
        elif number := self._vote.greatest(self._signals.number or 0):
            raise self._interrupted(number, validating)

    def _interrupted(self, number: int, validating: bool) -> Interrupted:
        """Write a checkpoint, and say which one it is."""
        saver = next((hook for hook in self.hooks if isinstance(hook, ResumableCheckpointHook)), None)
        if saver is None:
            end = '; the config has no mmirstd.ResumableCheckpointHook to write a checkpoint'
            return Interrupted(number, end, agreed=True)
        if validating:
            for hook in self.hooks:
                if isinstance(hook, EMAHook):  # the averaged weights are in the model's place
                    hook.after_val_epoch(self, {})
        path = saver.save_interrupted(self, validating)
        self._vote.greatest(0)  # a launcher ends all processes when the first one leaves: not before it is written
        return Interrupted(number, f': {path} is complete; go on with --resume', agreed=True)
