"""State-dict keys of ISNet: the authors' (RuiZhang97/ISNet) and this project's."""

from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.acm import ACM_RULES
from mmirstd.checkpoints.convert.renaming import conv_bn, numbered, renamed_by
from mmirstd.checkpoints.state_dict import StateDict

# What the code makes and never runs, and the filters of a copy of it (YuChuang1205/PAL), constants here.
_UNUSED = r'(?:res|d|gate)[123]\.|(?:cw|SA|SA_att|head2|conv2_1|conv16)\.|grad_extractor\.'
_RULES = (
    *ACM_RULES,
    *(
        rule
        for name, place in ((r'TTOA_high', 'neck.fusions.0'), (r'TTOA_low', 'neck.fusions.1'))
        for rule in (
            (rf'{name}\.preprocess\.', f'{place}.squeeze.'),
            (rf'{name}\.dcn_row\.conv_offset_mask\.', f'{place}.row.where.'),
            (rf'{name}\.dcn_colum\.conv_offset_mask\.', f'{place}.column.where.'),
            (rf'{name}\.dcn_row\.', f'{place}.row.'),
            (rf'{name}\.dcn_colum\.', f'{place}.column.'),
        )
    ),
    (r'deconv(\d)\.', numbered('neck.ups.{}.', -1)),
    # The first of the three, here and below, belongs to the coarsest map.
    (r'dsn1\.', 'decode_head.guides.2.'),
    (r'dsn2\.', 'decode_head.guides.1.'),
    (r'dsn3\.', 'decode_head.guides.0.'),
    *(
        (rf'myb{number}\.{name}\.', f'decode_head.blocks.{3 - number}.{place}.')
        for number in (1, 2, 3)
        for name, place in (
            (r'res1\.conv1', 'steps.0.0.0.conv'),
            (r'res1\.bn1', 'steps.0.0.0.bn'),
            (r'res1\.conv2', 'steps.0.1.conv'),
            (r'res1\.bn2', 'steps.0.1.bn'),
            (r'res2\.conv1', 'steps.1.0.0.conv'),
            (r'res2\.bn1', 'steps.1.0.0.bn'),
            (r'res2\.conv2', 'steps.1.1.conv'),
            (r'res2\.bn2', 'steps.1.1.bn'),
            (r'gate\._gate_conv\.3', 'gate.gate.3.conv'),
            (r'gate\._gate_conv\.4', 'gate.gate.3.bn'),
            (r'gate\._gate_conv', 'gate.gate'),
            (r'gate', 'gate.mix'),
        )
    ),
    (r'dsup\.', 'decode_head.edge_in.'),
    (r'fuse\.', 'decode_head.edge_out.'),
    *conv_bn(r'head\.block\.0', r'head\.block\.1', 'decode_head.convs.0.0'),
    (r'head\.block\.4\.', 'decode_head.conv_seg.'),
)


def convert_isnet_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/isnet*``.

    The public code makes layers that it never runs: they are left out.

    Returns:
        The converted state dict, and the keys that were left out.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    return renamed_by(state_dict, _RULES, 'ISNet', _UNUSED)
