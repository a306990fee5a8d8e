"""Segmentors, and what wraps them."""

from .classical_segmentor import ClassicalSegmentor, NotTrainableError
from .encoder_decoder import IRSTDEncoderDecoder
from .tta import IRSTDTTAModel, check_tta_model

__all__ = ['ClassicalSegmentor', 'IRSTDEncoderDecoder', 'IRSTDTTAModel', 'NotTrainableError', 'check_tta_model']
