"""What heads of one target logit have in common."""

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmirstd.models.losses import target_probability


class BinaryHead(BaseDecodeHead):
    """A head that predicts one target logit and is trained at label size.

    `num_classes`, `out_channels` and `threshold` are 2, 1 and 0.5 by default. The mask is made by the subclass:
    BaseDecodeHead's classifier is not there.

    Raises:
        ValueError: for another number of logits.
    """

    def __init__(self, in_channels: int, channels: int, **kwargs: object) -> None:
        kwargs = {'num_classes': 2, 'out_channels': 1, 'threshold': 0.5, 'init_cfg': None, 'dropout_ratio': 0} | kwargs
        super().__init__(in_channels, channels, **kwargs)
        if self.out_channels != 1:
            raise ValueError(f'{type(self).__name__} predicts one target logit; out_channels={self.out_channels}')
        del self.conv_seg

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Compute the losses of one mask at label size, and the mean probability on target pixels.

        Unlike the base class it reports no pixel accuracy, which is over 99 % for an empty prediction.
        """
        label = self._stack_batch_gt(batch_data_samples).squeeze(1)
        logits = self._at_label_size(seg_logits, label)
        return self.mask_losses(logits, label) | self.log_values(logits, label)

    @staticmethod
    def log_values(logits: Tensor, label: Tensor) -> dict[str, Tensor]:
        """What is logged beside the losses: the mean probability on target pixels, where there are any."""
        probability = target_probability(logits, label)
        return {} if probability is None else {'target_prob': probability}

    def mask_losses(self, logits: Tensor, label: Tensor, modules: nn.ModuleList | None = None) -> dict[str, Tensor]:
        """Compute every loss, of `modules` or of the head, of logits (B, 1, H, W) against labels (B, H, W), by name."""
        losses: dict[str, Tensor] = {}
        modules = self.loss_decode if modules is None else modules
        for loss in modules if isinstance(modules, nn.ModuleList) else [modules]:
            value = loss(logits, label, ignore_index=self.ignore_index)
            losses[loss.loss_name] = losses.get(loss.loss_name, 0) + value
        return losses

    def _at_label_size(self, logits: Tensor, label: Tensor) -> Tensor:
        size = label.shape[1:]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if logits.shape[2:] == size:
            return logits
        return F.interpolate(logits, size, mode='bilinear', align_corners=self.align_corners)

    def predict_by_feat(self, seg_logits: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Resize the logits to the images, in float32: half precision saturates the probabilities."""
        return super().predict_by_feat(seg_logits.float(), batch_img_metas)
