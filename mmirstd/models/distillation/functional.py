"""Differences between what a student and its teacher compute, as plain functions; in float32 at least."""

import torch
import torch.nn.functional as F
from torch import Tensor

_EPS = 1e-6


def _wide(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors)


def feature_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of maps (B, C, H, W)."""
    return F.mse_loss(*_wide(student, teacher))


def feature_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of the angle between the feature vectors at a position, averaged over positions: in [0, 2]."""
    student, teacher = _wide(student, teacher)
    return 1 - F.cosine_similarity(student, teacher, dim=1, eps=_EPS).mean()


def feature_standardized_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the mean squared difference of maps whose channels have mean 0 and deviation 1 in each image.

    It is 1 - r averaged over channels, with r the Pearson correlation of student and teacher over the positions (Cao et
    al., PKD, NeurIPS 2022, Eq. 2, who take the statistics over a batch): scale and offset of the teacher do not count.
    A channel without variation has the value 0 everywhere.

    Args:
        student: (B, C, H, W).
        teacher: Likewise.
    """

    def standardized(x: Tensor) -> Tensor:
        std, mean = torch.std_mean(x, dim=(2, 3), correction=0, keepdim=True)
        return (x - mean) / std.clamp(min=_EPS)

    student, teacher = _wide(student, teacher)
    return F.mse_loss(standardized(student), standardized(teacher)) / 2


def temperature_kl(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Kullback-Leibler divergence of the student's target probability from the teacher's, averaged over pixels.

    With p = sigmoid(teacher / T) and q = sigmoid(student / T) it is T^2 (p log(p / q) + (1 - p) log((1 - p) / (1 - q)))
    (Hinton et al., 2015): the factor keeps the size of the gradient.

    Args:
        student: Logits of any shape.
        teacher: Logits of that shape.
        temperature: T; above 1, what the teacher finds improbable counts more.
    """
    student, teacher = (x / temperature for x in _wide(student, teacher))
    p = teacher.sigmoid()
    target = p * (F.logsigmoid(teacher) - F.logsigmoid(student))
    background = (1 - p) * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return temperature**2 * (target + background).mean()
