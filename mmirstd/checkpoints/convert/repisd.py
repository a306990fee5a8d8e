"""State-dict keys of RepISD-Net: the authors' (dalinlin-Wu/RepISD-Net) and this project's."""

from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import Rules, conv_bn, from_zero, renamed_by
from mmirstd.checkpoints.state_dict import StateDict


def _block(name: str, template: str) -> Rules:
    """Rules for an edge compensation block, before and after its branches are folded."""
    return (
        (rf'{name}\.rbr_reparam\.', from_zero(f'{template}.reparam.')),
        (rf'{name}\.rbr_dense\.', from_zero(f'{template}.conv.')),
        (rf'{name}\.rbr_cdc\.conv_cdc\.conv1\.', from_zero(f'{template}.difference.')),
        (rf'{name}\.rbr_cdc\.conv_cdc\.bn1\.', from_zero(f'{template}.difference_bn.')),
        (rf'{name}\.rbr_cdc\.conv_cdc\.conv2\.', from_zero(f'{template}.conv1.conv.')),
        (rf'{name}\.rbr_cdc\.conv_cdc\.bn2\.', from_zero(f'{template}.conv1.bn.')),
        (rf'{name}\.rbr_identity\.', from_zero(f'{template}.identity_bn.')),
    )


_RULES = (
    *conv_bn(r'backbone\.inc\.double_conv\.0', r'backbone\.inc\.double_conv\.1', 'backbone.stem.0.0'),
    *conv_bn(r'backbone\.inc\.double_conv\.3', r'backbone\.inc\.double_conv\.4', 'backbone.stem.1.0'),
    *(
        rule
        for i in (0, 1)
        for rule in (
            *_block(rf'backbone\.down(\d)\.maxpool_conv\.1\.double_conv\.{i}', f'backbone.levels.{{}}.{i}'),
            *_block(rf'backbone\.up3\.conv\.double_conv\.{i}', f'neck.levels.0.{i}'),
            *_block(rf'backbone\.up4\.conv\.double_conv\.{i}', f'neck.levels.1.{i}'),
        )
    ),
    *conv_bn(r'ppm\.features\.(\d)\.1', r'ppm\.features\.(\d)\.2', 'neck.pools.{}.0'),
    *conv_bn(r'cls\.0', r'cls\.1', 'decode_head.convs.0.0'),
    (r'cls\.4\.', 'decode_head.conv_seg.'),
)


def convert_repisd_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/repisd*``.

    Its code makes two masks and uses the second; the first is cut off. A deployed checkpoint, whose branches are
    folded, fits ``model.backbone.deploy=True model.neck.deploy=True``. A checkpoint in which the difference
    convolutions alone were made plain looks like one of the training and is not told apart.

    Returns:
        The converted state dict, and the keys that were left out: none.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    state, dropped = renamed_by(state_dict, _RULES, 'RepISD-Net')
    cut = {key: value[1:] for key, value in state.items() if key.startswith('decode_head.conv_seg.')}
    return state | cut, dropped
