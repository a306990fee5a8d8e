"""State-dict keys of Swin Transformers: the authors', which Semantic-SAM and Mask DINO use, and MMSegmentation's.

Layouts: microsoft/Swin-Transformer, ``models/swin_transformer.py`` (a classifier: one ``norm``) and its form for
detection, as in UX-Decoder/Semantic-SAM, ``semantic_sam/backbone/swin.py`` (``norm0`` to ``norm3``, one a stage).
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmirstd.checkpoints.state_dict import StateDict

_RULES = (
    (r'patch_embed\.proj\.', 'patch_embed.projection.'),
    (r'patch_embed\.norm\.', 'patch_embed.norm.'),
    (r'layers\.(\d+)\.blocks\.(\d+)\.(norm[12])\.', r'stages.\1.blocks.\2.\3.'),
    (
        r'layers\.(\d+)\.blocks\.(\d+)\.attn\.(?=qkv\.|proj\.|relative_position_bias_table$)',
        r'stages.\1.blocks.\2.attn.w_msa.',
    ),
    (r'layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc1\.', r'stages.\1.blocks.\2.ffn.layers.0.0.'),
    (r'layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc2\.', r'stages.\1.blocks.\2.ffn.layers.1.'),
    (r'layers\.(\d+)\.downsample\.(?=norm\.|reduction\.)', r'stages.\1.downsample.'),
    (r'(norm\d)\.', r'\1.'),
)
# The classifier, and what is computed from the window's size.
_DROPPED = re.compile(r'(head|norm)\.|layers\.\d+\.blocks\.\d+\.(attn\.relative_position_index|attn_mask)$')
_STEM = 'patch_embed.proj.weight'


def convert_swin_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Keys of a Swin Transformer, alone or as a part of a model, to those of MMSegmentation's ``SwinTransformer``.

    Returns the converted state dict and the dropped keys: the other parts of the model, the classifier, indices.
    Raises ``ValueError`` where there is no Swin, or more than one, or a key of it has no place, naming them.
    """
    stems = [key for key in state_dict if key == _STEM or key.endswith(f'.{_STEM}')]
    if len(stems) != 1:
        found = f'{len(stems)} of them, {stems}' if stems else f'its first keys: {list(state_dict)[:5]}'
        raise ValueError(f"not a model with one Swin Transformer in its authors' layout; {found}")
    prefix = stems[0].removesuffix(_STEM)
    state, dropped, unknown = {}, [], []
    for key, value in state_dict.items():
        name = key.removeprefix(prefix)
        if not key.startswith(prefix) or _DROPPED.match(name):
            dropped.append(key)
            continue
        for pattern, replacement in _RULES:
            new, hits = re.subn(rf'^{pattern}', replacement, name)
            if hits:
                state[new] = _unfold_order(value) if '.downsample.' in new else value
                break
        else:
            unknown.append(key)
    if unknown:
        raise ValueError(f'keys that belong nowhere in a Swin Transformer: {unknown}')
    return state, dropped


def _unfold_order(x: Tensor) -> Tensor:
    """Bring the last axis from four neighbors, columns first, of C channels to C channels of four, rows first."""
    return x.unflatten(-1, (2, 2, -1)).permute(*range(x.ndim - 1), -1, -2, -3).flatten(-3)


def swin_arch(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of MMSegmentation's ``SwinTransformer`` for a state dict with its keys."""
    table = 'stages.{}.blocks.0.attn.w_msa.relative_position_bias_table'
    places = {(int(m[1]), int(m[2])) for key in state_dict if (m := re.match(r'stages\.(\d+)\.blocks\.(\d+)\.', key))}
    stages = sorted({stage for stage, _ in places})
    return {
        'embed_dims': len(state_dict['patch_embed.projection.weight']),
        'depths': tuple(sum(stage == i for stage, _ in places) for i in stages),
        'num_heads': tuple(state_dict[table.format(i)].shape[1] for i in stages),
        'window_size': (round(len(state_dict[table.format(0)]) ** 0.5) + 1) // 2,
    }
