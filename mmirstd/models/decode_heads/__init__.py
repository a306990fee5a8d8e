"""Decode heads."""

from .binary_head import BinaryHead
from .conv_head import ConvHead
from .granularity_aware_head import GranularityAwareHead
from .query_sam_head import QuerySAMHead

__all__ = ['BinaryHead', 'ConvHead', 'GranularityAwareHead', 'QuerySAMHead']
