"""Published networks that the papers compare with, one file each, as backbones, necks and heads that mix."""

from .abcnet import DilatedUNetDecoder, LinearFusionEncoder
from .acm import ACMEncoder, ModulatedPyramid
from .adgfnet import AnomalyGatedFPN, ResidualEncoder
from .dnanet import DenselyNestedPyramid
from .isnet import GradientEncoder, OrientedPyramid, ShapeHead
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
    'DilatedUNetDecoder',
    'DirectionalEncoder',
    'GradientEncoder',
    'InteractiveUBlockDecoder',
    'LinearFusionEncoder',
    'MaskDiscriminator',
    'ModulatedPyramid',
    'OrientedPyramid',
    'ParallelBackbones',
    'ResidualEncoder',
    'ResidualUNetDecoder',
    'ResidualUNetEncoder',
    'ShapeHead',
    'SpatialChannelTransformer',
    'UBlockEncoder',
    'UnfoldedRPCA',
    'UnfoldingHead',
]
