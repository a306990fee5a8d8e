"""Distillation: a frozen teacher, students of features and of masks, and the losses between them."""

from .cache import TeacherCache
from .distiller import Distiller, FeatureDistiller
from .losses import (
    FeatureCosineLoss,
    FeatureMSELoss,
    FeatureStandardizedLoss,
    MaskBCEDistillationLoss,
    MaskDiceDistillationLoss,
    MaskKLDistillationLoss,
)
from .mask_distiller import MaskDistiller
from .teacher import FrozenTeacher, teacher_key, teacher_sources, weight_files

__all__ = [
    'Distiller',
    'FeatureCosineLoss',
    'FeatureDistiller',
    'FeatureMSELoss',
    'FeatureStandardizedLoss',
    'FrozenTeacher',
    'MaskBCEDistillationLoss',
    'MaskDiceDistillationLoss',
    'MaskDistiller',
    'MaskKLDistillationLoss',
    'TeacherCache',
    'teacher_key',
    'teacher_sources',
    'weight_files',
]
