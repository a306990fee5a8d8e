"""Blocks that several models share."""

from mmirstd.models.layers.wpmd import WPMDBlock
from mmirstd.ops.diffusion import detail_scale, wavelet_diffusion

from .attention import MLP, Attention, LayerNorm2d, QueryInteraction, TwoWayBlock, TwoWayTransformer, to_sequence
from .deformable import DeformableAttention, DeformableConv2d, DeformableLayer, deformable_conv2d
from .dense_queries import ConvDenseUpdate, DeformableDenseUpdate, DenseQueries, projection
from .features import QueryFeatures, require_queries, require_widths
from .position import FourierPosition, sine_position
from .recompute import recompute
from .sparse_queries import SparseQueries

__all__ = [
    'MLP',
    'Attention',
    'ConvDenseUpdate',
    'DeformableAttention',
    'DeformableConv2d',
    'DeformableDenseUpdate',
    'DeformableLayer',
    'DenseQueries',
    'FourierPosition',
    'LayerNorm2d',
    'QueryFeatures',
    'QueryInteraction',
    'SparseQueries',
    'TwoWayBlock',
    'TwoWayTransformer',
    'WPMDBlock',
    'deformable_conv2d',
    'detail_scale',
    'projection',
    'recompute',
    'require_queries',
    'require_widths',
    'sine_position',
    'to_sequence',
    'wavelet_diffusion',
]
