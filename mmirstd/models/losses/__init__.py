"""Losses."""

from .adversarial import ClassAdversarialLoss, FeatureMatchingLoss, class_adversarial_loss, feature_matching_loss
from .functional import (
    binary_cross_entropy,
    dice_loss,
    mask_boundary,
    mask_gradient_loss,
    miss_false_alarm_loss,
    sample_points,
    scale_location_loss,
    soft_iou_loss,
    structure_consistency_loss,
    target_probability,
)
from .losses import (
    BinaryCrossEntropyLoss,
    BinaryDiceLoss,
    BinaryLoss,
    MaskGradientLoss,
    MissFalseAlarmLoss,
    PointSampledLoss,
    ScaleLocationLoss,
    SoftIoULoss,
    StructureConsistencyLoss,
)

__all__ = [
    'BinaryCrossEntropyLoss',
    'BinaryDiceLoss',
    'BinaryLoss',
    'ClassAdversarialLoss',
    'FeatureMatchingLoss',
    'MaskGradientLoss',
    'MissFalseAlarmLoss',
    'PointSampledLoss',
    'ScaleLocationLoss',
    'SoftIoULoss',
    'StructureConsistencyLoss',
    'binary_cross_entropy',
    'class_adversarial_loss',
    'dice_loss',
    'feature_matching_loss',
    'mask_boundary',
    'mask_gradient_loss',
    'miss_false_alarm_loss',
    'sample_points',
    'scale_location_loss',
    'soft_iou_loss',
    'structure_consistency_loss',
    'target_probability',
]
