"""A segmentor for heads that are not of this package."""

import torch
from mmengine.structures import BaseDataElement
from mmseg.models import EncoderDecoder
from torch import Tensor

from mmirstd.registry import MODELS


@MODELS.register_module()
class IRSTDEncoderDecoder(EncoderDecoder):
    """MMSegmentation's ``EncoderDecoder`` with probabilities in float32, whatever the precision of the model.

    The heads of this package see to it themselves. Those of MMSegmentation return what the model computes in: in
    bfloat16, all probabilities above 0.998 are one.
    """

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[BaseDataElement] | None = None
    ) -> list[BaseDataElement]:
        """Bring logits (B, C, H, W) to the images' own sizes, and to probabilities where C is 1."""
        wide = torch.promote_types(seg_logits.dtype, torch.float32)
        return super().postprocess_result(seg_logits.to(wide), data_samples)
