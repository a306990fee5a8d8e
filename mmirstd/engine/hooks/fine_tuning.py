"""Hooks of a training that starts from trained weights and must not lose what they know."""

import torch
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmirstd.engine.distributed import unwrapped
from mmirstd.registry import HOOKS


@HOOKS.register_module()
class ValidateFirstHook(Hook):
    """Validates before the first iteration, so that the weights at the start are a candidate for the best checkpoint.

    They are then saved as ``best_*_iter_0.pth`` and stay the best until others are better on the validation split. A
    resumed run has done this already.
    """

    priority = 'LOWEST'  # after the hooks that keep checkpoints and averages have been set up

    def before_train(self, runner: Runner) -> None:
        """Validate."""
        if runner.iter == 0 and runner.val_loop is not None:
            runner.val_loop.run()


@HOOKS.register_module()
class FrozenStatisticsHook(Hook):
    """Keeps the means and variances of batch norms as they are: in training, too, batch norms normalize by them.

    A few images, enlarged and cropped, have other statistics than what the weights were trained on.
    """

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Put the batch norms into evaluation; the loop has put all modules into training."""
        for module in runner.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


@HOOKS.register_module()
class StartingPointDecayHook(Hook):
    """Weight decay towards the weights at the start of training instead of zero (L2-SP, Li et al., ICML 2018).

    It is decoupled from the gradient as in AdamW: after each step of the optimizer, which is one of several iterations
    where gradients are accumulated, w += rate * decay * (start - w), with the rate of the parameter's group. The
    optimizer's own weight decay should be 0. A resumed run takes the start from ``load_from`` of the run that was
    interrupted, by its checkpoints.

    Args:
        decay: Factor of the learning rate.

    Raises:
        ValueError: If `decay` is negative.
    """

    def __init__(self, decay: float = 10.0) -> None:
        if decay < 0:
            raise ValueError(f'StartingPointDecayHook: decay must not be negative, got {decay}')
        self.decay = decay
        self._start: dict[str, Tensor] | None = None
        self._names: dict[nn.Parameter, str] = {}

    def before_train(self, runner: Runner) -> None:
        """Keep the weights, unless a resumed checkpoint held them."""
        self._names = {p: name for name, p in _parameters(runner.model)}
        if self._start is None:
            self._start = {name: p.detach().clone() for p, name in self._names.items()}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Pull each parameter that an optimizer has moved in this iteration."""
        wrapper = runner.optim_wrapper
        parts = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
        with torch.no_grad():
            for group in (group for part in parts if part.should_update() for group in part.param_groups):
                for parameter in group['params']:
                    if (start := self._start.get(self._names.get(parameter))) is not None:
                        parameter.lerp_(start, min(group['lr'] * self.decay, 1.0))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the start, from which a resumed run goes on."""
        checkpoint['starting_point'] = self._start

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the start from the checkpoint of an interrupted run."""
        if runner._resume and checkpoint.get('starting_point'):
            device = next(runner.model.parameters()).device
            self._start = {name: start.to(device) for name, start in checkpoint['starting_point'].items()}


def _parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in unwrapped(model).named_parameters() if p.requires_grad]
