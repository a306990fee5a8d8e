"""Losses of networks that learn against a discriminator, as functions, and registered."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmirstd.registry import MODELS


def class_adversarial_loss(scores: Tensor, source: int) -> Tensor:
    """Binary cross-entropy of a discriminator's scores, one for each source of masks (Wang et al., MDvsFA, ICCV 2019).

    The loss is the mean over images and sources of -log s(x) for `source` and -log(1 - s(x)) for the others, with the
    sigmoid s. The public code (TianwangJia/MDvsFAcGAN at d9c4560) applies it to scores that are a softmax already, so
    that the loss of a perfect discriminator of three sources is (log(1 + 1/e) + 2 log 2) / 3, and not 0.

    Args:
        scores: (B, N) scores of the N sources.
        source: what the scores should say, from 0 to N - 1.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    target = torch.zeros_like(scores)
    target[:, source] = 1
    return F.binary_cross_entropy_with_logits(scores, target)


def feature_matching_loss(maps: Tensor, others: Tensor) -> Tensor:
    """Mean squared difference of a discriminator's maps of two masks (Wang et al., MDvsFA, ICCV 2019, Eq. 5)."""
    wide = torch.promote_types(maps.dtype, torch.float32)
    return F.mse_loss(maps.to(wide), others.to(wide))


@MODELS.register_module()
class ClassAdversarialLoss(nn.Module):
    """What a discriminator, and a network against it, learn from scores; see :func:`class_adversarial_loss`."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, scores: Tensor, source: int) -> Tensor:
        """Weighted loss of scores (B, N) that should say `source`."""
        return self.loss_weight * class_adversarial_loss(scores, source)


@MODELS.register_module()
class FeatureMatchingLoss(nn.Module):
    """How far a discriminator sees two masks apart; see :func:`feature_matching_loss`."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, maps: Tensor, others: Tensor) -> Tensor:
        """Weighted loss of two maps of one shape."""
        return self.loss_weight * feature_matching_loss(maps, others)
