"""Published networks that the papers compare with, one file each, as backbones, necks and heads that mix."""

from .acm import ACMEncoder, ModulatedPyramid
from .adgfnet import AnomalyGatedFPN, ResidualEncoder
from .dnanet import DenselyNestedPyramid
from .mdvsfa import ClampedHead, ClampedHeads, ContextAggregation, MaskDiscriminator, ParallelBackbones
from .rdian import AdditiveUpsampling, DirectionalEncoder
from .residual_unet import ResidualUNetDecoder, ResidualUNetEncoder
from .rpcanet import UnfoldedRPCA, UnfoldingHead
from .sctransnet import SpatialChannelTransformer
from .uiunet import InteractiveUBlockDecoder, UBlockEncoder

__all__ = [
    'ACMEncoder',
    'AdditiveUpsampling',
    'AnomalyGatedFPN',
    'ClampedHead',
    'ClampedHeads',
    'ContextAggregation',
    'DenselyNestedPyramid',
    'DirectionalEncoder',
    'InteractiveUBlockDecoder',
    'MaskDiscriminator',
    'ModulatedPyramid',
    'ParallelBackbones',
    'ResidualEncoder',
    'ResidualUNetDecoder',
    'ResidualUNetEncoder',
    'SpatialChannelTransformer',
    'UBlockEncoder',
    'UnfoldedRPCA',
    'UnfoldingHead',
]
