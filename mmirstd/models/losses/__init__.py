"""Losses."""

from .functional import (
    binary_cross_entropy,
    dice_loss,
    mask_boundary,
    sample_points,
    soft_iou_loss,
    target_probability,
)
from .losses import BinaryCrossEntropyLoss, BinaryDiceLoss, BinaryLoss, PointSampledLoss, SoftIoULoss

__all__ = [
    'BinaryCrossEntropyLoss',
    'BinaryDiceLoss',
    'BinaryLoss',
    'PointSampledLoss',
    'SoftIoULoss',
    'binary_cross_entropy',
    'dice_loss',
    'mask_boundary',
    'sample_points',
    'soft_iou_loss',
    'target_probability',
]
