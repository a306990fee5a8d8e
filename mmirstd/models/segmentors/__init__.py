"""Segmentors, and what wraps them."""

from .adversarial import AdversarialSegmentor, OptimizersError
from .classical_segmentor import ClassicalSegmentor, NotTrainableError
from .encoder_decoder import IRSTDEncoderDecoder
from .tta import IRSTDTTAModel, check_tta_model

__all__ = [
    'AdversarialSegmentor',
    'ClassicalSegmentor',
    'IRSTDEncoderDecoder',
    'IRSTDTTAModel',
    'NotTrainableError',
    'OptimizersError',
    'check_tta_model',
]
