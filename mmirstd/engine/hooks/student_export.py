"""The student of a distillation as a checkpoint of its own."""

from os import path as osp

import torch
from mmengine.dist import master_only
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from mmirstd.checkpoints.loading import load_file
from mmirstd.checkpoints.publishing import published_meta
from mmirstd.checkpoints.state_dict import checkpoint_weights
from mmirstd.engine.distributed import unwrapped
from mmirstd.io.files import whole_file
from mmirstd.models.distillation import Distiller
from mmirstd.registry import HOOKS


@HOOKS.register_module()
class StudentExportHook(Hook):
    """Writes ``student.pth`` when a distillation ends: the student of the best checkpoint, or of the last.

    It is what ``init_cfg=dict(type='Pretrained', checkpoint='.../student.pth')`` of a backbone loads, or after
    ``MaskDistiller`` what a test of the student's config loads: without projections, with the provenance.

    Args:
        filename: Name of the file in the work dir.

    Raises:
        TypeError: Before the first step, if the model is no distiller.
    """

    priority = 'VERY_LOW'  # after the last checkpoint is written

    def __init__(self, filename: str = 'student.pth') -> None:
        self.filename = filename

    def before_train(self, runner: Runner) -> None:
        """See that there is a student."""
        if not isinstance(unwrapped(runner.model), Distiller):
            raise TypeError(f'StudentExportHook: {type(unwrapped(runner.model)).__name__} is no distiller')

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Write it."""
        hook = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
        source = getattr(hook, 'best_ckpt_path', None) or getattr(hook, 'last_ckpt', None)
        if not source:
            runner.logger.warning('StudentExportHook: no checkpoint was written, and so no student')
            return
        content = load_file(source)
        weights = unwrapped(runner.model).student_weights(checkpoint_weights(content, source))
        path = osp.join(runner.work_dir, self.filename)
        with whole_file(path) as temporary:
            torch.save({'meta': published_meta(content.get('meta')), 'state_dict': weights}, temporary)
        runner.logger.info(f'the student of {osp.basename(source)}: {path}')
