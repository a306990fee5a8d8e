"""EfficientSAM's mask decoder, without prompts.

Y. Xiong et al., "EfficientSAM: Leveraged Masked Image Pretraining for Efficient Segment Anything", CVPR 2024,
arXiv:2312.00863; what the paper leaves open is as in the authors' code.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from mmirstd.checkpoints.convert.efficient_sam import convert_efficient_sam_decoder_state_dict
from mmirstd.models.decode_heads.granularity_aware_head import GranularityAwareHead
from mmirstd.models.layers import MLP, TwoWayBlock
from mmirstd.registry import MODELS


class EfficientTwoWayBlock(TwoWayBlock):
    """As SAM's, but position encodings stay in the tokens that attend to each other, and GELU in the MLP."""

    activation = staticmethod(F.gelu)

    def attend_self(self, tokens: Tensor, token_pe: Tensor) -> Tensor:
        """Update tokens (B, N, C)."""
        if not self.skip_first_pe:
            tokens = tokens + token_pe
        return tokens + self.self_attn(tokens, tokens, tokens)


@MODELS.register_module()
class EfficientSAMHead(GranularityAwareHead):
    """EfficientSAM's mask decoder without prompts, with the edge of IRSAM or without.

    It differs from SAM's in the transformer's layers (:class:`EfficientTwoWayBlock`), in GELU for ReLU, in the norm of
    the up-sampling, which is over channels and positions, and in prompts: there is no embedding of "no mask" on the
    map, and of the six points that the authors' code always has, those that are missing are padding tokens, here all.

    Args:
        args: of GranularityAwareHead.
        num_prompts: padding tokens.
        mask_index: mask token that the mask is read from; the authors' code only ever reads 1 to 3.
        kwargs: of GranularityAwareHead. ``init_cfg=dict(type='Pretrained', checkpoint=FILE_OR_URL, prefix=None)`` takes
            the decoder out of an EfficientSAM checkpoint, or this project's own.

    Raises:
        ValueError: as GranularityAwareHead, and without a padding token.
    """

    block = EfficientTwoWayBlock
    convert_decoder = staticmethod(convert_efficient_sam_decoder_state_dict)

    def __init__(self, *args: object, num_prompts: int = 6, mask_index: int = 1, **kwargs: object) -> None:
        super().__init__(*args, mask_index=mask_index, **kwargs)
        if num_prompts < 1:
            raise ValueError(f'EfficientSAMHead: {num_prompts=} must be at least 1')
        self.num_prompts = num_prompts
        hidden, out = self.channels // 4, self.channels // 8
        self.no_mask_embed = None
        self.no_prompt = nn.Embedding(1, self.channels)
        self.output_upscaling[1] = nn.GroupNorm(1, hidden)
        mlp = MLP(self.channels, self.channels, out, 3, activation=F.gelu)
        self.output_hypernetworks_mlps = nn.ModuleDict({str(mask_index): mlp})

    def sam_tokens(self) -> list[Tensor]:
        """Return the tokens that every image has, (n, C) each: IoU, masks, padding."""
        return [*super().sam_tokens(), self.no_prompt.weight.expand(self.num_prompts, -1)]
