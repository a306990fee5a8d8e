"""State-dict keys of EGPNet: the authors' (cvYouTian/EGPNet) and this project's."""

from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import Rules, conv_bn, numbered, renamed_by
from mmirstd.checkpoints.state_dict import StateDict

# Two stages that lead nowhere, and fixed filters.
_UNUSED = r'(?:edge_)?stage1_2\.|weight_[xy]$'
# Number of the stage -> place in a stream.
_STAGES = {
    'stage1': 'stem',
    'stage1_1': 'exchanges.0.fine',
    'stage2_1': 'exchanges.0.coarse',
    'stage2_2': 'exchanges.0.to_coarse',
    'stage2_3': 'exchanges.1.fine',
    'stage3_1': 'exchanges.1.coarse',
    'stage3_2': 'exchanges.1.to_coarse',
    'stage2_4': 'exchanges.1.to_fine',
    'stage3_3': 'exchanges.2.fine',
    'stage4_1': 'exchanges.2.coarse',
    'stage4_2': 'exchanges.2.to_coarse',
    'stage3_4': 'exchanges.2.to_fine',
}


def _blocks(name: str, place: str) -> Rules:
    """Rules for residual blocks."""
    name, place = rf'{name}\.(\d)', f'{place}.{{}}'
    return (
        *conv_bn(rf'{name}\.body\.0', rf'{name}\.body\.1', f'{place}.conv1.0'),
        *conv_bn(rf'{name}\.body\.3', rf'{name}\.body\.4', f'{place}.conv2'),
        *conv_bn(rf'{name}\.downsample\.0', rf'{name}\.downsample\.1', f'{place}.shortcut'),
    )


_RULES = (
    *(
        rule
        for prefix, stream in (('', 'mask'), ('edge_', 'edge'))
        for stage, place in _STAGES.items()
        for rule in _blocks(f'{prefix}{stage}', f'backbone.{stream}.{place}')
    ),
    *(
        rule
        for stream, guide, suffix in (('mask', 'rgb', ''), ('edge', 'hha', '_edge'))
        for level, number in ((1, ''), (0, '1'))
        for rule in (
            (rf'fsp_{guide}{number}\.filter\.fc\.', f'neck.{stream}.{level}.guided.weigh.'),
            *_blocks(f'uplayer{level + 1}{suffix}', f'neck.{stream}.{level}.blocks'),
            (rf'reduce{level + 1}{suffix}\.', f'neck.{stream}.{level}.reduce.'),
        )
    ),
    (r'fuse\.', 'decode_head.edge_out.'),
    (r'fuse_local\.', 'decode_head.mix.'),
    (r'resblock\.m\.(\d)\.', numbered('decode_head.last.{}.')),
    *conv_bn(r'end\.block\.0', r'end\.block\.1', 'decode_head.convs.0.0'),
    (r'end\.block\.4\.', 'decode_head.conv_seg.'),
)


def convert_egpnet_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/egpnet*``.

    Returns:
        The converted state dict, and the keys that were left out.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    return renamed_by(state_dict, _RULES, 'EGPNet', _UNUSED)
