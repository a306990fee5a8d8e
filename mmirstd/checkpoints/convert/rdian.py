"""State-dict keys of RDIAN: the authors' (sun11999/RDIAN) and this project's."""

from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import conv_bn, numbered, renamed_by
from mmirstd.checkpoints.state_dict import StateDict

# Eight filters of directions, constants here.
_UNUSED = r'd1\d\.weight$'
_BRANCH = r'residual_block(\d)\.(\d)\.layer(\d)'
_RULES = (
    *conv_bn(r'conv1\.0', r'conv1\.1', 'backbone.stem.0'),
    *conv_bn(r'conv2\.0', r'conv2\.1', 'backbone.down.0'),
    *conv_bn(rf'{_BRANCH}\.0', rf'{_BRANCH}\.1', 'backbone.branches.{}.{}.convs.{}.0', 0, 0, -1),
    *conv_bn(r'conv_cat\.0', r'conv_cat\.1', 'backbone.fuse.0'),
    (r'cbam\.ChannelGate\.mlp\.(\d)\.', numbered('backbone.gates.0.mlp.{}.', -1)),
    (r'cbam\.SpatialGate\.spatial\.', 'backbone.gates.1.conv.'),
    *conv_bn(r'conv_res\.0', r'conv_res\.1', 'neck.lateral.0'),
    *conv_bn(r'head\.block\.0', r'head\.block\.1', 'decode_head.convs.0.0'),
    (r'head\.block\.4\.', 'decode_head.conv_seg.'),
)


def convert_rdian_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/rdian*``.

    Linear layers become 1x1 convolutions, and the maximum comes behind the mean of the channels.

    Returns:
        The converted state dict, and the keys that were left out.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    state, dropped = renamed_by(state_dict, _RULES, 'RDIAN', _UNUSED)
    for key in ('backbone.gates.0.mlp.0.weight', 'backbone.gates.0.mlp.2.weight'):
        if key in state:
            state[key] = state[key][:, :, None, None]
    if (key := 'backbone.gates.1.conv.conv.weight') in state:
        state[key] = state[key].flip(1)
    return state, dropped
