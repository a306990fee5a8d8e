"""A guard against the field's best-known failure: a network that predicts background everywhere."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.models.decode_heads import (
    DAHead,
    DDRHead,
    EncHead,
    IterativeDecodeHead,
    PIDHead,
    STDCHead,
    VPDDepthHead,
)
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmirstd.engine.distributed import unwrapped
from mmirstd.models.decode_heads import BinaryHead
from mmirstd.models.losses import target_probability
from mmirstd.registry import HOOKS
from mmirstd.utils.errors import UserError

# Heads that train several maps -> which of them they predict.
PREDICTED = {DAHead: 0, DDRHead: 0, EncHead: 0, IterativeDecodeHead: -1, PIDHead: 1}
# Heads of one map that is not the target's.
OTHER_MAPS = {STDCHead: 'boundaries', VPDDepthHead: 'depth'}


class CollapseError(UserError, RuntimeError):
    """Training has collapsed to background, or its loss is no number."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Ends a training whose loss is NaN or infinite, whatever the model is.

    Raises:
        CollapseError: At the iteration whose loss it is, before a checkpoint is written.
    """

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Check the loss."""
        losses = {k: v.item() for k, v in (outputs or {}).items() if 'loss' in k}
        if bad := [f'{k}={v}' for k, v in losses.items() if not math.isfinite(v)]:
            raise CollapseError(
                f'iteration {runner.iter + 1}: {", ".join(bad)}; lower the learning rate or clip gradients'
            )


@HOOKS.register_module()
class CollapseGuardHook(FiniteLossHook):
    """Watches the mean predicted probability on target pixels, which every head logs as ``*target_prob``.

    The heads of mmirstd log it themselves. Other heads of MMSegmentation, of one logit or of two, are made to. Of heads
    without a map of logits at hand (points, mask queries), and of those that predict boundaries or depth, nothing is
    logged: another head of the model must be watched then.

    Targets are a thousandth of the pixels, so a network that outputs background everywhere has a low BCE, and soft IoU
    has no gradient there. A batch without targets logs none and does not count. With several heads, the highest
    counts: auxiliary predictions may lag.

    Args:
        interval: Iterations over which the mean is taken and after which it is judged.
        warmup: Iterations before the first judgement.
        threshold: Lowest mean probability that counts as alive.
        action: ``'warn'`` or ``'stop'``.

    Raises:
        ValueError: Before the first iteration, if the model has no head that can be watched; at the first batch with
            targets, if no head has logged what is watched.
        CollapseError: At the iteration whose loss is NaN or infinite, before a checkpoint is written; and for a
            collapse if ``action='stop'``.
    """

    def __init__(self, interval: int = 200, warmup: int = 1000, threshold: float = 0.02, action: str = 'warn') -> None:
        if action not in ('warn', 'stop'):
            raise ValueError(f"CollapseGuardHook: action must be 'warn' or 'stop', not {action!r}")
        self.interval, self.warmup, self.threshold, self.action = interval, warmup, threshold, action
        self._probs: deque[float] = deque(maxlen=interval)
        self._logged = False

    def before_train(self, runner: Runner) -> None:
        """See that every head logs what is watched."""
        model = unwrapped(runner.model)
        heads = outer_heads(model)
        reasons = [reason for head in heads if (reason := why_unwatched(head))]
        if len(reasons) == len(heads):
            why = '; '.join(reasons) or f'{type(model).__name__} has no decode head of MMSegmentation'
            raise ValueError(
                f'CollapseGuardHook: {why}: there is nothing to watch, so leave the hook out of custom_hooks'
            )
        for head in heads:
            if not isinstance(head, BinaryHead) and not why_unwatched(head):
                _log_target_probability(head)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Check the loss; collect the probability; judge."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        outputs = outputs or {}
        iteration = runner.iter + 1
        probs = [v.item() for k, v in outputs.items() if k.endswith('target_prob')]
        if probs:
            self._probs.append(max(probs))
            self._logged = True
        elif not self._logged and _has_targets(data_batch):
            raise ValueError(
                f'CollapseGuardHook: iteration {iteration} had targets, but no head logged target_prob (logged were '
                f'{", ".join(outputs)}): there is nothing to watch, so leave the hook out of custom_hooks'
            )
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


def outer_heads(module: nn.Module) -> list[BaseDecodeHead]:
    """The decode heads of a model, without those inside of others."""
    if isinstance(module, BaseDecodeHead):
        return [module]
    return [head for child in module.children() for head in outer_heads(child)]


def why_unwatched(head: BaseDecodeHead) -> str:
    """Say why the target probability of a head cannot be logged; an empty text if it can."""
    name = type(head).__name__
    if isinstance(head, BinaryHead):
        return ''
    for cls, what in OTHER_MAPS.items():
        if isinstance(head, cls):
            return f'{name} predicts {what}'
    if type(head).loss not in (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss):
        return f'{name} computes its losses without a map of logits'
    if head.out_channels > 2:
        return f'{name} predicts {head.out_channels} classes, of which none is known to be the target'
    return ''


def _has_targets(data_batch: dict | None) -> bool:
    samples = (data_batch or {}).get('data_samples') or ()
    return any(bool((sample.gt_sem_seg.data == 1).any()) for sample in samples if 'gt_sem_seg' in sample)


def _log_target_probability(head: BaseDecodeHead) -> None:
    """Let a head add the mean probability on target pixels to its losses, as :class:`BinaryHead` does."""
    loss_by_feat = head.loss_by_feat
    index = next((index for cls, index in PREDICTED.items() if isinstance(head, cls)), 0)

    def and_probability(seg_logits: Tensor | Sequence[Tensor], batch_data_samples: SampleList, **kwargs: Any) -> dict:
        losses = loss_by_feat(seg_logits, batch_data_samples, **kwargs)
        label = torch.stack([sample.gt_sem_seg.data for sample in batch_data_samples]).squeeze(1)
        logits = (seg_logits if isinstance(seg_logits, Tensor) else seg_logits[index]).detach().float()
        if logits.shape[1] == 2:  # a softmax over both is a sigmoid of the difference
            logits = logits[:, 1:] - logits[:, :1]
        logits = F.interpolate(logits, label.shape[1:], mode='bilinear', align_corners=head.align_corners)
        if (probability := target_probability(logits, label)) is not None:
            losses['target_prob'] = probability
        return losses

    head.loss_by_feat = and_probability
