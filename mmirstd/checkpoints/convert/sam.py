"""State-dict keys of the image encoders of SAM and MobileSAM (TinyViT): those of published checkpoints to ours.

SAM's ViT; ours are those of segment-anything without ``image_encoder.``:

| part | segment-anything | mmpretrain | timm, EfficientSAM |
|---|---|---|---|
| patches | ``patch_embed.proj`` | ``patch_embed.projection`` | ``patch_embed.proj`` |
| layer ``i`` | ``blocks.i`` | ``layers.i`` | ``blocks.i`` |
| norms, MLP | ``norm1``, ``norm2``, ``mlp.lin1``, ``mlp.lin2`` | ``ln1``, ``ln2``, ``ffn.layers.0.0``, ``ffn.layers.1`` | ``norm1``, ``norm2``, ``mlp.fc1``, ``mlp.fc2`` |
| neck | ``neck`` | ``channel_reduction`` | ``neck`` |

TinyViT (authors: microsoft/Cream, ``TinyViT/models/tiny_vit.py``, and MobileSAM below ``image_encoder.``):

| part | authors | timm | ours |
|---|---|---|---|
| stem convolutions | ``patch_embed.seq.{0,2}`` | ``patch_embed.conv{1,2}`` | ``stem.{0,2}`` |
| block ``j`` of stage ``i`` | ``layers.i.blocks.j`` | ``stages.i.blocks.j`` | ``stages.i.blocks.j`` |
| merging into stage ``i`` | ``layers.(i - 1).downsample`` | ``stages.i.downsample`` | ``stages.i.downsample`` |
| convolution before a batch norm | ``c`` | ``conv`` | ``conv`` |
| classifier | ``norm_head``, ``head`` | ``head`` | none |
"""  # noqa: E501

import math
import re
from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import rename, renamed, whole_keys
from mmirstd.checkpoints.state_dict import StateDict

_SAM_PARTS = ('image_encoder.', 'prompt_encoder.', 'mask_decoder.')

_ATTENTION = r'attn\.(?:(?:qkv|proj)\.(?:weight|bias)|rel_pos_[hw]|qkv\.lora_[ab])'
_SAM_RULES = whole_keys(
    (r'pos_embed', r'pos_embed'),
    (r'patch_embed\.proj(?:ection)?\.(weight|bias)', r'patch_embed.proj.\1'),
    (rf'(?:blocks|layers)\.(\d+)\.({_ATTENTION})', r'blocks.\1.\2'),
    (r'(?:blocks|layers)\.(\d+)\.(?:norm|ln)([12])\.(weight|bias)', r'blocks.\1.norm\2.\3'),
    (r'blocks\.(\d+)\.mlp\.(?:lin|fc)([12])\.(weight|bias)', r'blocks.\1.mlp.lin\2.\3'),
    (r'layers\.(\d+)\.ffn\.layers\.0\.0\.(weight|bias)', r'blocks.\1.mlp.lin1.\2'),
    (r'layers\.(\d+)\.ffn\.layers\.1\.(weight|bias)', r'blocks.\1.mlp.lin2.\2'),
    (r'(?:neck|channel_reduction)\.([0-3])\.(weight|bias)', r'neck.\1.\2'),
)

_BN = r'bn\.(?:weight|bias|running_mean|running_var|num_batches_tracked)'
_CONV_BN = rf'(?:(?:c|conv)\.(?:weight|bias)|{_BN})'
_TINY_RULES = whole_keys(
    (rf'(?:patch_embed\.seq|stem)\.([02])\.({_CONV_BN})', r'stem.\1.\2'),
    (rf'patch_embed\.conv1\.({_CONV_BN})', r'stem.0.\1'),
    (rf'patch_embed\.conv2\.({_CONV_BN})', r'stem.2.\1'),
    (rf'(?:layers|stages)\.(\d+)\.blocks\.(\d+)\.((?:conv[123]|local_conv)\.{_CONV_BN})', r'stages.\1.blocks.\2.\3'),
    (
        r'(?:layers|stages)\.(\d+)\.blocks\.(\d+)\.((?:attn|mlp)\.(?:norm|qkv|proj|fc[12])\.(?:weight|bias))',
        r'stages.\1.blocks.\2.\3',
    ),
    (r'(?:layers|stages)\.(\d+)\.blocks\.(\d+)\.attn\.attention_biases', r'stages.\1.blocks.\2.attn.attention_biases'),
    (rf'(layers|stages)\.(\d+)\.downsample\.(conv[123]\.{_CONV_BN})', r'\1.\2.downsample.\3'),
    (r'neck\.([0-3])\.(weight|bias)', r'neck.\1.\2'),
)
# The classifier, and indices that some of the authors' files keep beside the biases that they index.
_TINY_DROPPED = re.compile(r'(?:norm_head|head)\.|.*\.attention_bias_idxs$')


def image_encoder(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """The image encoder in a checkpoint of a whole SAM, or the checkpoint itself; and the keys of the other parts."""
    state = {key.removeprefix('module.'): value for key, value in state_dict.items()}
    if not any(key.startswith('image_encoder.') for key in state):
        return state, []
    if strange := [key for key in state if not key.startswith(_SAM_PARTS)]:
        raise ValueError(f'keys that belong to none of {_SAM_PARTS}: {strange[:5]}')
    encoder = {key.removeprefix('image_encoder.'): v for key, v in state.items() if key.startswith('image_encoder.')}
    return encoder, sorted(key for key in state if not key.startswith('image_encoder.'))


def convert_sam_vit_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of SAM's ViT encoder, in any of the layouts, to those of ``mmirstd.SAMViT``.

    EfficientSAM's position embeddings are a sequence with one for a class token, which it does not use.

    Returns:
        The converted weights, and the keys that were left out: SAM's other parts, timm's classifier.

    Raises:
        ValueError: If it is another network, or keys have no place, naming them.
    """
    state, dropped = image_encoder(state_dict)
    if not {'patch_embed.proj.weight', 'patch_embed.projection.weight'} & state.keys():
        raise ValueError(f"not an image encoder of SAM's ViT kind; its first keys: {list(state)[:5]}")
    trunk = {key: value for key, value in state.items() if not key.startswith('head.')}
    dropped += sorted(state.keys() - trunk.keys())
    state = renamed(trunk, lambda key: rename(key, _SAM_RULES), "SAM's ViT")
    if (positions := state.get('pos_embed')) is not None and positions.ndim == 3:
        side = math.isqrt(positions.shape[1])
        if positions.shape[1] != side * side + 1:
            raise ValueError(f'pos_embed is of no class token and a square of patches: {tuple(positions.shape)}')
        state['pos_embed'] = positions[:, 1:].unflatten(1, (side, side))
    return state, dropped


def convert_tiny_vit_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of TinyViT, MobileSAM's or a classifier's, in any of the layouts, to those of ``mmirstd.TinyViT``.

    Returns:
        The converted weights, and the keys that were left out: the classifier, SAM's other parts.

    Raises:
        ValueError: If it is another network, or keys have no place, naming them.
    """
    state, dropped = image_encoder(state_dict)
    if not {'patch_embed.seq.0.c.weight', 'patch_embed.conv1.conv.weight', 'stem.0.conv.weight'} & state.keys():
        raise ValueError(f'not a TinyViT; its first keys: {list(state)[:5]}')
    trunk = {key: value for key, value in state.items() if not _TINY_DROPPED.match(key)}
    dropped += sorted(state.keys() - trunk.keys())
    return renamed(trunk, _tiny_name, 'TinyViT'), dropped


def _tiny_name(key: str) -> str | None:
    if (name := rename(key, _TINY_RULES)) is None:
        return None
    name = re.sub(r'\.c\.(weight|bias)$', r'.conv.\1', name)
    # The authors merge at the end of a stage, we at the start of the next.
    return re.sub(r'^layers\.(\d+)', lambda m: f'stages.{int(m[1]) + 1}', name)


# The modules that IRSAM's authors added to SAM's mask decoder.
EDGE_BRANCH = ('edge_token', 'edge_mlp', 'compress_vit_feat', 'embedding_encoder', 'embedding_maskfeature')

_SAM_HEAD = re.compile(
    rf'mask_decoder\.(?:transformer|iou_token|mask_tokens|output_upscaling|{"|".join(EDGE_BRANCH)})\.'
    r'|prompt_encoder\.(?:pe_layer|no_mask_embed)\.'
)
# The encoder, what prompts need, what nothing here reads; pe_layer_2 is in IRSAM's files, and unused there.
_SAM_DROPPED = re.compile(
    r'image_encoder\.|prompt_encoder\.(?:point_embeddings|not_a_point_embed|mask_downscaling|pe_layer_2)\.'
    r'|mask_decoder\.(?:iou_prediction_head|output_hypernetworks_mlps)\.|pixel_(?:mean|std)$'
)


def convert_sam_decoder_state_dict(
    state_dict: Mapping[str, Tensor], mask_index: int = 0
) -> tuple[StateDict, list[str]]:
    """Convert keys of a whole SAM, MobileSAM or IRSAM to those of ``mmirstd.GranularityAwareHead``, whose own stay.

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
    mlp = f'mask_decoder.output_hypernetworks_mlps.{mask_index}.'
    state, dropped, unknown = {}, [], []
    for key, value in state_dict.items():
        if key.startswith(mlp) or _SAM_HEAD.match(key):
            # The authors' 3x3 convolutions are transposed ones of stride 1: mirrored and with their axes swapped.
            if re.match(r'mask_decoder\.embedding_maskfeature\.[03]\.weight', key):
                value = value.transpose(0, 1).flip(2, 3)
            state[key.removeprefix('mask_decoder.').removeprefix('prompt_encoder.')] = value
        else:
            (dropped if _SAM_DROPPED.match(key) else unknown).append(key)
    if unknown:
        raise ValueError(f'keys that belong nowhere in a SAM with an edge branch: {unknown}')
    return state, dropped
