"""Published networks that the papers compare with, one file each, as backbones, necks and heads that mix."""

from .adgfnet import ADGFHead, AnomalyGatedFPN, ResidualEncoder

__all__ = ['ADGFHead', 'AnomalyGatedFPN', 'ResidualEncoder']
