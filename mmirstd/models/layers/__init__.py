"""Blocks that several models share."""

from mmirstd.models.layers.wpmd import WPMDBlock
from mmirstd.ops.diffusion import detail_scale, wavelet_diffusion

from .attention import MLP, Attention, LayerNorm2d, QueryInteraction, TwoWayBlock, TwoWayTransformer
from .features import QueryFeatures, require_queries
from .position import FourierPosition, sine_position
from .recompute import recompute

__all__ = [
    'MLP',
    'Attention',
    'FourierPosition',
    'LayerNorm2d',
    'QueryFeatures',
    'QueryInteraction',
    'TwoWayBlock',
    'TwoWayTransformer',
    'WPMDBlock',
    'detail_scale',
    'recompute',
    'require_queries',
    'sine_position',
    'wavelet_diffusion',
]
