"""Decode heads."""

from .binary_head import BinaryHead
from .conv_head import ConvHead
from .edge_head import EdgeHead
from .efficient_sam_head import EfficientSAMHead
from .granularity_aware_head import GranularityAwareHead
from .query_sam_head import QuerySAMHead
from .side_output_head import SideOutputHead
from .threshold_head import ThresholdHead

__all__ = [
    'BinaryHead',
    'ConvHead',
    'EdgeHead',
    'EfficientSAMHead',
    'GranularityAwareHead',
    'QuerySAMHead',
    'SideOutputHead',
    'ThresholdHead',
]
