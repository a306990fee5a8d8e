"""State-dict keys of ABCNet: the authors' (PANPEIWEN/ABC) and this project's."""

from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import Rules, conv_bn, numbered, renamed_by
from mmirstd.checkpoints.state_dict import StateDict

# A number added to all logits of a softmax.
_UNUSED = r'(?:decode_head\.)?Convtans\d\.attention\.att\.s_conv\.bias$'
_PREFIX = r'(?:decode_head\.)?'


def _pair(name: str, place: str, *shifts: int) -> Rules:
    """Rules for two convolutions."""
    return (
        *conv_bn(rf'{name}\.conv\.0', rf'{name}\.conv\.1', f'{place}.0.0', *shifts),
        *conv_bn(rf'{name}\.conv\.3', rf'{name}\.conv\.4', f'{place}.1.0', *shifts),
    )


def _dilated(name: str, place: str, *shifts: int) -> Rules:
    """Rules for a block of dilated convolutions."""
    parts = {'conv1': 'first', 'dconv1': 'down', 'dconv2': 'deepest', 'dconv3': 'up', 'conv2': 'last'}
    return tuple(
        rule
        for old, new in parts.items()
        for rule in conv_bn(rf'{name}\.{old}\.0', rf'{name}\.{old}\.1', f'{place}.{new}.0', *shifts)
    )


_FUSION = rf'{_PREFIX}Convtans(\d)'
_LEVEL = 'backbone.levels.{}'
_RULES = (
    *_pair(rf'{_PREFIX}Conv1', 'backbone.levels.0'),
    *(
        rule
        for old, new in (('conv.convs', 'near'), ('dconv.dconvs', 'far'))
        for rule in conv_bn(
            rf'{_FUSION}\.attention\.{old}\.(\d)\.0',
            rf'{_FUSION}\.attention\.{old}\.(\d)\.1',
            f'{_LEVEL}.{new}.{{}}.0',
            -1,
        )
    ),
    *(
        (rf'{_FUSION}\.attention\.att\.{old}\.', numbered(f'{_LEVEL}.correlation.{new}.', -1))
        for old, new in (
            ('query_conv', 'query.conv'),
            ('query_line', 'query.line'),
            ('key_conv', 'key.conv'),
            ('key_line', 'key.line'),
            ('s_conv', 'scale'),
        )
    ),
    (rf'{_FUSION}\.attention\.gamma', numbered(f'{_LEVEL}.gamma', -1)),
    *conv_bn(rf'{_FUSION}\.feedforward\.conv\.0', rf'{_FUSION}\.feedforward\.conv\.1', f'{_LEVEL}.conv3.0', -1),
    *conv_bn(rf'{_FUSION}\.feedforward\.x_conv\.0', rf'{_FUSION}\.feedforward\.x_conv\.1', f'{_LEVEL}.conv1.0', -1),
    *_dilated(rf'{_PREFIX}Conv5', 'backbone.levels.4'),
    *conv_bn(rf'{_PREFIX}Up(\d)\.up\.1', rf'{_PREFIX}Up(\d)\.up\.2', 'neck.ups.{}.0', -2),
    *_dilated(rf'{_PREFIX}Up_conv5', 'neck.levels.3'),
    *_pair(rf'{_PREFIX}Up_conv(\d)', 'neck.levels.{}', -2),
    (rf'{_PREFIX}Conv\.', 'decode_head.conv_seg.'),
    (rf'{_PREFIX}conv(\d)\.', numbered('auxiliary_head.{}.conv_seg.', -1)),
)


def convert_abcnet_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/abcnet*``.

    Returns:
        The converted state dict, and the keys that were left out.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    return renamed_by(state_dict, _RULES, 'ABCNet', _UNUSED)
