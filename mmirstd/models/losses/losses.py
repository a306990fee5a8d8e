"""Registered losses: thin shells around the functions, with the interface of MMSegmentation's heads."""

import torch
from mmengine.utils import is_seq_of
from torch import Tensor, nn

from mmirstd.models.losses import functional
from mmirstd.registry import MODELS


def trained_name(loss: nn.Module, name: str) -> str:
    """Return the name of a loss, of which MMEngine adds up those that say so.

    Raises:
        ValueError: if the loss would not be a part of the sum that is trained.
    """
    if not name.startswith('loss_'):
        raise ValueError(f"{type(loss).__name__}: loss_name={name!r} must begin with 'loss_', or it is not trained")
    return name


class BinaryLoss(nn.Module):
    """A loss of one target logit against labels 0, 1 and `ignore_index`.

    Args:
        loss_weight: factor of the loss.
        loss_name: its key in the log; begins with 'loss_'.

    Raises:
        ValueError: if the name begins otherwise.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_mask') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = trained_name(self, loss_name)
        self._labels_checked = False

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the unweighted loss of logits (B, ...) against target in [0, 1] on the valid pixels."""
        raise NotImplementedError

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int | None = 255, **_: object
    ) -> Tensor:
        """Return the weighted loss.

        Args:
            pred: logits (B, 1, H, W).
            target: labels (B, H, W).
            weight: pixel weights of a pixel sampler; not supported.
            ignore_index: label that counts nowhere.

        Raises:
            ValueError: for more than one logit, labels that are neither 0, 1 nor ignored, or pixel weights.
        """
        name = type(self).__name__
        if pred.shape[1] != 1:
            raise ValueError(f'{name} takes one logit a pixel, got {pred.shape[1]}: set out_channels=1 in the head')
        if weight is not None:
            raise ValueError(f'{name} takes no pixel weights: leave the pixel sampler out, or use PointSampledLoss')
        valid = torch.ones_like(target, dtype=torch.bool) if ignore_index is None else target != ignore_index
        # PackIRSTDInputs checks every mask in the memory of a worker. For other pipelines this is the check; on a GPU
        # it waits for all that is queued there, so it sees the first batch alone.
        if target.device.type == 'cpu' or not self._labels_checked:
            if bool((valid & (target != 0) & (target != 1)).any()):
                labels = target[valid].unique().tolist()
                raise ValueError(f'{name}: labels {labels}; a mask holds 0, 1 and {ignore_index}')
            self._labels_checked = True
        return self.loss_weight * self.compute(pred[:, 0], target, valid)


@MODELS.register_module()
class BinaryCrossEntropyLoss(BinaryLoss):
    """Binary cross-entropy averaged over the pixels that are not ignored; see functional.binary_cross_entropy."""

    def __init__(self, pos_weight: float = 1.0, loss_weight: float = 1.0, loss_name: str = 'loss_bce') -> None:
        super().__init__(loss_weight, loss_name)
        self.pos_weight = pos_weight

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :class:`BinaryLoss`."""
        return functional.binary_cross_entropy(logits, target, valid, self.pos_weight)


@MODELS.register_module()
class BinaryFocalLoss(BinaryLoss):
    """Focal loss, a sum over the pixels for each target pixel; see functional.focal_loss."""

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = 0.25,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_focal',
    ) -> None:
        super().__init__(loss_weight, loss_name)
        if gamma < 0 or (alpha is not None and not 0 < alpha < 1):
            raise ValueError(
                f'BinaryFocalLoss: gamma={gamma} must not be negative, and alpha={alpha} in (0, 1) or None'
            )
        self.gamma, self.alpha = gamma, alpha

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :class:`BinaryLoss`."""
        return functional.focal_loss(logits, target, valid, self.gamma, self.alpha)


@MODELS.register_module()
class BinaryDiceLoss(BinaryLoss):
    """Dice loss of the target; see functional.dice_loss. MMSegmentation's trains the background of one channel."""

    def __init__(
        self,
        smooth: float = 1.0,
        per_image: bool = True,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_dice',
        squared: bool = False,
    ) -> None:
        super().__init__(loss_weight, loss_name)
        self.smooth, self.per_image, self.squared = smooth, per_image, squared

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :class:`BinaryLoss`."""
        return functional.dice_loss(logits, target, valid, self.smooth, self.per_image, self.squared)


@MODELS.register_module()
class SoftIoULoss(BinaryLoss):
    """Soft IoU loss, linear or logarithmic; see functional.soft_iou_loss for what `log` is good for."""

    def __init__(
        self,
        smooth: float = 1.0,
        per_image: bool = True,
        log: bool = False,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_iou',
    ) -> None:
        super().__init__(loss_weight, loss_name)
        self.smooth, self.per_image, self.log = smooth, per_image, log

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :class:`BinaryLoss`."""
        return functional.soft_iou_loss(logits, target, valid, self.smooth, self.per_image, self.log)


@MODELS.register_module()
class StructureConsistencyLoss(BinaryLoss):
    """Difference of local means and of what stands out from them; see functional.structure_consistency_loss."""

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'loss_structure') -> None:
        super().__init__(loss_weight, loss_name)

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :class:`BinaryLoss`."""
        return functional.structure_consistency_loss(logits, target, valid)


@MODELS.register_module()
class MissFalseAlarmLoss(BinaryLoss):
    """Squared errors on targets and background, weighed apart; see functional.miss_false_alarm_loss."""

    def __init__(
        self,
        miss_weight: float = 1.0,
        false_alarm_weight: float = 1.0,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_mdfa',
    ) -> None:
        super().__init__(loss_weight, loss_name)
        self.miss_weight, self.false_alarm_weight = miss_weight, false_alarm_weight

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :class:`BinaryLoss`."""
        return functional.miss_false_alarm_loss(logits, target, valid, self.miss_weight, self.false_alarm_weight)


@MODELS.register_module()
class ScaleLocationLoss(BinaryLoss):
    """Scale- and location-sensitive loss (SLS) of MSHNet; see functional.scale_location_loss."""

    def __init__(self, location: bool = True, loss_weight: float = 1.0, loss_name: str = 'loss_sls') -> None:
        super().__init__(loss_weight, loss_name)
        self.location = location

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :class:`BinaryLoss`."""
        return functional.scale_location_loss(logits, target, valid, self.location)


@MODELS.register_module()
class MaskGradientLoss(BinaryLoss):
    """Loss of a predicted edge against the gradient of the mask; see functional.mask_gradient_loss."""

    def __init__(
        self,
        bce_weight: float = 10.0,
        repeated_sigmoid: bool = True,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_edge',
    ) -> None:
        super().__init__(loss_weight, loss_name)
        self.bce_weight, self.repeated_sigmoid = bce_weight, repeated_sigmoid

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :class:`BinaryLoss`."""
        return functional.mask_gradient_loss(logits, target, valid, self.bce_weight, self.repeated_sigmoid)


@MODELS.register_module()
class PointSampledLoss(BinaryLoss):
    """Sum of losses over one set of sampled points, as SimIR and Mask2Former train; see functional.sample_points.

    Args:
        losses: configs of :class:`BinaryLoss` classes, each with its weight.
        num_points: points an image.
        oversample_ratio: candidates for one point.
        importance_ratio: share of the points that are chosen for uncertainty.
        loss_weight: factor of the sum.
        loss_name: its key in the log.
    """

    def __init__(
        self,
        losses: list[dict],
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_ratio: float = 0.75,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_point',
    ) -> None:
        super().__init__(loss_weight, loss_name)
        self.losses = nn.ModuleList(MODELS.build(cfg) for cfg in losses)
        if not is_seq_of(list(self.losses), BinaryLoss) or not len(self.losses):
            raise ValueError(f'PointSampledLoss takes losses of mmirstd, got {[type(x).__name__ for x in self.losses]}')
        if num_points < 1 or oversample_ratio < 1 or not 0 <= importance_ratio <= 1:
            raise ValueError(f'PointSampledLoss: {num_points=}, {oversample_ratio=}, {importance_ratio=} out of range')
        self.num_points = num_points
        self.oversample_ratio, self.importance_ratio = oversample_ratio, importance_ratio

    def compute(self, logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """See :class:`BinaryLoss`."""
        points = functional.sample_points(
            logits, target, valid, self.num_points, self.oversample_ratio, self.importance_ratio
        )
        return sum(loss.loss_weight * loss.compute(*points) for loss in self.losses)
