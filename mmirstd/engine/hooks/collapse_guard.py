"""A guard against the field's best-known failure: a network that predicts background everywhere."""

import math
from collections import deque

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmirstd.registry import HOOKS
from mmirstd.utils.errors import UserError


class CollapseError(UserError, RuntimeError):
    """Training has collapsed to background, or its loss is no number."""


@HOOKS.register_module()
class CollapseGuardHook(Hook):
    """Watches the mean predicted probability on target pixels, which the heads log as ``*target_prob``.

    Targets are a thousandth of the pixels, so a network that outputs background everywhere has a low BCE, and soft IoU
    has no gradient there. A batch without targets logs none and does not count. With several heads, the highest
    counts: auxiliary predictions may lag.

    Args:
        interval: Iterations over which the mean is taken and after which it is judged.
        warmup: Iterations before the first judgement.
        threshold: Lowest mean probability that counts as alive.
        action: ``'warn'`` or ``'stop'``.

    Raises:
        CollapseError: At the iteration whose loss is NaN or infinite, before a checkpoint is written; and for a
            collapse if ``action='stop'``.
    """

    def __init__(self, interval: int = 200, warmup: int = 1000, threshold: float = 0.02, action: str = 'warn') -> None:
        if action not in ('warn', 'stop'):
            raise ValueError(f"CollapseGuardHook: action must be 'warn' or 'stop', not {action!r}")
        self.interval, self.warmup, self.threshold, self.action = interval, warmup, threshold, action
        self._probs: deque[float] = deque(maxlen=interval)

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
