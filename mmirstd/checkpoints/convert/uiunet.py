"""State-dict keys of UIUNet: the authors' (danfenghong/IEEE_TIP_UIU-Net) and this project's."""

from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import Rules, conv_bn, numbered, renamed_by
from mmirstd.checkpoints.state_dict import StateDict


def _block(name: str, place: str) -> Rules:
    """Rules for a residual U-block."""
    return (
        *conv_bn(rf'{name}\.rebnconvin\.conv_s1', rf'{name}\.rebnconvin\.bn_s1', f'{place}.first.0', -1),
        *conv_bn(rf'{name}\.rebnconv(\d)\.conv_s1', rf'{name}\.rebnconv(\d)\.bn_s1', f'{place}.down.{{}}.0', -1, -1),
        *conv_bn(rf'{name}\.rebnconv(\d)d\.conv_s1', rf'{name}\.rebnconv(\d)d\.bn_s1', f'{place}.up.{{}}.0', -1, -1),
    )


_FUSE, _FUSION = r'fuse(\d)', 'neck.fusions.{}'
_RULES = (
    *_block(r'stage(\d)', 'backbone.levels.{}'),
    *_block(r'stage(\d)d', 'neck.levels.{}'),
    *conv_bn(rf'{_FUSE}\.feature_high\.0', rf'{_FUSE}\.feature_high\.1', f'{_FUSION}.deep.0', -2),
    *conv_bn(rf'{_FUSE}\.topdown\.1', rf'{_FUSE}\.topdown\.2', f'{_FUSION}.top_down.1.0', -2),
    *conv_bn(rf'{_FUSE}\.topdown\.4', rf'{_FUSE}\.topdown\.5', f'{_FUSION}.top_down.2', -2),
    *conv_bn(rf'{_FUSE}\.bottomup\.0', rf'{_FUSE}\.bottomup\.1', f'{_FUSION}.squeeze.0', -2),
    (rf'{_FUSE}\.bottomup\.3\.conv1\.', numbered(f'{_FUSION}.bottom_up.conv.', -2)),
    *conv_bn(rf'{_FUSE}\.post\.0', rf'{_FUSE}\.post\.1', f'{_FUSION}.post.0', -2),
    (r'side1\.', 'decode_head.conv_seg.'),
    (r'side(\d)\.', numbered('decode_head.fusion.sides.{}.', -2)),
    (r'outconv\.', 'decode_head.fusion.fuse.'),
)


def convert_uiunet_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/uiunet*``.

    Returns:
        The converted state dict, and the keys that were left out: none.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    return renamed_by(state_dict, _RULES, 'UIUNet')
