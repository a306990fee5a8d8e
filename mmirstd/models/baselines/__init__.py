"""Published networks that the papers compare with, one file each, as backbones, necks and heads that mix."""

from .abcnet import DilatedUNetDecoder, LinearFusionEncoder
from .acm import ACMEncoder, ModulatedPyramid
from .adgfnet import AnomalyGatedFPN, ResidualEncoder
from .dnanet import DenselyNestedPyramid
from .egpnet import EdgeGuidedEncoder, MutualPyramid, RegionHead
from .iaanet import InteriorAttentionHead, InteriorEncoder
from .isnet import GradientEncoder, OrientedPyramid, ShapeHead
from .mdvsfa import ClampedHead, ClampedHeads, ContextAggregation, MaskDiscriminator, ParallelBackbones
from .rdian import AdditiveUpsampling, DirectionalEncoder
from .repisd import EdgeCompensationDecoder, EdgeCompensationEncoder
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
    'EdgeCompensationDecoder',
    'EdgeCompensationEncoder',
    'EdgeGuidedEncoder',
    'GradientEncoder',
    'InteractiveUBlockDecoder',
    'InteriorAttentionHead',
    'InteriorEncoder',
    'LinearFusionEncoder',
    'MaskDiscriminator',
    'ModulatedPyramid',
    'MutualPyramid',
    'OrientedPyramid',
    'ParallelBackbones',
    'RegionHead',
    'ResidualEncoder',
    'ResidualUNetDecoder',
    'ResidualUNetEncoder',
    'ShapeHead',
    'SpatialChannelTransformer',
    'UBlockEncoder',
    'UnfoldedRPCA',
    'UnfoldingHead',
]
