"""Checkpoints that lose nothing: an old one goes when the new one is complete, and resumed runs go on bit for bit."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mmengine import fileio
from mmengine.dist import all_gather_object, get_rank, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop, Runner

from mmirstd.engine.run_files import checkpoints_in_use, half_written, in_folder, was_written_by
from mmirstd.registry import HOOKS
from mmirstd.utils.random_state import rng_state, set_rng_state


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """MMEngine's hook, with these differences:

    - An older checkpoint, the last or the best, is deleted after the newer one is complete. With
      :class:`mmirstd.engine.StrictRunner`, which renames complete files, a loadable one is there at any moment.
    - Checkpoints hold the generators of every process (``meta['rng']``). A run that was killed and resumed then ends
      with the weights of one that was not, bit for bit, on the same CPU with as many processes and threads.
    - Validation leaves the generators as they were. Where the last run ended between a checkpoint and the validation
      due after it, that comes first when it is resumed, so that no best checkpoint is missed.

    Arguments are those of MMEngine's hook.
    """

    _resumed: dict | None = None  # meta of the checkpoint that is resumed from
    _held_rng: dict | None = None  # generators during validation
    _warned = False

    def before_train(self, runner: Runner) -> None:
        """Remove what an interrupted run left half-written, and validate if it still had to."""
        super().before_train(runner)
        if is_main_process() and os.path.isdir(self.out_dir):
            names = (self._resumed or {}).get('outdated') or ()
            outdated = dict.fromkeys(in_folder(name, self.out_dir) for name in names)  # each once, whatever its path
            kept = checkpoints_in_use(runner.message_hub.runtime_info, self.out_dir, self.filename_tmpl)
            run_id = getattr(runner, 'run_id', None)
            own = [path for path in outdated if path not in kept and was_written_by(run_id, path)]
            for path in (*half_written(self.out_dir), *own):
                runner.logger.info(f'removing {path}, which an interrupted run left behind')
                os.remove(path)
        if self._resumed is not None and _validation_due(runner):
            runner.logger.info(f'the validation due at iteration {runner.iter} comes first')
            runner.val_loop.run()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the generators of a checkpoint that is resumed from."""
        self._resumed = checkpoint.get('meta') if runner._resume else None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Continue the generators after resuming."""
        if self._resumed is not None:
            self._restore_rng(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note which files go when this one is complete, for a run that is killed in between."""
        checkpoint['meta']['outdated'] = [
            os.path.basename(path) for _, path in getattr(self.file_backend, 'pending', ())
        ]

    def before_val_epoch(self, runner: Runner) -> None:
        """Hold the generators."""
        self._held_rng = rng_state()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Put the generators back; save a checkpoint that is the best so far."""
        set_rng_state(self._held_rng)
        if not hasattr(self, 'file_backend'):  # validation alone, without training
            return
        # No key that begins with 'val': MMEngine would log it with the metrics.
        runner.message_hub.update_info('iter_validated', runner.iter)
        with self._deferred_removal():
            super().after_val_epoch(runner, metrics)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        self._warn_of_accumulation(runner)
        meta['rng'] = all_gather_object(rng_state())
        with self._deferred_removal():
            super()._save_checkpoint_with_step(runner, step, meta)

    def save_interrupted(self, runner: Runner, validating: bool) -> str:
        """Write a checkpoint between two iterations, unless there is one of this iteration, and return its path.

        Args:
            runner: Whose model holds its own weights, not their average.
            validating: Whether a validation is under way: the iteration is counted already then.
        """
        done = runner.iter + (not validating)
        if validating and self._held_rng is not None:
            set_rng_state(self._held_rng)
        by_epoch, template = self.by_epoch, self.filename_tmpl
        if by_epoch:  # in the middle of an epoch
            self.by_epoch, self.filename_tmpl = False, 'iter_{}.pth'
        path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(done))
        if path != self.last_ckpt:
            self._save_checkpoint_with_step(runner, done, meta={'epoch': runner.epoch, 'iter': done})
        self.by_epoch, self.filename_tmpl = by_epoch, template
        return path

    def _restore_rng(self, runner: Runner) -> None:
        states, self._resumed = self._resumed.get('rng'), None
        if states is None or len(states) != runner.world_size:
            had = f'of {len(states)} processes, and there are {runner.world_size}' if states else 'of no process'
            runner.logger.warning(
                f'the checkpoint has the random generators {had}: this run will differ from an uninterrupted one'
            )
        else:
            set_rng_state(states[get_rank()])

    def _warn_of_accumulation(self, runner: Runner) -> None:
        wrapper = runner.optim_wrapper
        wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        counts = {w: getattr(w, '_accumulative_counts', 1) for w in wrappers}
        between = [count for w, count in counts.items() if count > 1 and w._inner_count % count]
        if not self._warned and between:
            self._warned = True
            runner.logger.warning(
                f'gradients are accumulated over {max(between)} iterations and a checkpoint falls in between: it does '
                'not hold them, and a run resumed from it will differ. Make the interval a multiple'
            )

    @contextmanager
    def _deferred_removal(self) -> Iterator[None]:
        """Let MMEngine remove files when the block is done, and not if it fails."""
        if isinstance(self.file_backend, _Deferring):
            yield
            return
        original, self.file_backend = self.file_backend, _Deferring(self.file_backend)
        try:
            yield
            for remove, path in self.file_backend.pending:
                remove(path)
        finally:
            self.file_backend = original


def _by_iter(runner: Runner) -> bool:
    return isinstance(runner.train_loop, IterBasedTrainLoop)


def _validation_due(runner: Runner) -> bool:
    """Whether the train loop would have validated where the checkpoint was written, and it is not known to have."""
    loop = runner.train_loop
    if runner.val_loop is None or runner.message_hub.get_info('iter_validated', -1) == runner.iter:
        return False
    now, end = (loop.iter, loop.max_iters) if _by_iter(runner) else (loop.epoch, loop.max_epochs)
    loop._decide_current_val_interval()
    return now >= loop.val_begin and (now % loop.val_interval == 0 or now == end)


class _Deferring:
    """A file backend that puts removals off."""

    def __init__(self, backend: fileio.backends.BaseStorageBackend) -> None:
        self._backend = backend
        self.pending: list[tuple[Callable[[str], None], str]] = []

    def remove(self, path: str) -> None:
        self.pending.append((self._backend.remove, path))

    def rmtree(self, path: str) -> None:
        self.pending.append((self._backend.rmtree, path))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)
