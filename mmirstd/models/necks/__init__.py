"""Necks: pyramids between a backbone and a head."""

from .query_fpn import QueryFPN, TinyFPN
from .sgem import SGEM, DenseNestedDecoder, SemanticGapElimination

__all__ = ['SGEM', 'DenseNestedDecoder', 'QueryFPN', 'SemanticGapElimination', 'TinyFPN']
