"""Activation checkpointing that leaves batch norms' statistics right."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmirstd.models.layers.reparam import frozen_running_stats


def recompute(owner: nn.Module, function: Callable, *args: Any) -> Any:
    """Call `function(*args)`; where `owner.with_cp` and gradients are on, recompute it in the backward pass.

    `owner` is the module whose parameters the function uses: its batch norms count the batch once.
    """
    if not (owner.with_cp and torch.is_grad_enabled()):
        return function(*args)
    return checkpoint(
        function, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), frozen_running_stats(owner))
    )
