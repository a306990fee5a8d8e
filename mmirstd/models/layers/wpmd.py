"""Wavelet transform Perona-Malik diffusion (WPMD) as a block of a network; see mmirstd.ops.diffusion."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from mmirstd.models.layers.recompute import recompute
from mmirstd.ops.diffusion import check_diffusion, check_k, detail_scale, wavelet_diffusion
from mmirstd.registry import MODELS


@MODELS.register_module()
class WPMDBlock(nn.Module):
    """Residual WPMD with learned k: x + gate (D_k(x) - x), D being :func:`~mmirstd.ops.diffusion.wavelet_diffusion`.

    Takes (B, C, H, W) and returns the same shape and type. k and the gate are learned per channel, k as its logarithm.
    A gate of 0 is the identity, 1 is D, and a negative one sharpens. The block can be a plugin of MMSegmentation's
    ResNet, or go into any backbone with :class:`mmirstd.DiffusedBackbone`.

    IRSAM (M. Zhang et al., ECCV 2024) names WPMD and never released it; :mod:`mmirstd.ops.diffusion` says what is built
    here, and from which papers. The residual form, the learned k and its start are choices of this project.

    Args:
        in_channels: C.
        k: where k starts, in units of `k_unit`.
        k_unit: 'mean' or 'median', the :func:`detail_scale` of each sample's channel, so that channels may have any
            scale; or 'level', the channel's own values. A map that is 0 in more than half of its pixels has median 0.
        num_steps: see :func:`wavelet_diffusion`, as the following.
        dt: step size.
        wavelet: one of ``FILTERS``.
        levels: levels of the transform.
        decimated: transform of disjoint blocks.
        coupled: one |d| for all details of a place.
        gate: where the gate starts; with 0 a pre-trained network starts undisturbed, and k learns from the second
            iteration on.
        with_cp: recompute the steps in the backward pass: saves about 8 maps per step.

    Raises:
        ValueError: if an argument is out of its range, naming it.
    """

    _abbr_ = 'wpmd'

    def __init__(
        self,
        in_channels: int,
        k: float = 1.0,
        k_unit: Literal['mean', 'median', 'level'] = 'mean',
        num_steps: int = 3,
        dt: float = 0.5,
        wavelet: str = 'haar',
        levels: int = 1,
        decimated: bool = False,
        coupled: bool = True,
        gate: float = 1.0,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        check_diffusion(num_steps, dt, wavelet, levels, decimated)
        check_k(k, k_unit)
        self.k_unit, self.with_cp = k_unit, with_cp
        self.options = {
            'num_steps': num_steps,
            'dt': dt,
            'wavelet': wavelet,
            'levels': levels,
            'decimated': decimated,
            'coupled': coupled,
        }
        self.log_k = nn.Parameter(torch.full((in_channels,), math.log(k)))
        self.gate = nn.Parameter(torch.full((in_channels,), float(gate)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape and type."""
        return recompute(self, self._forward, x)

    def _forward(self, x: Tensor) -> Tensor:
        u = x.to(torch.promote_types(x.dtype, torch.float32))
        k = self.log_k.exp()[:, None, None]
        if self.k_unit != 'level':
            k = k * detail_scale(u, self.k_unit)
        u = u + self.gate[:, None, None] * (wavelet_diffusion(u, k, **self.options) - u)
        return u.to(x.dtype)

    def extra_repr(self) -> str:
        """Arguments, as shown by print."""
        return ', '.join(
            f'{k}={v!r}' for k, v in {'in_channels': len(self.gate), 'k_unit': self.k_unit, **self.options}.items()
        )
