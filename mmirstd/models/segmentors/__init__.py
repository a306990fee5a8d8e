"""Segmentors, and what wraps them."""

from .encoder_decoder import IRSTDEncoderDecoder
from .tta import IRSTDTTAModel, check_tta_model

__all__ = ['IRSTDEncoderDecoder', 'IRSTDTTAModel', 'check_tta_model']
