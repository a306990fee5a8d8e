"""A guard against the field's best-known failure: a network that predicts background everywhere."""

import math
from collections import deque

import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.utils import SampleList
from torch import Tensor

from mmirstd.models.decode_heads import BinaryHead
from mmirstd.models.losses import target_probability
from mmirstd.registry import HOOKS
from mmirstd.utils.errors import UserError


class CollapseError(UserError, RuntimeError):
    """Training has collapsed to background, or its loss is no number."""


@HOOKS.register_module()
class CollapseGuardHook(Hook):
    """Watches the mean predicted probability on target pixels, which every head logs as ``*target_prob``.

    The heads of mmirstd log it themselves. Other heads of MMSegmentation, of one logit or of two, are made to.

    Targets are a thousandth of the pixels, so a network that outputs background everywhere has a low BCE, and soft IoU
    has no gradient there. A batch without targets logs none and does not count. With several heads, the highest
    counts: auxiliary predictions may lag.

    Args:
        interval: Iterations over which the mean is taken and after which it is judged.
        warmup: Iterations before the first judgement.
        threshold: Lowest mean probability that counts as alive.
        action: ``'warn'`` or ``'stop'``.

    Raises:
        ValueError: Before the first iteration, if the model has no head that can be watched.
        CollapseError: At the iteration whose loss is NaN or infinite, before a checkpoint is written; and for a
            collapse if ``action='stop'``.
    """

    def __init__(self, interval: int = 200, warmup: int = 1000, threshold: float = 0.02, action: str = 'warn') -> None:
        if action not in ('warn', 'stop'):
            raise ValueError(f"CollapseGuardHook: action must be 'warn' or 'stop', not {action!r}")
        self.interval, self.warmup, self.threshold, self.action = interval, warmup, threshold, action
        self._probs: deque[float] = deque(maxlen=interval)

    def before_train(self, runner: Runner) -> None:
        """See that every head logs what is watched."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        heads = [module for module in model.modules() if isinstance(module, BaseDecodeHead)]
        if not heads:
            raise ValueError(
                f'CollapseGuardHook: {type(model).__name__} has no decode head of MMSegmentation that it could watch; '
                'leave the hook out of custom_hooks'
            )
        for head in heads:
            if not isinstance(head, BinaryHead):
                _log_target_probability(head)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Check the loss; collect the probability; judge."""
        outputs = outputs or {}
        iteration = runner.iter + 1
        losses = {k: v.item() for k, v in outputs.items() if 'loss' in k}
        if bad := [f'{k}={v}' for k, v in losses.items() if not math.isfinite(v)]:
            raise CollapseError(f'iteration {iteration}: {", ".join(bad)}; lower the learning rate or clip gradients')

        probs = [v.item() for k, v in outputs.items() if k.endswith('target_prob')]
        if probs:
            self._probs.append(max(probs))
        if iteration < self.warmup or iteration % self.interval or not self._probs:
            return
        mean = sum(self._probs) / len(self._probs)
        if mean >= self.threshold:
            return
        message = (
            f'iteration {iteration}: the mean predicted probability on target pixels was {mean:.2g} in the last '
            f'{len(self._probs)} batches with targets, below {self.threshold}: the network predicts background '
            'everywhere. Lower the learning rate, lengthen the warm-up, or give BCE more weight'
        )
        if self.action == 'stop':
            raise CollapseError(message)
        runner.logger.warning(message)


def _log_target_probability(head: BaseDecodeHead) -> None:
    """Let a head add the mean probability on target pixels to its losses, as :class:`BinaryHead` does."""
    if head.out_channels > 2:
        raise ValueError(
            f'CollapseGuardHook: {type(head).__name__} predicts {head.out_channels} classes, of which none is known to '
            'be the target; leave the hook out of custom_hooks'
        )
    loss_by_feat = head.loss_by_feat

    def and_probability(seg_logits: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        losses = loss_by_feat(seg_logits, batch_data_samples)
        label = head._stack_batch_gt(batch_data_samples).squeeze(1)
        logits = seg_logits.detach().float()
        if logits.shape[1] == 2:  # a softmax over both is a sigmoid of the difference
            logits = logits[:, 1:] - logits[:, :1]
        logits = F.interpolate(logits, label.shape[1:], mode='bilinear', align_corners=head.align_corners)
        if (probability := target_probability(logits, label)) is not None:
            losses['target_prob'] = probability
        return losses

    head.loss_by_feat = and_probability
