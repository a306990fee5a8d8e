"""Distillation of masks: a segmentor learns the mask logits of another."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from mmirstd.models.distillation.distiller import Distiller, Losses
from mmirstd.models.distillation.losses import MaskLogitLoss
from mmirstd.models.distillation.teacher import prepare_views, target_logits
from mmirstd.registry import MODELS

LABELS = ('none', 'teacher', 'masks')


@MODELS.register_module()
class MaskDistiller(Distiller):
    """A segmentor learns the target logits of a teacher, as SimIR's authors distill: BCE, Dice and KL with temperature.

    The logits of both are compared at the size of the views. Beside that, the student's own losses, which also train
    its auxiliary masks, may take masks as labels: those of the dataset, or what the teacher finds.

    Args:
        student: Config of a segmentor, with its ``data_preprocessor``; in checkpoints its weights are ``student.*``.
        teacher: Config of a :class:`FrozenTeacher` with ``output='logits'``, the default here.
        labels: What the student's own losses take as labels: 'none' leaves them out, 'teacher' takes the teacher's
            masks at a probability of 0.5, 'masks' those of the dataset.
        label_weight: Factor of the student's own losses.
        kwargs: Other arguments of :class:`Distiller`.

    Raises:
        ValueError: If an argument is out of its range.
    """

    LOSSES = MaskLogitLoss
    STUDENT = 'student.'
    TEACHER: ClassVar[dict[str, Any]] = {**Distiller.TEACHER, 'output': 'logits'}

    def __init__(
        self,
        student: Mapping[str, Any],
        teacher: Mapping[str, Any],
        labels: str = 'none',
        label_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if labels not in LABELS or label_weight < 0:
            raise ValueError(f'MaskDistiller: {labels=} must be one of {LABELS}, {label_weight=} not negative')
        if teacher.get('output', 'logits') != 'logits':
            raise ValueError(f"MaskDistiller: the teacher's output must be 'logits', not {teacher['output']!r}")
        super().__init__(teacher=teacher, student_preprocessor=student['data_preprocessor'], **kwargs)
        self.student = MODELS.build(student)
        self.labels, self.label_weight = labels, label_weight
        if labels == 'none':
            self.eval()
            self.freeze_unused(self.study(self.black_view()))
            self.train()

    def study(self, images: Tensor) -> tuple[Tensor, ...]:
        """The student's logits of views, one map (B, 1, H, W)."""
        return (self._logits(images)[0],)

    def compare(self, images: Tensor, samples: Sequence[SegDataSample]) -> Losses:
        """See :class:`Distiller`."""
        (taught,) = self.teach(images, samples)
        logits, features = self._logits(images)
        losses: Losses = {}
        for loss in self.losses:
            losses[f'mask.{loss.loss_name}'] = losses.get(f'mask.{loss.loss_name}', 0) + loss(logits, taught)
        if self.labels == 'none' or not self.training:
            return losses
        if self.labels == 'teacher':
            samples = [_labeled(sample, mask) for sample, mask in zip(samples, taught > 0, strict=True)]
        own = self.student._decode_head_forward_train(features, samples)
        if self.student.with_auxiliary_head:
            own |= self.student._auxiliary_head_forward_train(features, samples)
        return losses | {k: v * self.label_weight if 'loss' in k else v for k, v in own.items()}

    def _logits(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        inputs = prepare_views(images, self.preprocessor)
        features = self.student.extract_feat(inputs)
        return target_logits(self.student, features, tuple(images.shape[2:]), inputs.shape), features


def _labeled(sample: SegDataSample, mask: Tensor) -> SegDataSample:
    """The sample with another mask, bool (1, H, W)."""
    labeled = SegDataSample(metainfo=sample.metainfo)
    labeled.gt_sem_seg = PixelData(data=mask.long())
    return labeled
