"""State-dict keys of MDvsFA's generators: those of TianwangJia/MDvsFAcGAN and this project's."""

from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import conv_bn, renamed_by
from mmirstd.checkpoints.state_dict import StateDict

_RULES = (
    *conv_bn(r'net(\d+)\.model\.0', r'net(\d+)\.model\.1', 'backbone.convs.{}.0', -1),
    (r'out\.model\.0\.', 'decode_head.conv_seg.'),
)


def convert_mdvsfa_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published generator to those of ``configs/baselines/mdvsfa-g1*`` or ``mdvsfa-g2*``.

    Returns:
        The converted state dict, and the keys that were left out: none.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    return renamed_by(state_dict, _RULES, "MDvsFA's generators")
