"""Published networks that the papers compare with, one file each, as backbones, necks and heads that mix."""

from .adgfnet import AnomalyGatedFPN, ResidualEncoder

__all__ = ['AnomalyGatedFPN', 'ResidualEncoder']
