"""Wavelet transform Perona-Malik diffusion (WPMD) as a block of a network; see mmirstd.ops.diffusion."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from mmirstd.models.layers.recompute import recompute
from mmirstd.ops.diffusion import WaveletDiffusion, check_k, detail_scale
from mmirstd.registry import MODELS


def bounded_gate(gate: Tensor) -> Tensor:
    """Cut a parameter to [0, 1]; its gradient leads back into the range, but never further out of it.

    With the gradient of ``clamp``, a gate that one step has put below 0 would stay there.
    """
    if not (gate.requires_grad and torch.is_grad_enabled()):
        return gate.clamp(0, 1)
    low, high = gate.detach() < 0, gate.detach() > 1
    free = gate.view_as(gate)
    free.register_hook(lambda grad: torch.where((low & (grad > 0)) | (high & (grad < 0)), 0, grad))
    return free + (gate.clamp(0, 1) - gate).detach()


@MODELS.register_module()
class WPMDBlock(nn.Module):
    """Residual WPMD with learned k: x + gate (D_k(x) - x), D being :class:`~mmirstd.ops.diffusion.WaveletDiffusion`.

    Takes (B, C, H, W) and returns the same shape and type. k and the gate are learned per channel, k as its logarithm.
    A gate of 0 is the identity, 1 is D. It is kept in between, where the block smooths and never amplifies. The block
    can be a plugin of MMSegmentation's ResNet, or go into any backbone with :class:`mmirstd.DiffusedBackbone`.

    IRSAM (M. Zhang et al., ECCV 2024) names WPMD and never released it; :mod:`mmirstd.ops.diffusion` says what is built
    here, and from which papers. The residual form, the learned k and its start are choices of this project.

    Args:
        in_channels: C.
        k: where k starts, in units of `k_unit`.
        k_unit: 'mean' or 'median', the :func:`detail_scale` of each sample's channel, so that channels may have any
            scale. Flat places do not count, so that k is the same however an image is padded. Or 'level', the channel's
            own values.
        gate: where the gate starts, in [0, 1]; with 0 a pre-trained network starts undisturbed, and k learns from the
            second iteration on.
        with_cp: recompute the steps in the backward pass: saves about 8 maps per step.
        diffusion: arguments of :class:`~mmirstd.ops.diffusion.WaveletDiffusion`; `num_steps` is 3 by default.

    Raises:
        ValueError: if an argument is out of its range, naming it.
    """

    _abbr_ = 'wpmd'

    def __init__(
        self,
        in_channels: int,
        k: float = 1.0,
        k_unit: Literal['mean', 'median', 'level'] = 'mean',
        gate: float = 1.0,
        with_cp: bool = False,
        **diffusion: object,
    ) -> None:
        super().__init__()
        check_k(k, k_unit)
        if not 0 <= gate <= 1:
            raise ValueError(f'gate must be in [0, 1], got {gate}')
        self.k_unit, self.with_cp = k_unit, with_cp
        self.diffusion = WaveletDiffusion(**{'num_steps': 3} | diffusion)
        self.log_k = nn.Parameter(torch.full((in_channels,), math.log(k)))
        self.gate = nn.Parameter(torch.full((in_channels,), float(gate)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape and type."""
        return recompute(self, self._forward, x)

    def _forward(self, x: Tensor) -> Tensor:
        u = x.to(torch.promote_types(x.dtype, torch.float32))
        k = self.log_k.exp()[:, None, None]
        if self.k_unit != 'level':
            k = k * detail_scale(u, self.k_unit, skip_flat=True)
        u = u + bounded_gate(self.gate)[:, None, None] * (self.diffusion(u, k) - u)
        return u.to(x.dtype)

    def extra_repr(self) -> str:
        """Arguments, as shown by print."""
        shown = {'in_channels': len(self.gate), 'k_unit': self.k_unit, **vars(self.diffusion)}
        return ', '.join(f'{key}={value!r}' for key, value in shown.items())
