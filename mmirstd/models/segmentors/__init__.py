"""Segmentors, and what wraps them."""

from .tta import IRSTDTTAModel, check_tta_model

__all__ = ['IRSTDTTAModel', 'check_tta_model']
