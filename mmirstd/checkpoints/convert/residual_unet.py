"""State-dict keys of DNANet and MSHNet: the authors' and this project's."""

from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import Rules, conv_bn, from_zero, numbered, renamed_by
from mmirstd.checkpoints.state_dict import StateDict


def _blocks(name: str, place: str, *shifts: int) -> Rules:
    """Rules for residual blocks with attention."""
    return (
        *conv_bn(rf'{name}\.conv1', rf'{name}\.bn1', f'{place}.conv1.0', *shifts),
        *conv_bn(rf'{name}\.conv2', rf'{name}\.bn2', f'{place}.conv2', *shifts),
        *conv_bn(rf'{name}\.shortcut\.0', rf'{name}\.shortcut\.1', f'{place}.shortcut', *shifts),
        (rf'{name}\.ca\.fc1\.', numbered(f'{place}.attention.0.mlp.0.', *shifts)),
        (rf'{name}\.ca\.fc2\.', numbered(f'{place}.attention.0.mlp.2.', *shifts)),
        (rf'{name}\.sa\.conv1\.', numbered(f'{place}.attention.1.conv.', *shifts)),
    )


_DNANET = (
    *_blocks(r'conv(\d)_0\.(\d+)', 'backbone.levels.{}.{}'),
    *_blocks(r'conv0_4_final\.(\d+)', 'neck.fuse.{}'),
    *_blocks(r'conv(\d)_([1-9])\.(\d+)', 'neck.columns.{1}.{0}.{2}', 0, -1, 0),
    (r'conv0_(\d)_1x1\.', from_zero('neck.laterals.{}.')),
    (r'final(?:4)?\.', 'decode_head.conv_seg.'),
    (r'final([123])\.', from_zero('auxiliary_head.{}.conv_seg.')),
)
_MSHNET = (
    (r'conv_init\.', 'backbone.stem.'),
    *_blocks(r'encoder_(\d)\.(\d+)', 'backbone.levels.{}.{}'),
    *_blocks(r'middle_layer\.(\d+)', 'backbone.levels.4.{}'),
    *_blocks(r'decoder_(\d)\.(\d+)', 'neck.levels.{}.{}'),
    (r'output_0\.', 'decode_head.conv_seg.'),
    (r'output_(\d)\.', from_zero('decode_head.fusion.sides.{}.')),
    (r'final\.', 'decode_head.fusion.fuse.'),
)


def convert_dnanet_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/dnanet*``.

    Returns:
        The converted state dict, and the keys that were left out: none.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    return renamed_by(state_dict, _DNANET, 'DNANet')


def convert_mshnet_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/mshnet*``; see DNANet's."""
    return renamed_by(state_dict, _MSHNET, 'MSHNet')
