"""State-dict keys of EfficientSAM: the authors' (yformer/EfficientSAM, ``efficient_sam/*.py``) to ours.

The image encoder is a ViT, see ``convert_sam_vit_state_dict``. The mask decoder:

| part | authors | ours, ``EfficientSAMHead`` |
|---|---|---|
| transformer's MLPs | ``mlp.layers.0.0``, ``mlp.fc`` | ``mlp.lin1``, ``mlp.lin2`` |
| up-sampling | ``final_output_upscaling_layers.{0.0,0.1,1.0}`` | ``output_upscaling.{0,1,3}`` |
| MLP of mask token ``i`` | ``output_hypernetworks_mlps.i.{layers.0.0,layers.1.0,fc}`` | ``output_hypernetworks_mlps.i.layers.{0,1,2}`` |
| padding of prompts | ``prompt_encoder.invalid_points``, plus the encoded point (-1, -1) | ``no_prompt`` |
"""  # noqa: E501

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mmirstd.checkpoints.convert.renaming import rename, renamed, whole_keys
from mmirstd.checkpoints.convert.sam import convert_sam_vit_state_dict
from mmirstd.checkpoints.state_dict import StateDict

# Side of the images that the authors' prompt encoder is built for.
_IMAGE_SIZE = 1024
_MATRIX = 'pe_layer.positional_encoding_gaussian_matrix'
_HEAD = whole_keys(
    (r'(?:mask_decoder\.)?((?:iou_token|mask_tokens)\.weight)', r'\1'),
    (r'(?:prompt_encoder\.)?(pe_layer\.positional_encoding_gaussian_matrix)', r'\1'),
    (r'(?:prompt_encoder\.invalid_points|no_prompt)\.weight', 'no_prompt.weight'),
    (r'mask_decoder\.(transformer\.layers\.\d+\.mlp)\.layers\.0\.0\.(weight|bias)', r'\1.lin1.\2'),
    (r'mask_decoder\.(transformer\.layers\.\d+\.mlp)\.fc\.(weight|bias)', r'\1.lin2.\2'),
    (r'mask_decoder\.(transformer\.(?!.*\.mlp\.).+)', r'\1'),
    (r'mask_decoder\.final_output_upscaling_layers\.0\.([01])\.(weight|bias)', r'output_upscaling.\1.\2'),
    (r'mask_decoder\.final_output_upscaling_layers\.1\.0\.(weight|bias)', r'output_upscaling.3.\1'),
    (
        r'mask_decoder\.(output_hypernetworks_mlps\.\d+\.layers\.[01])\.0\.(weight|bias)',
        r'\1.\2',
    ),
    (r'mask_decoder\.(output_hypernetworks_mlps\.\d+)\.fc\.(weight|bias)', r'\1.layers.2.\2'),
)
# What prompts need, and what nothing here reads.
_DROPPED = re.compile(
    r'image_encoder\.|prompt_encoder\.(?:point|bbox_(?:top_left|bottom_right))_embeddings\.'
    r'|mask_decoder\.iou_prediction_head\.'
)


def convert_efficient_sam_decoder_state_dict(
    state_dict: Mapping[str, Tensor], mask_index: int = 1
) -> tuple[StateDict, list[str]]:
    """Convert keys of a whole EfficientSAM to those of ``mmirstd.EfficientSAMHead``, whose own stay.

    Args:
        state_dict: The weights.
        mask_index: The mask token that the head reads.

    Returns:
        The converted weights, and the keys that were left out: the image encoder, the embeddings of prompts, the IoU
        head, the MLPs of the other mask tokens.

    Raises:
        ValueError: If keys have no place, naming them.
    """
    state_dict = {key.removeprefix('module.'): value for key, value in state_dict.items()}
    if not any(key.startswith('mask_decoder.') for key in state_dict):
        return state_dict, []
    mlp = re.compile(rf'mask_decoder\.output_hypernetworks_mlps\.(?!{mask_index}\.)\d+\.')
    kept = {key: value for key, value in state_dict.items() if not (_DROPPED.match(key) or mlp.match(key))}
    state = renamed(kept, lambda key: rename(key, _HEAD), "EfficientSAM's decoder")
    if {_MATRIX, 'no_prompt.weight'} <= state.keys():
        state['no_prompt.weight'] = state['no_prompt.weight'] + _encoded_padding(state[_MATRIX])
    return state, [key for key in state_dict if key not in kept]


def _encoded_padding(matrix: Tensor) -> Tensor:
    """Encode the point (-1, -1), which stands where a prompt is missing: its center, over the size of the image."""
    angle = 2 * math.pi * (2 * (-1 + 0.5) / _IMAGE_SIZE - 1) * matrix.sum(0, keepdim=True)
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


def convert_efficient_sam_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert a whole EfficientSAM to the keys of the ``EncoderDecoder`` in ``configs/_base_/models/efficient-sam_*``.

    Returns:
        The converted weights, and the keys that were left out: what only prompts need, the IoU head, the MLPs of the
        other mask tokens.

    Raises:
        ValueError: If it is another model, or keys have no place, naming them.
    """
    encoder, other = convert_sam_vit_state_dict(state_dict)
    head, dropped = convert_efficient_sam_decoder_state_dict(state_dict)
    state = {f'backbone.{key}': value for key, value in encoder.items()}
    state |= {f'decode_head.{key}': value for key, value in head.items()}
    return state, [key for key in dropped if key in other]
