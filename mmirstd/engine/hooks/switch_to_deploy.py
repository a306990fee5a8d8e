"""Evaluation of the folded model."""

import copy

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mmirstd.engine.distributed import unwrapped
from mmirstd.models.layers.reparam import switch_to_deploy
from mmirstd.registry import HOOKS


@HOOKS.register_module()
class SwitchToDeployHook(Hook):
    """Tests a folded copy of the model, so that what is measured is what is deployed.

    The runner's model is put back after the epoch and is never changed, hence training goes on as if nothing was.

    Args:
        before_val: Do so for validation, too.
    """

    priority = 'LOW'  # after EMAHook has swapped its weights in

    def __init__(self, before_val: bool = False) -> None:
        self._in_val = before_val  # Hook has a method before_val
        self._original = None

    def before_test_epoch(self, runner: Runner) -> None:
        """Put a folded copy in place of the runner's model."""
        self._original = runner.model
        model = unwrapped(runner.model)
        # eval() first: training batch norms do not fold, and the loop would call it right after this.
        runner.model = copy.deepcopy(model).eval()
        folded = switch_to_deploy(runner.model)
        print_log(f'SwitchToDeployHook: folded {folded} modules', 'current')

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Put the runner's own model back."""
        runner.model, self._original = self._original, None

    def before_val_epoch(self, runner: Runner) -> None:
        """As before testing, if asked for."""
        if self._in_val:
            self.before_test_epoch(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """As after testing, if asked for."""
        if self._in_val:
            self.after_test_epoch(runner, metrics)
