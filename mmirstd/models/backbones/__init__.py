"""Backbones."""

from mmirstd.models.backbones.query_encoder import QueryEncoder
from mmirstd.models.backbones.repvit import RepViT

__all__ = ['QueryEncoder', 'RepViT']
