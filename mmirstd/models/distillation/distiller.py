"""Distillation of features: a frozen teacher, a student backbone, and projections that are dropped at the end."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmirstd.checkpoints.state_dict import StateDict
from mmirstd.models.distillation.cache import TeacherCache
from mmirstd.models.distillation.losses import DistillationLoss, FeatureLoss
from mmirstd.models.distillation.teacher import channels_of, prepare_views
from mmirstd.registry import MODELS

Losses = dict[str, Tensor]
DRY_RUN_SIZE = 64  # pixels of the views from which the widths of maps are found


class Distiller(BaseModel):
    """A student that is trained on what a frozen teacher makes of the same augmented views.

    Views come as they are; teacher and student each have a preprocessor, with a normalization and a size of its own.
    The teacher is no submodule: it is in no checkpoint, no optimizer and no average.

    In mode 'loss' it returns the losses, in mode 'predict' the samples with the losses of each as ``distill_losses``,
    which ``HeldOutLossMetric`` averages.

    Args:
        teacher: Config of a :class:`FrozenTeacher`.
        losses: Configs of the losses.
        student_preprocessor: How the student sees the views, as ``data_preprocessor`` of its segmentor.
        teacher_cache: Folder of ``mmirstd cache-teacher``; the teacher is then not run, and not even built.
        init_cfg: MMEngine's initialization.

    Raises:
        ValueError: If there is no loss, or one of another kind.
        FeatureStoreError: If the cache is not there, or of another teacher.
    """

    LOSSES: type[DistillationLoss] = DistillationLoss
    STUDENT: str  # prefix of the student's weights in a checkpoint
    TEACHER: ClassVar[dict[str, Any]] = {'type': 'mmirstd.FrozenTeacher'}  # what a teacher's config need not say

    def __init__(
        self,
        teacher: Mapping[str, Any],
        losses: Sequence[Mapping[str, Any]],
        student_preprocessor: Mapping[str, Any],
        teacher_cache: str | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(None, init_cfg)
        teacher = {**self.TEACHER, **teacher}
        self.cache = TeacherCache(teacher_cache, teacher) if teacher_cache else None
        # In a tuple, so that it is no submodule.
        self._teacher = () if self.cache else (MODELS.build(teacher),)
        self.losses = nn.ModuleList(map(MODELS.build, losses))
        if not losses or not all(isinstance(loss, self.LOSSES) for loss in self.losses):
            raise ValueError(
                f'{type(self).__name__} takes losses of the kind {self.LOSSES.__name__}, got '
                f'{[type(loss).__name__ for loss in self.losses]}'
            )
        self.preprocessor = MODELS.build(student_preprocessor)

    def init_weights(self) -> None:
        """Load the teacher's weights, or note where those of the cache come from; initialize the student."""
        super().init_weights()
        if self.cache:
            self.cache.note_provenance()
        for teacher in self._teacher:
            teacher.init_weights()

    def teach(self, images: Tensor, samples: Sequence[SegDataSample]) -> tuple[Tensor, ...]:
        """Return the teacher's maps of a batch of views, computed or from the cache; float32, without gradients."""
        if self.cache:
            return self.cache.read(samples, images.device)
        return self._teacher[0](images)

    def compare(self, images: Tensor, samples: Sequence[SegDataSample]) -> Losses:
        """Return the losses of a batch of views (B, C, H, W)."""
        raise NotImplementedError

    def forward(
        self, inputs: Sequence[Tensor] | Tensor, data_samples: list[SegDataSample] | None = None, mode: str = 'tensor'
    ) -> Losses | list[SegDataSample] | tuple[Tensor, ...]:
        """Return losses ('loss'), samples with losses ('predict'), or what the student makes of views ('tensor').

        Raises:
            ValueError: If the views of a batch are of several sizes.
        """
        if len(sizes := {tuple(image.shape) for image in inputs}) > 1:
            raise ValueError(f'views of a batch must have one size, got {sorted(sizes)}')
        images = torch.stack(list(inputs)).float()
        if mode == 'loss':
            return self.compare(images, data_samples)
        if mode == 'predict':
            return self.predict(images, data_samples)
        return self.study(images)

    def study(self, images: Tensor) -> tuple[Tensor, ...]:
        """What the student makes of views (B, C, H, W)."""
        raise NotImplementedError

    def black_view(self) -> Tensor:
        """A small view (1, C, H, W) of the channels that the student takes, to find out what comes of it."""
        return torch.zeros(1, channels_of(self.preprocessor, 3), DRY_RUN_SIZE, DRY_RUN_SIZE)

    def predict(self, images: Tensor, samples: list[SegDataSample]) -> list[SegDataSample]:
        """Set the losses of each view."""
        for i, sample in enumerate(samples):
            losses = self.compare(images[i : i + 1], [sample])
            sample.distill_losses = {name: value.item() for name, value in losses.items()}
        return samples

    @classmethod
    def student_weights(cls, state_dict: Mapping[str, Tensor]) -> StateDict:
        """The student alone, as it stands in a segmentor's config, from the weights of a distiller."""
        return {k.removeprefix(cls.STUDENT): v for k, v in state_dict.items() if k.startswith(cls.STUDENT)}

    def freeze_unused(self, outputs: Sequence[Tensor]) -> None:
        """Exclude from training what has no influence on the outputs, such as an early mask's layers.

        Distributed training fails on parameters without a gradient, and weight decay would shrink them.
        """
        named = {name: p for name, p in self.named_parameters() if p.requires_grad}
        total = sum(x.float().sum() for x in outputs)
        gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        unused = [name for (name, _), g in zip(named.items(), gradients, strict=True) if g is None]
        for name in unused:
            named[name].requires_grad_(False)
        if unused:
            number = sum(named[name].numel() for name in unused)
            first = f'{unused[0]} and {len(unused) - 1} more' if len(unused) > 1 else unused[0]
            print_log(
                f'not reached by the distillation, and so left as they are: {number:,} weights ({first})', 'current'
            )


@MODELS.register_module()
class FeatureDistiller(Distiller):
    """A backbone learns the feature maps of a teacher.

    Each map of the student is brought to the size of a teacher's map (averaged where it shrinks, else bilinear) and to
    its width by a 1x1 convolution, made from the shapes of both. The projections are no part of the student.

    Args:
        student: Config of the backbone; in checkpoints its weights are ``backbone.*``.
        pairs: ``dict(student=I, teacher=J, weight=W)`` for each pair of maps that is compared; None compares each map
            of the student with the last of the teacher.
        kwargs: Arguments of :class:`Distiller`.

    Raises:
        ValueError: If a pair names a map that is not there.
    """

    LOSSES = FeatureLoss
    STUDENT = 'backbone.'

    def __init__(
        self, student: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.backbone = MODELS.build(student)
        view = self.black_view()
        self.eval()
        maps = self.study(view)
        widths = self.cache.first.shapes if self.cache else [m.shape[1:] for m in self.teach(view, ())]
        self.pairs = self._checked(pairs, len(maps), len(widths))
        self.projections = nn.ModuleList(nn.Conv2d(maps[s].shape[1], widths[t][0], 1) for s, t, _ in self.pairs)
        self.freeze_unused([self.project(i, maps[s], maps[s].shape[2:]) for i, (s, _, _) in enumerate(self.pairs)])
        self.train()

    def study(self, images: Tensor) -> tuple[Tensor, ...]:
        """The student's maps of views."""
        return self.backbone(prepare_views(images, self.preprocessor))

    def project(self, pair: int, x: Tensor, size: Sequence[int]) -> Tensor:
        """Bring a map of the student to width and size of the teacher's. Both commute: few positions come first."""
        if x.shape[2] > size[0] or x.shape[3] > size[1]:
            return self.projections[pair](F.adaptive_avg_pool2d(x, tuple(size)))
        return F.interpolate(self.projections[pair](x), tuple(size), mode='bilinear', align_corners=False)

    def compare(self, images: Tensor, samples: Sequence[SegDataSample]) -> Losses:
        """See :class:`Distiller`; a loss is named after the student's map."""
        taught = self.teach(images, samples)
        maps = self.study(images)
        losses: Losses = {}
        for i, (s, t, weight) in enumerate(self.pairs):
            projected = self.project(i, maps[s], taught[t].shape[2:])
            for loss in self.losses:
                name = f'map{s}.{loss.loss_name}'
                losses[name] = losses.get(name, 0) + weight * loss(projected, taught[t])
        return losses

    def _checked(
        self, pairs: Sequence[Mapping[str, Any]] | None, students: int, teachers: int
    ) -> list[tuple[int, int, float]]:
        if pairs is None:
            return [(s, teachers - 1, 1.0) for s in range(students)]
        checked = []
        for pair in pairs:
            s, t = pair['student'], pair['teacher']
            if not (-students <= s < students and -teachers <= t < teachers):
                raise ValueError(
                    f'FeatureDistiller: pair {dict(pair)}: the student has {students} maps and the teacher {teachers}'
                )
            checked.append((s % students, t % teachers, float(pair.get('weight', 1.0))))
        if not checked:
            raise ValueError('FeatureDistiller: pairs is empty: there is nothing to learn')
        return checked
