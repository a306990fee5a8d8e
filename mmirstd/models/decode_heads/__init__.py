"""Decode heads."""

from .query_sam_head import QuerySAMHead

__all__ = ['QuerySAMHead']
