"""The rule that makes detections from a map of targets, as a head."""

import numpy as np
import torch
from torch import Tensor

from mmirstd.models.classical.thresholds import center_map, check_rule, map_threshold, normalize_map
from mmirstd.models.decode_heads.binary_head import BinaryHead
from mmirstd.registry import MODELS

# sigmoid(x) is above 0.5 in float32, and below 1.
_SMALLEST, _LARGEST = 1e-6, 15.0


@MODELS.register_module()
class ThresholdHead(BinaryHead):
    """Turns each map into logits that are positive where it is above a threshold of its own.

    Targets are bright: negative values count as 0. The map is brought to [0, 1], then stretched below and above its
    threshold, so that the threshold becomes probability 0.5, see
    :func:`mmirstd.models.classical.thresholds.center_map`. A sweep over thresholds therefore moves all images'
    thresholds together, around the rule. There are no weights.

    Args:
        rule: ``'fixed'``, ``'mean_std'``, ``'otsu'`` or ``'budget'``, see
            :func:`mmirstd.models.classical.thresholds.map_threshold`.
        number: That of the rule.
        kwargs: Of :class:`BinaryHead`.

    Raises:
        ValueError: If there is no such rule, or its number is not allowed.
    """

    def __init__(self, rule: str = 'fixed', number: float | None = None, **kwargs: object) -> None:
        kwargs.setdefault(
            'loss_decode', dict(type='CrossEntropyLoss', avg_non_ignore=True)
        )  # unused; the default warns
        super().__init__(in_channels=1, channels=1, **kwargs)
        check_rule(rule, number)
        self.rule, self.number = rule, number

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Return logits (B, 1, H, W), float32, of the maps (B, 1, H, W) that come first."""
        maps = inputs[0]
        logits = np.stack([self._logits(values) for values in maps[:, 0].detach().cpu().double().numpy()])
        return torch.from_numpy(logits)[:, None].to(maps.device)

    def _logits(self, values: np.ndarray) -> np.ndarray:
        values = normalize_map(np.maximum(values, 0))
        p = center_map(values, map_threshold(values, self.rule, self.number))
        with np.errstate(divide='ignore'):
            logits = np.clip(np.log(p) - np.log1p(-p), -_LARGEST, _LARGEST).astype(np.float32)
        return np.where(p > 0.5, np.maximum(logits, np.float32(_SMALLEST)), np.minimum(logits, np.float32(0)))
