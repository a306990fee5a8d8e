"""State-dict keys of ADGFNet and ADGFNet-Lite: the authors' (kuaileBenbi/ADGFNet, ``model.*``) and this project's."""

import re
from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.state_dict import StateDict

# The Sobel filters are constants here.
_DROPPED = re.compile(r'lab\d\.grad_branch\.0\.weight_[xy]$')
_PARTS = (
    (r'encoder\.stem\.', 'backbone.stem.'),
    (r'lab(\d)\.local_branch\.', 'neck.anomalies.{0}.contrast.'),
    (r'lab(\d)\.grad_branch\.', 'neck.anomalies.{0}.gradient.'),
    (r'lab(\d)\.anomaly_proj\.', 'neck.anomalies.{0}.locate.'),
    (r'lab(\d)\.', 'neck.anomalies.{0}.'),
    (r'encoder\.stage(\d)\.', 'backbone.stages.{0}.'),
    (r'neck\.fuse(\d)\.high_proj\.', 'neck.fusions.{0}.high.'),
    (r'neck\.fuse(\d)\.low_proj\.', 'neck.fusions.{0}.low.'),
    (r'neck\.fuse(\d)\.channel_gate\.', 'neck.fusions.{0}.gate.'),
    (r'neck\.fuse(\d)\.', 'neck.fusions.{0}.'),
    (r'neck\.', 'neck.'),
    (r'refine\.', 'decode_head.refine.'),
    (r'head\.0\.', 'decode_head.convs.0.'),
    (r'head\.1\.', 'decode_head.conv_seg.'),
)
# Not a convolution with batch norm: a convolution with bias at place 1 of a sequence, or alone.
_PLAIN = re.compile(r'\.(scale|gate)\.1\.|(locate|conv_seg|dw3|dw5)\.')
# Convolution, batch norm, ReLU of the authors is one sequence; here the first two are one module that folds.
_PAIR = re.compile(r'(.*)\.([01])\.(\w+)$')
_NO_RELU = re.compile(r'\.(conv2|shortcut)$')


def convert_adgfnet_state_dict(state_dict: Mapping[str, Tensor]) -> tuple[StateDict, list[str]]:
    """Convert keys of a published checkpoint to those of the ``EncoderDecoder`` in ``configs/baselines/adgfnet*``.

    Returns:
        The converted state dict, and the keys that were left out.

    Raises:
        ValueError: for keys that have no place, naming them.
    """
    converted: StateDict = {}
    dropped, unknown = [], []
    for key, value in state_dict.items():
        name = key.removeprefix('module.').removeprefix('model.')
        if _DROPPED.match(name):
            dropped.append(key)
        elif (new := _rename(name)) is None:
            unknown.append(key)
        else:
            converted[new] = value
    if unknown:
        raise ValueError(f'keys that belong nowhere in ADGFNet: {unknown[:5]}')
    return converted, dropped


def _rename(name: str) -> str | None:
    for pattern, part in _PARTS:
        if match := re.match(pattern, name):
            prefix = part.format(*(int(group) - 1 for group in match.groups()))
            rest = name[match.end() :]
            break
    else:
        return None
    full = prefix + rest
    if _PLAIN.search(full):
        return full
    pair = _PAIR.match(full)
    if pair is None:
        return None
    owner = pair[1] if _NO_RELU.search(pair[1]) else f'{pair[1]}.0'
    return f'{owner}.{"conv" if pair[2] == "0" else "bn"}.{pair[3]}'
