"""Optimizers."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from mmirstd.registry import OPTIMIZERS

# Of the quintic that maps singular values towards 1, and how often it is applied (Jordan et al., 2024).
_COEFFICIENTS, _STEPS = (3.4445, -4.7750, 2.0315), 5

_REFUSED = ('maximize', 'fused', 'capturable', 'differentiable', 'amsgrad')


def orthogonalize(matrix: Tensor) -> Tensor:
    """The orthogonal factor of a matrix (m, n), about: its singular values become 0.7 to 1.2.

    Newton-Schulz iterations of the Muon optimizer (Jordan et al., "Muon: An optimizer for hidden layers in neural
    networks", 2024).
    """
    a, b, c = _COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T


@OPTIMIZERS.register_module()
class MuonAdamW(torch.optim.AdamW):
    """Muon for the weights of linear layers and convolutions, AdamW for all else.

    A weight (O, I, ...) with O and I above 1 is taken as a matrix (O, I * ...): the momentum of its gradient is
    orthogonalized and scaled by 0.2 sqrt(max(m, n)), so that steps are of the size of AdamW's and rate and decay mean
    the same for both (Liu et al., "Muon is scalable for LLM training", 2025, Eq. 4). Norms, biases, depthwise
    convolutions and layers of one output take AdamW. torch.optim.Muon takes matrices alone.

    Args:
        params: Parameters or groups.
        momentum: Of Muon, with Nesterov's step.
        kwargs: Of AdamW, but for those of `_REFUSED`, which would hold for a part of the parameters alone.

    Raises:
        ValueError: If the momentum is not in [0, 1), or an option of AdamW does not go with Muon.
    """

    def __init__(self, params: Iterable, momentum: float = 0.95, **kwargs: Any) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f'MuonAdamW: momentum must lie in [0, 1), got {momentum}')
        if refused := [option for option in _REFUSED if kwargs.get(option)]:
            raise ValueError(f'MuonAdamW: {refused[0]} is of AdamW alone, and matrices are not updated by it')
        self.momentum = momentum
        super().__init__(params, **kwargs)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Make a step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = {}
        for group in self.param_groups:
            for p in group['params']:
                if p.grad is not None and p.ndim >= 2 and min(p.shape[:2]) > 1:
                    gradients[p], p.grad = p.grad, None  # AdamW passes over it
                    self._muon_step(p, gradients[p], group['lr'], group['weight_decay'])
        super().step()
        for p, gradient in gradients.items():
            p.grad = gradient
        return loss

    def _muon_step(self, p: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[p]
        if 'muon' not in state:
            state.update(
                step=torch.zeros(()), muon=torch.zeros_like(p)
            )  # AdamW takes a state without a step for damaged
        state['muon'].lerp_(gradient, 1 - self.momentum)
        matrix = gradient.lerp(state['muon'], self.momentum).flatten(1)
        step = orthogonalize(matrix).reshape(p.shape)
        p.mul_(1 - rate * decay).sub_(step, alpha=rate * 0.2 * max(matrix.shape) ** 0.5)
