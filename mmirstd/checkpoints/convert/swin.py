"""State-dict keys of Swin Transformers: the authors', which Semantic-SAM and Mask DINO use, and MMSegmentation's.

Layouts: microsoft/Swin-Transformer, ``models/swin_transformer.py`` (a classifier: one ``norm``) and its form for
detection, as in UX-Decoder/Semantic-SAM, ``semantic_sam/backbone/swin.py`` (``norm0`` to ``norm3``, one a stage).
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import rename, renamed, stage_depths, stem_prefix
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
    """Convert keys of a Swin Transformer, alone or in a model, to those of MMSegmentation's ``SwinTransformer``.

    Returns:
        The converted weights, and the keys that were left out: other parts of the model, the classifier, indices.

    Raises:
        ValueError: If there is no Swin, or more than one, or keys of it have no place, naming them.
    """
    prefix = stem_prefix(state_dict, _STEM, 'a model with one Swin Transformer')
    inside = {key.removeprefix(prefix): value for key, value in state_dict.items() if key.startswith(prefix)}
    kept = {key: value for key, value in inside.items() if not _DROPPED.match(key)}
    dropped = sorted(state_dict.keys() - {prefix + key for key in kept})
    state = renamed(kept, lambda key: rename(key, _RULES), 'a Swin Transformer')
    return {key: _unfold_order(value) if '.downsample.' in key else value for key, value in state.items()}, dropped


def _unfold_order(x: Tensor) -> Tensor:
    """Bring the last axis from four neighbors, columns first, of C channels to C channels of four, rows first."""
    return x.unflatten(-1, (2, 2, -1)).permute(*range(x.ndim - 1), -1, -2, -3).flatten(-3)


def swin_arch(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of MMSegmentation's ``SwinTransformer`` for a state dict with its keys."""
    table = 'stages.{}.blocks.0.attn.w_msa.relative_position_bias_table'
    depths = stage_depths(state_dict)
    return {
        'embed_dims': len(state_dict['patch_embed.projection.weight']),
        'depths': depths,
        'num_heads': tuple(state_dict[table.format(i)].shape[1] for i in range(len(depths))),
        'window_size': (round(len(state_dict[table.format(0)]) ** 0.5) + 1) // 2,
    }
