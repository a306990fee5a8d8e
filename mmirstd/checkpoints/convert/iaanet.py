"""State-dict keys of IAANet: the authors' (kwwcv/iaanet) and this project's."""

from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import conv_bn, numbered, renamed_by
from mmirstd.checkpoints.state_dict import StateDict

_LAYER, _PLACE = r'transformer\.encoder\.layers\.(\d)', 'decode_head.layers.{}'
_RULES = (
    (r'region_module\.backbone\.body\.', 'backbone.proposals.'),
    (r'region_module\.backbone\.detect\.', 'decode_head.detect.'),
    *conv_bn(r'seman_module\.block1\.0', r'seman_module\.block1\.1', 'decode_head.pixels.0.0'),
    *conv_bn(r'seman_module\.block1\.3', r'seman_module\.block1\.4', 'decode_head.pixels.1.0'),
    *(
        rule
        for i in range(4)
        for rule in conv_bn(
            rf'seman_module\.layer1\.{3 * i}', rf'seman_module\.layer1\.{3 * i + 1}', f'decode_head.pixels.{i + 2}.0'
        )
    ),
    (r'seman_module\.block2\.0\.', 'decode_head.pixels.6.'),
    (rf'{_LAYER}\.self_attn\.([qkv])_proj\.', r'decode_head.layers.\1.attention.\2_proj.'),
    (rf'{_LAYER}\.self_attn\.out_proj\.', numbered(f'{_PLACE}.attention.out_proj.')),
    (rf'{_LAYER}\.linear1\.', numbered(f'{_PLACE}.ffn.0.')),
    (rf'{_LAYER}\.linear2\.', numbered(f'{_PLACE}.ffn.3.')),
    (rf'{_LAYER}\.norm(\d)\.', numbered(f'{_PLACE}.norms.{{}}.', 0, -1)),
    (r'pro_embed\.', 'decode_head.classify.'),
)


def convert_iaanet_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of ``configs/baselines/iaanet*``.

    One matrix makes queries, keys and values in the public code, three do here.

    Returns:
        The converted state dict, and the keys that were left out: none.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    parted = {}
    for key, value in state_dict.items():
        if '.in_proj_' not in key:
            parted[key] = value
            continue
        for name, part in zip('qkv', value.chunk(3), strict=True):
            parted[key.replace('.in_proj_', f'.{name}_proj.')] = part.clone()
    return renamed_by(parted, _RULES, 'IAANet')
