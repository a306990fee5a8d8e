"""Registered losses between student and teacher: thin shells around functions."""

import torch
from torch import Tensor, nn

from mmirstd.models.distillation import functional
from mmirstd.models.losses.functional import binary_cross_entropy, dice_loss
from mmirstd.models.losses.losses import trained_name
from mmirstd.registry import MODELS


class DistillationLoss(nn.Module):
    """A loss of what the student computes against what the teacher computes, of one shape.

    Args:
        loss_weight: Factor of the loss.
        loss_name: Its key in the log; begins with 'loss_'.

    Raises:
        ValueError: If the name begins otherwise.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_distill') -> None:
        super().__init__()
        self.loss_weight, self.loss_name = loss_weight, trained_name(self, loss_name)

    def compute(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the unweighted loss."""
        raise NotImplementedError

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the weighted loss.

        Raises:
            ValueError: If the shapes differ.
        """
        if student.shape != teacher.shape:
            raise ValueError(
                f'{type(self).__name__}: student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ'
            )
        return self.loss_weight * self.compute(student, teacher)


class FeatureLoss(DistillationLoss):
    """A loss between feature maps (B, C, H, W)."""


class MaskLogitLoss(DistillationLoss):
    """A loss between mask logits (B, 1, H, W)."""


@MODELS.register_module()
class FeatureMSELoss(FeatureLoss):
    """See :func:`functional.feature_mse`."""

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_mse') -> None:
        super().__init__(loss_weight, loss_name)

    def compute(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See :class:`DistillationLoss`."""
        return functional.feature_mse(student, teacher)


@MODELS.register_module()
class FeatureCosineLoss(FeatureLoss):
    """See :func:`functional.feature_cosine`."""

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_cosine') -> None:
        super().__init__(loss_weight, loss_name)

    def compute(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See :class:`DistillationLoss`."""
        return functional.feature_cosine(student, teacher)


@MODELS.register_module()
class FeatureStandardizedLoss(FeatureLoss):
    """See :func:`functional.feature_standardized_mse`."""

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_standardized') -> None:
        super().__init__(loss_weight, loss_name)

    def compute(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See :class:`DistillationLoss`."""
        return functional.feature_standardized_mse(student, teacher)


@MODELS.register_module()
class MaskBCEDistillationLoss(MaskLogitLoss):
    """Binary cross-entropy of the student's logits against the teacher's probabilities."""

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_bce') -> None:
        super().__init__(loss_weight, loss_name)

    def compute(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See :class:`DistillationLoss`."""
        return binary_cross_entropy(student, teacher.sigmoid(), torch.ones_like(teacher, dtype=torch.bool))


@MODELS.register_module()
class MaskDiceDistillationLoss(MaskLogitLoss):
    """Dice loss of the student's mask against the teacher's probabilities, smoothed as `BinaryDiceLoss` is."""

    def __init__(
        self, smooth: float = 1.0, per_image: bool = True, loss_weight: float = 1.0, loss_name: str = 'loss_dice'
    ) -> None:
        super().__init__(loss_weight, loss_name)
        self.smooth, self.per_image = smooth, per_image

    def compute(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See :class:`DistillationLoss`."""
        valid = torch.ones_like(teacher, dtype=torch.bool)
        return dice_loss(student, teacher.sigmoid(), valid, self.smooth, self.per_image)


@MODELS.register_module()
class MaskKLDistillationLoss(MaskLogitLoss):
    """See :func:`functional.temperature_kl`."""

    def __init__(self, temperature: float = 2.0, loss_weight: float = 1.0, loss_name: str = 'loss_kl') -> None:
        super().__init__(loss_weight, loss_name)
        if not temperature > 0:
            raise ValueError(f'MaskKLDistillationLoss: {temperature=} must be positive')
        self.temperature = temperature

    def compute(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See :class:`DistillationLoss`."""
        return functional.temperature_kl(student, teacher, self.temperature)
