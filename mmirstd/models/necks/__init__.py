"""Necks: pyramids between a backbone and a head."""

from .edge_sam_neck import EdgeSAMNeck
from .query_fpn import QueryFPN, TinyFPN
from .sgem import SGEM, DenseNestedDecoder, SemanticGapElimination

__all__ = ['SGEM', 'DenseNestedDecoder', 'EdgeSAMNeck', 'QueryFPN', 'SemanticGapElimination', 'TinyFPN']
