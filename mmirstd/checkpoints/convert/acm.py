"""State-dict keys of ACM and ALCNet: those of BasicIRSTD and of acm-pytorch, and this project's."""

from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import conv_bn, numbered, renamed_by, without_prefix
from mmirstd.checkpoints.state_dict import StateDict

# Encoder and residual blocks, which ISNet has, too.
ACM_RULES = (
    (r'stem\.0\.', 'backbone.input_norm.'),
    *conv_bn(r'stem\.1', r'stem\.2', 'backbone.stem.0.0'),
    *conv_bn(r'stem\.4', r'stem\.5', 'backbone.stem.1.0'),
    *conv_bn(r'stem\.7', r'stem\.8', 'backbone.stem.2.0'),
    *(
        rule
        for name, place in (
            (r'layer(\d)\.(\d+)', 'backbone.stages.{}.{}'),
            (r'uplayer(\d)\.(\d+)', 'neck.blocks.{}.{}'),
        )
        for rule in (
            *conv_bn(rf'{name}\.(?:conv1|body\.0)', rf'{name}\.(?:bn1|body\.1)', f'{place}.conv1.0', -1),
            *conv_bn(rf'{name}\.(?:conv2|body\.3)', rf'{name}\.(?:bn2|body\.4)', f'{place}.conv2', -1),
            *conv_bn(rf'{name}\.downsample\.0', rf'{name}\.downsample\.1', f'{place}.shortcut', -1),
        )
    ),
)
_RULES = (
    *ACM_RULES,
    (r'deconv0\.', 'neck.last.'),
    (r'deconv(\d)\.', numbered('neck.ups.{}.', -1)),
    *(
        rule
        # The last digit is the deeper of the two levels, counted from one, or their order.
        for name, shift in ((r'fuse(\d)', -1), (r'fuse\d(\d)', -2))
        for rule in (
            *conv_bn(rf'{name}\.feature_high\.0', rf'{name}\.feature_high\.1', 'neck.fusions.{}.reduce.0', shift),
            *conv_bn(rf'{name}\.topdown\.1', rf'{name}\.topdown\.2', 'neck.fusions.{}.top_down.1.0', shift),
            *conv_bn(rf'{name}\.topdown\.4', rf'{name}\.topdown\.5', 'neck.fusions.{}.top_down.2', shift),
            *conv_bn(rf'{name}\.bottomup\.0', rf'{name}\.bottomup\.1', 'neck.fusions.{}.bottom_up.0.0', shift),
            *conv_bn(rf'{name}\.bottomup\.3', rf'{name}\.bottomup\.4', 'neck.fusions.{}.bottom_up.1', shift),
            *conv_bn(rf'{name}\.post\.0', rf'{name}\.post\.1', 'neck.fusions.{}.post.0', shift),
        )
    ),
    *conv_bn(r'head\.block\.0', r'head\.block\.1', 'decode_head.convs.0.0'),
    (r'head\.block\.4\.', 'decode_head.conv_seg.'),
)


def convert_acm_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/acm*`` and ``alcnet*``.

    BasicIRSTD's ALCNet has residual blocks that it never runs, ``uplayer*``: they are left out.

    Returns:
        The converted state dict, and the keys that were left out.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    is_alcnet = any(without_prefix(key) == 'deconv0.weight' for key in state_dict)
    return renamed_by(state_dict, _RULES, 'ACM', *(['uplayer'] if is_alcnet else []))
