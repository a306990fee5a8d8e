"""State-dict keys of SCTransNet: the authors' (xdFai/SCTransNet) and this project's."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmirstd.checkpoints.convert.renaming import Rules, conv_bn, from_zero, numbered, renamed_by
from mmirstd.checkpoints.state_dict import StateDict

# Positions and weights that its code makes and never uses.
_UNUSED = r'mtc\.(embeddings_\d\.position_embeddings|encoder\.layer\.\d+\.channel_attn\.q\d_attn\d)$'


def _block(name: str, place: str, *shifts: int) -> Rules:
    return (
        *conv_bn(rf'{name}\.conv1', rf'{name}\.bn1', f'{place}.conv1.0', *shifts),
        *conv_bn(rf'{name}\.conv2', rf'{name}\.bn2', f'{place}.conv2', *shifts),
        *conv_bn(rf'{name}\.shortcut\.0', rf'{name}\.shortcut\.1', f'{place}.shortcut', *shifts),
    )


_LAYER, _PLACE = r'mtc\.encoder\.layer\.(\d+)', 'neck.blocks.{}'
_ATTENTION = f'{_PLACE}.attention'
_RULES = (
    *_block(r'inc\.(\d)', 'backbone.levels.0.{}'),
    *_block(r'down_encoder(\d)\.(\d)', 'backbone.levels.{}.{}'),
    (r'mtc\.embeddings_(\d)\.patch_embeddings\.', from_zero('neck.embeddings.{}.')),
    (rf'{_LAYER}\.attn_norm(\d)\.body\.', numbered(f'{_PLACE}.norms.{{}}.', 0, -1)),
    (rf'{_LAYER}\.attn_norm\.body\.', numbered(f'{_PLACE}.norm_together.')),
    (rf'{_LAYER}\.channel_attn\.mhead(\d)\.', numbered(f'{_ATTENTION}.queries.{{}}.0.', 0, -1)),
    (rf'{_LAYER}\.channel_attn\.q(\d)\.', numbered(f'{_ATTENTION}.queries.{{}}.1.', 0, -1)),
    (rf'{_LAYER}\.channel_attn\.mheadk\.', numbered(f'{_ATTENTION}.key.0.')),
    (rf'{_LAYER}\.channel_attn\.k\.', numbered(f'{_ATTENTION}.key.1.')),
    (rf'{_LAYER}\.channel_attn\.mheadv\.', numbered(f'{_ATTENTION}.value.0.')),
    (rf'{_LAYER}\.channel_attn\.v\.', numbered(f'{_ATTENTION}.value.1.')),
    (rf'{_LAYER}\.channel_attn\.project_out(\d)\.', numbered(f'{_ATTENTION}.outs.{{}}.', 0, -1)),
    (rf'{_LAYER}\.ffn_norm(\d)\.body\.', numbered(f'{_PLACE}.feed_norms.{{}}.', 0, -1)),
    (rf'{_LAYER}\.ffn(\d)\.dwconv(\d)x\d\.', numbered(f'{_PLACE}.feeds.{{}}.local{{}}.', 0, -1)),
    (rf'{_LAYER}\.ffn(\d)\.eca\.conv\.0\.', numbered(f'{_PLACE}.feeds.{{}}.gate.', 0, -1)),
    (rf'{_LAYER}\.ffn(\d)\.(?=project_)', numbered(f'{_PLACE}.feeds.{{}}.', 0, -1)),
    (r'mtc\.encoder\.encoder_norm(\d)\.body\.', from_zero('neck.norms.{}.')),
    *conv_bn(r'mtc\.reconstruct_(\d)\.conv', r'mtc\.reconstruct_(\d)\.norm', 'neck.rebuild.{}.0', -1),
    (r'up_decoder(\d)\.coatt\.mlp_x\.1\.', from_zero('neck.ups.{}.of_shallow.')),
    (r'up_decoder(\d)\.coatt\.mlp_g\.1\.', from_zero('neck.ups.{}.of_deep.')),
    *conv_bn(
        r'up_decoder(\d)\.nConvs\.(\d)\.conv', r'up_decoder(\d)\.nConvs\.(\d)\.norm', 'neck.ups.{}.convs.{}.0', -1
    ),
    (r'outc\.', 'decode_head.conv_seg.'),
    (r'gt_conv(\d)\.0\.', numbered('decode_head.supervision.sides.{}.', -2)),
    (r'outconv\.', 'decode_head.supervision.fuse.'),
)


def convert_sctransnet_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/sctransnet*``.

    The finest mask comes first among those that are fused.

    Returns:
        The converted state dict, and the keys that were left out.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    state, dropped = renamed_by(state_dict, _RULES, 'SCTransNet', _UNUSED)
    if (key := 'decode_head.supervision.fuse.weight') in state:
        state[key] = torch.roll(state[key], 1, dims=1)
    return state, dropped
