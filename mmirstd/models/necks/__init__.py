"""Necks: pyramids between a backbone and a head."""

from .query_fpn import QueryFPN, TinyFPN

__all__ = ['QueryFPN', 'TinyFPN']
