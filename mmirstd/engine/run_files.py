"""The files of a run. It deletes, chooses and resumes only those that stand in its own folder and that it wrote itself.

A checkpoint names others by path: the best one so far, older ones that may go. A path in a checkpoint counts as the
name of a file within the folder of the run, so a folder that was moved or copied is worth what the original is. Whether
the run wrote that file is told by the run's id, which every checkpoint has in its ``meta``.
"""

import hashlib
import ntpath
import os
import re
import uuid
from os import path as osp
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process, master_only
from mmengine.hooks import CheckpointHook
from mmengine.runner import IterBasedTrainLoop

from mmirstd.checkpoints.loading import latest_checkpoint, read_meta
from mmirstd.checkpoints.resumable import RUN_ID, ResumeFields
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.engine.seeding import check_rng_state
from mmirstd.io.files import write_atomically

# First line of a config that a run writes, with the hash of what follows.
_MARK = '# Written by a run of mmirstd. A later one replaces this file if it is unchanged: sha256 '


def checkpoint_folder(work_dir: str, out_dir: str | os.PathLike | None) -> str:
    """Folder of a run's checkpoints: ``work_dir``, or as MMEngine has it a folder of its name below ``out_dir``."""
    if out_dir is None or os.fspath(out_dir) == work_dir:
        return work_dir
    return osp.join(os.fspath(out_dir), osp.basename(work_dir.rstrip(osp.sep)))


def in_folder(name: str, folder: str) -> str:
    """The path in ``folder`` of a file that a checkpoint names by any path, of this or another machine.

    >>> in_folder('/data/../elsewhere/best_IoU_iter_4.pth', 'run'), in_folder('C:\\\\runs\\\\iter_2.pth', 'run')
    ('run/best_IoU_iter_4.pth', 'run/iter_2.pth')
    """
    return osp.join(folder, ntpath.basename(name))


def stands_in(path: str, folder: str) -> bool:
    """Whether a file is one of those directly in a folder."""
    return osp.realpath(osp.dirname(osp.abspath(path))) == osp.realpath(folder)


def was_written_by(run_id: str | None, path: str) -> bool:
    """Whether a file is a checkpoint that this run wrote. What cannot be read, or is a link, it did not write."""
    if run_id is None or osp.islink(path) or not osp.isfile(path):
        return False
    try:
        return read_meta(path).get(RUN_ID) == run_id
    except CheckpointError:
        return False


def half_written(folder: str, name: str = r'.+\.pth') -> list[Path]:
    """Files of which a killed run wrote a part only. No other run is writing while the folder is locked.

    Args:
        folder: Where they are.
        name: A regular expression for what they were to be; by default checkpoints.
    """
    unfinished = re.compile(rf'\.{name}\.\d+\.tmp')  # as whole_file() calls them
    return [path for path in Path(folder).iterdir() if unfinished.fullmatch(path.name) and path.is_file()]


def checkpoints_in_use(info: dict[str, Any], folder: str, template: str) -> set[str]:
    """The last, the best and the kept checkpoints that a message hub names, see :func:`own_entries`."""
    named = [v for k, v in info.items() if k == 'last_ckpt' or k.startswith('best_ckpt')]
    kept = [template.format(step) for step in info.get('keep_ckpt_ids', ())]
    return {in_folder(name, folder) for name in (*named, *kept) if name}


def marked(text: str) -> str:
    """A text as a run writes it, so that :func:`may_replace` knows it again."""
    return f'{_MARK}{hashlib.sha256(text.encode()).hexdigest()}\n{text}'


def may_replace(path: Path) -> bool:
    """Whether no file is there, or one that a run wrote and nobody has changed since."""
    if not osp.lexists(path):
        return True
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, ValueError):
        return False
    return not path.is_symlink() and text == marked(text.partition('\n')[2])


def own_entries(info: dict[str, Any], folder: str, run_id: str, template: str) -> tuple[dict[str, Any], list[str]]:
    """Of what a message hub keeps about files, take what is the run's own.

    Args:
        info: The entries of the hub.
        folder: Of the run's checkpoints.
        run_id: Of the run.
        template: Name of a checkpoint, with ``{}`` for its step.

    Returns:
        The entries about files, by key, with None for one to drop; and the files that are not the run's own. With a
        best checkpoint, its score is dropped.
    """
    entries: dict[str, Any] = {}
    others: list[str] = []
    for key, value in info.items():
        if key == 'keep_ckpt_ids':
            entries[key] = [step for step in value if was_written_by(run_id, osp.join(folder, template.format(step)))]
        elif value is not None and (key == 'last_ckpt' or key.startswith('best_ckpt')):
            path = in_folder(value, folder)
            entries[key] = path if was_written_by(run_id, path) else None
            if entries[key] is None and key != 'last_ckpt':
                others.append(value)
                entries[key.replace('best_ckpt', 'best_score', 1)] = None
    return entries, others


class OwnFilesMixin:
    """Has a runner delete, choose and resume its own files only, after a check of every field it resumes from."""

    run_id: str | None = None  # in every checkpoint that the run writes, and kept when it is resumed in its own folder
    _resuming: str | None = None  # the checkpoint that is being resumed from

    @property
    def checkpoint_folder(self) -> str:
        """Where the checkpoints of this run stand."""
        hook = self._checkpoint_hook
        if hasattr(hook, 'file_backend'):  # training has begun, and MMEngine has put it together
            return hook.out_dir
        return checkpoint_folder(self.work_dir, getattr(hook, 'out_dir', None))

    @property
    def _checkpoint_hook(self) -> CheckpointHook | None:
        return next((hook for hook in self.hooks if isinstance(hook, CheckpointHook)), None)

    def call_hook(self, fn_name: str, **kwargs: object) -> None:
        """Call the hooks; what they read of files is the run's own."""
        if fn_name == 'after_load_checkpoint' and self._resuming is not None:
            self._check_resumed(kwargs['checkpoint'])
        elif fn_name == 'before_train':
            self._forget_files_of_others()
        elif fn_name == 'before_save_checkpoint':
            kwargs['checkpoint']['meta'][RUN_ID] = self.run_id
        super().call_hook(fn_name, **kwargs)

    def load_or_resume(self) -> None:
        """Load or resume; without a name, the newest checkpoint in the run's own folder."""
        if self._resume is True and self._load_from is None and not self._has_loaded:
            self._load_from = latest_checkpoint(self.work_dir, self.checkpoint_folder)
            self._resume = self._load_from is not None
        super().load_or_resume()

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume.

        Raises:
            CheckpointError: Also if a field of the checkpoint is malformed; the message names it.
        """
        self._resuming = filename
        try:
            super().resume(filename, *args, **kwargs)
        finally:
            self._resuming = None

    @master_only
    def dump_config(self) -> None:
        """Write the config to the work dir; to the folder of the log where a file stands that no run wrote."""
        name = f'{Path(self.cfg.filename).stem if self.cfg.filename else self.timestamp}.py'
        path = Path(self.work_dir, name)
        for leftover in half_written(self.work_dir, re.escape(name)):
            leftover.unlink()
        if not may_replace(path):
            path = Path(self.log_dir, name)
            self.logger.info(f'{name} in {self.work_dir} was not written by a run, or was changed: see {path}')
        write_atomically(path, marked(self.cfg.pretty_text))

    def _check_resumed(self, checkpoint: dict) -> None:
        fields, loop = ResumeFields(self._resuming), self.train_loop
        by_iter = isinstance(loop, IterBasedTrainLoop)
        ends = (None, loop.max_iters) if by_iter else (getattr(loop, 'max_epochs', None), None)
        meta = fields.meta(checkpoint.get('meta'), *ends, f', where the training of the config ends ({ends[by_iter]})')
        fields.message_hub(checkpoint.get('message_hub'))
        for i, state in enumerate(meta.get('rng') or ()):
            try:
                check_rng_state(state)
            except ValueError as e:
                raise CheckpointError(f'cannot resume from {self._resuming}: meta.rng[{i}] is broken ({e})') from None
        if stands_in(self._resuming, self.checkpoint_folder):
            self.run_id = meta.get(RUN_ID)

    def _forget_files_of_others(self) -> None:
        """Take out of the message hub what MMEngine's hook would delete though this run did not write it."""
        self.run_id = self.run_id or uuid.uuid4().hex  # not from the generators that training draws from
        info, hook = self.message_hub.runtime_info, self._checkpoint_hook
        template = getattr(hook, 'filename_tmpl', '{}')
        found = [own_entries(info, self.checkpoint_folder, self.run_id, template) if is_main_process() else None]
        broadcast_object_list(found)  # the score decides whether all processes save
        entries, others = found[0]
        for key, value in entries.items():
            if value is None:
                info.pop(key, None)
            else:
                info[key] = value
        if others:
            self.logger.warning(
                f'{", ".join(others)}: the best checkpoint so far is not one that this run wrote to '
                f'{self.checkpoint_folder}. It stays as it is, and the best score of this run starts anew'
            )
