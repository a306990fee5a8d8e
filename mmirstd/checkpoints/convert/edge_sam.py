"""State-dict keys of EdgeSAM: the authors' (chongzhou96/EdgeSAM, ``edge_sam/modeling/rep_vit.py``) to ours.

| part | authors, below ``image_encoder.`` | ours |
|---|---|---|
| trunk, a RepViT of the first version | ``features`` | ``RepViT(arch='m0_9', branch_norm=True)`` |
| maps of strides 16 and 32 to the neck's width | ``fuse_stage2``, ``fuse_stage3.op_list.0`` | ``EdgeSAMNeck``: ``fine``, ``coarse`` |
| neck | ``neck`` | ``EdgeSAMNeck``: ``neck`` |

Prompt encoder and mask decoder have segment-anything's keys.
"""  # noqa: E501

from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import rename, renamed, whole_keys
from mmirstd.checkpoints.convert.repvit import convert_repvit_state_dict
from mmirstd.checkpoints.convert.sam import convert_sam_decoder_state_dict, image_encoder
from mmirstd.checkpoints.state_dict import StateDict

_NECK = whole_keys(
    (r'fuse_stage2\.weight', 'fine.weight'),
    (r'fuse_stage3\.op_list\.0\.weight', 'coarse.weight'),
    (r'(fine|coarse)\.weight', r'\1.weight'),
    (r'neck\.([0-3])\.(weight|bias)', r'neck.\1.\2'),
)


def convert_edge_sam_neck_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of an EdgeSAM to those of ``mmirstd.EdgeSAMNeck``, whose own stay.

    Returns:
        The converted weights, and the keys that were left out: trunk, prompt encoder, mask decoder.

    Raises:
        ValueError: If keys have no place, naming them.
    """
    encoder, dropped = image_encoder(state_dict)
    trunk = [key for key in encoder if key.startswith('features.')]
    neck = {key: value for key, value in encoder.items() if key not in trunk}
    return renamed(neck, lambda key: rename(key, _NECK), "EdgeSAM's neck"), dropped + trunk


def convert_edge_sam_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert a whole EdgeSAM to the keys of the ``EncoderDecoder`` in ``configs/_base_/models/edge-sam.py``.

    Returns:
        The converted weights, and the keys that were left out: what only prompts need, and the IoU head.

    Raises:
        ValueError: If it is another model, or keys have no place, naming them.
    """
    if not any(key.removeprefix('module.').startswith('mask_decoder.') for key in state_dict):
        raise ValueError('no mask_decoder in it; an encoder alone loads by init_cfg of RepViT and EdgeSAMNeck')
    parts = {
        'backbone': convert_repvit_state_dict(state_dict),
        'neck': convert_edge_sam_neck_state_dict(state_dict),
        'decode_head': convert_sam_decoder_state_dict(state_dict),
    }
    left_out = set.intersection(*(set(dropped) for _, dropped in parts.values()))
    return {f'{part}.{key}': value for part, (state, _) in parts.items() for key, value in state.items()}, sorted(
        left_out
    )
