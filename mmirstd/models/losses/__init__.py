"""Losses."""

from .functional import (
    binary_cross_entropy,
    dice_loss,
    mask_boundary,
    sample_points,
    soft_iou_loss,
    structure_consistency_loss,
    target_probability,
)
from .losses import (
    BinaryCrossEntropyLoss,
    BinaryDiceLoss,
    BinaryLoss,
    PointSampledLoss,
    SoftIoULoss,
    StructureConsistencyLoss,
)

__all__ = [
    'BinaryCrossEntropyLoss',
    'BinaryDiceLoss',
    'BinaryLoss',
    'PointSampledLoss',
    'SoftIoULoss',
    'StructureConsistencyLoss',
    'binary_cross_entropy',
    'dice_loss',
    'mask_boundary',
    'sample_points',
    'soft_iou_loss',
    'structure_consistency_loss',
    'target_probability',
]
