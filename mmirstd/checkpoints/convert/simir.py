"""State-dict keys of SimIR's released checkpoints (O937-blip/SimIR) and ours.

Two kinds are released: a whole model, saved by detectron2 around Semantic-SAM's training code
(`semantic_sam/backbone/repvit11_query_deform.py` and the parts that `configs/repvit.yaml` names), and a distilled
backbone, which is the RepViT trunk (`features.*`) with the projections to the FPN (`proj1..4.*`).
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mmirstd.checkpoints.convert.renaming import Rules, from_zero, rename, renamed, stem_prefix
from mmirstd.checkpoints.convert.repvit import convert_repvit_state_dict
from mmirstd.checkpoints.state_dict import StateDict

_STEM = 'features.0.0.c.weight'
_SIZES = {'256': 0, '128': 1, '64': 2, '32': 3}  # the released names have the size of the map at input 256 x 256

# One exchange between sparse queries and features; the released code keeps its four layers in four lists.
_EXCHANGE = (
    (r'cross_attention_layers_proj\.(\d)\.multihead_attn\.', 'query_to_feature.'),
    (r'cross_attention_layers_proj\.(\d)\.norm\.', 'norms.0.'),
    (r'ffn_layers\.(\d)\.linear1\.', 'ffn.0.'),
    (r'ffn_layers\.(\d)\.linear2\.', 'ffn.3.'),
    (r'ffn_layers\.(\d)\.norm\.', 'norms.1.'),
    (r'self_attention_layers\.(\d)\.self_attn\.', 'query_self.'),
    (r'self_attention_layers\.(\d)\.norm\.', 'norms.2.'),
    (r'cross_attention_layers_broad\.(\d)\.multihead_attn\.', 'feature_to_query.'),
    (r'cross_attention_layers_broad\.(\d)\.norm\.', 'norms.3.'),
)
_BACKBONE = (
    (r'proj([1-4])\.(?:0\.)?(?=c\.|bn\.)', from_zero('maps.{}.')),
    (r'broad_(\d+)\.0\.', lambda m: f'sparse.project_in.{_SIZES[m[1]]}.'),
    (r'proj_(\d+)\.0\.', lambda m: f'sparse.project_out.{_SIZES[m[1]]}.'),
    (r'proj_256_dense\.0\.', 'dense.project_stem.'),
    (r'proj_(\d+)_dense\.0\.', lambda m: f'dense.project_in.{_SIZES[m[1]] - 1}.'),
    (r'broad_(\d+)_dense\.0\.', lambda m: f'dense.project_out.{_SIZES[m[1]] - 1}.'),
    (r'transformer([123])\.level_embed$', from_zero('dense.updates.{}.layer.level_embed')),
    (
        r'transformer([123])\.encoder\.layers\.0\.self_attn\.',
        from_zero('dense.updates.{}.layer.attention.'),
    ),
    (
        r'transformer([123])\.encoder\.layers\.0\.linear([12])\.',
        lambda m: f'dense.updates.{int(m[1]) - 1}.layer.ffn.{"03"[int(m[2]) - 1]}.',
    ),
    (
        r'transformer([123])\.encoder\.layers\.0\.norm([12])\.',
        from_zero('dense.updates.{}.layer.norms.{}.'),
    ),
    *((rf'transformer_{old}', f'sparse.interaction.{new}') for old, new in _EXCHANGE),
    (r'level_embed_proj\.weight$', 'sparse.level_embed'),
    (r'query_feat_encoder\.weight$', 'sparse.queries'),
    (r'query_embed_encoder\.weight$', 'sparse.query_pos'),
    (r'decoder_norm\.', 'dense.mask_norm.'),
    (r'mask_embed\.', 'dense.mask_mlp.'),
    (r'mask_features\.', 'dense.mask_conv.'),
)
_NECK = (
    (r'adapter_([123])\.norm\.', from_zero('laterals.{}.gn.')),
    (r'adapter_([123])\.', from_zero('laterals.{}.conv.')),
    (r'input_proj\.', 'laterals.3.conv.'),
    (r'layer_([1-4])\.norm\.', from_zero('convs.{}.gn.')),
    (r'layer_([1-4])\.', from_zero('convs.{}.conv.')),
    # Level 0 is the coarsest there and the finest here.
    *((rf'transformer_{old}', lambda m, new=new: f'interactions.{3 - int(m[1])}.{new}') for old, new in _EXCHANGE),
    (r'level_embed_proj\.weight$', 'level_embed'),
    (r'query_feat\.weight$', 'queries'),
    (r'query_embed\.weight$', 'query_pos.own'),
    (r'query_embed_encoder\.weight$', 'query_pos.encoder'),
    (r'decoder_norm\.', 'mask_norm.'),
    (r'mask_embed\.', 'mask_mlp.'),
    (r'mask_features\.', 'mask_conv.'),
)
_HEAD = (
    (r'predictor\.transformer\.', 'transformer.'),
    (r'predictor\.pe_layer\.', 'position.'),
    (r'predictor\.output_upscaling\.0\.', 'mask_in.'),
    (r'predictor\.output_upscaling\.1\.', 'mask_norm.'),
    (r'predictor\.output_upscaling\.3\.', 'mask_conv.'),
    (r'predictor\.output_hypernetworks_mlps\.', 'mask_mlp.'),
    (r'predictor\.query_feat\.weight$', 'decoder_query'),
    (r'predictor\.query_embed\.weight$', 'token_pos.own'),
    (r'predictor\.sparse_embed\.weight$', 'token_pos.sparse'),
    (r'pixel_decoder2\.mask_downscaling\.', 'prompt.'),
)
# SAM's parts that no prediction goes through, and the criterion's class weights.
_UNUSED = re.compile(
    r'sem_seg_head\.(predictor\.mask_tokens|pixel_decoder2\.(pe_layer|point_embeddings|not_a_point_embed|no_mask_embed))'
    r'\.|criterion\.|pixel_(mean|std)$'
)


def convert_simir(state_dict: Mapping[str, Tensor]) -> tuple[str, StateDict, list[str]]:
    """Turn a released checkpoint's keys into ours.

    Args:
        state_dict: the weights of a whole model, with or without the prefix `model.` of Semantic-SAM's training code,
            or of a distilled backbone.

    Returns:
        the class that the weights are of (`EncoderDecoder` or `QueryEncoder`), the weights, and the keys left out.

    Raises:
        ValueError: if it is no SimIR checkpoint, or a key has no place; the keys are named.
    """
    if _prefix(state_dict).endswith('backbone.'):
        return 'EncoderDecoder', *convert_simir_state_dict(state_dict)
    return 'QueryEncoder', *convert_simir_backbone(state_dict)


def convert_simir_backbone(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Turn a released backbone's keys into those of `QueryEncoder(RepViT)`.

    Args:
        state_dict: a whole model, its backbone, or a distilled backbone without queries; or what this function
            returned.

    Returns:
        the converted weights (of a distilled backbone `backbone.*` and `maps.*` alone), and the keys left out.

    Raises:
        ValueError: if it is no SimIR backbone, or a key has no place; the keys are named.
    """
    if 'backbone.stem.0.conv.weight' in state_dict:
        return dict(state_dict), []
    prefix = _prefix(state_dict)
    inside = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
    left_out = [key for key in state_dict if not key.startswith(prefix)]
    trunk = {key: value for key, value in inside.items() if key.startswith(('features.', 'classifier.'))}
    converted, classifier = convert_repvit_state_dict(trunk)
    state = {f'backbone.{key}': value for key, value in converted.items()}
    state |= _converted({key: value for key, value in inside.items() if key not in trunk}, _BACKBONE, prefix)
    if 'sparse.level_embed' in state:
        # The released code adds the first of its four embeddings everywhere.
        state['sparse.level_embed'] = state['sparse.level_embed'][0]
        for key in ('sparse.queries', 'sparse.query_pos'):
            state[key] = state[key][None]
    return state, left_out + [prefix + key for key in classifier]


def convert_simir_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Turn a released whole model's keys into those of the segmentor of `simir_repvit_*`.

    Args:
        state_dict: the weights, with or without the prefix `model.` of Semantic-SAM's training code.

    Returns:
        the converted weights, and the keys left out because no prediction goes through them.

    Raises:
        ValueError: if it is no whole SimIR model, or a key has no place; the keys are named.
    """
    outer = _prefix(state_dict).removesuffix('backbone.')
    inside = {key.removeprefix(outer): value for key, value in state_dict.items()}
    left_out = [key for key in inside if _UNUSED.match(key)]
    parts: dict[str, StateDict] = {'backbone.': {}, 'sem_seg_head.pixel_decoder.': {}, 'sem_seg_head.': {}}
    unknown = []
    for key in inside.keys() - set(left_out):
        part = next((p for p in parts if key.startswith(p)), None)
        if part is None:
            unknown.append(key)
        else:
            parts[part][key.removeprefix(part)] = inside[key]
    if unknown:
        raise ValueError(f'keys that belong nowhere in SimIR: {sorted(unknown)}')
    backbone, classifier = convert_simir_backbone({f'backbone.{k}': v for k, v in parts['backbone.'].items()})
    neck = _converted(parts['sem_seg_head.pixel_decoder.'], _NECK, 'sem_seg_head.pixel_decoder.')
    head = _converted(parts['sem_seg_head.'], _HEAD, 'sem_seg_head.')
    try:
        neck['query_pos'] = torch.cat((neck.pop('query_pos.own'), neck.pop('query_pos.encoder')))[None]
        neck['level_embed'] = neck['level_embed'].flip(0)
        neck['queries'] = neck['queries'][None]
        head['token_pos'] = torch.cat((head.pop('token_pos.own'), head.pop('token_pos.sparse')))[None]
        head['decoder_query'] = head['decoder_query'][None]
    except KeyError as error:
        raise ValueError(f'not a whole SimIR model: nothing in it becomes {error}') from None
    parts = {'backbone': backbone, 'neck': neck, 'decode_head': head}
    state = {f'{part}.{key}': value for part, weights in parts.items() for key, value in weights.items()}
    return state, left_out + classifier


def _prefix(state_dict: Mapping[str, Tensor]) -> str:
    return stem_prefix(state_dict, _STEM, 'a SimIR checkpoint')


def _converted(part: Mapping[str, Tensor], rules: Rules, prefix: str) -> StateDict:
    whole = renamed(
        {prefix + key: value for key, value in part.items()},
        lambda key: rename(key.removeprefix(prefix), rules),
        'SimIR',
    )
    state = {}
    for name, value in whole.items():
        if '.in_proj_' in name:
            # torch's MultiheadAttention holds its three input projections in one.
            for letter, third in zip('qkv', value.chunk(3), strict=True):
                state[name.replace('in_proj_', f'{letter}_proj.')] = third.clone()
        else:
            state[re.sub(r'(^|\.)c\.', r'\1conv.', name)] = value
    return state
