"""State-dict keys of ADGFNet and ADGFNet-Lite: the authors' (kuaileBenbi/ADGFNet, ``model.*``) and this project's."""

import re
from collections.abc import Mapping

from torch import Tensor

from mmirstd.checkpoints.convert.renaming import from_zero, rename, renamed
from mmirstd.checkpoints.state_dict import StateDict

# The Sobel filters are constants here.
_DROPPED = re.compile(r'lab\d\.grad_branch\.0\.weight_[xy]$')
_PARTS = (
    (r'encoder\.stem\.', 'backbone.stem.'),
    (r'lab(\d)\.local_branch\.', from_zero('neck.anomalies.{}.contrast.')),
    (r'lab(\d)\.grad_branch\.', from_zero('neck.anomalies.{}.gradient.')),
    (r'lab(\d)\.anomaly_proj\.', from_zero('neck.anomalies.{}.locate.')),
    (r'lab(\d)\.', from_zero('neck.anomalies.{}.')),
    (r'encoder\.stage(\d)\.', from_zero('backbone.stages.{}.')),
    (r'neck\.fuse(\d)\.high_proj\.', from_zero('neck.fusions.{}.high.')),
    (r'neck\.fuse(\d)\.low_proj\.', from_zero('neck.fusions.{}.low.')),
    (r'neck\.fuse(\d)\.channel_gate\.', from_zero('neck.fusions.{}.gate.')),
    (r'neck\.fuse(\d)\.', from_zero('neck.fusions.{}.')),
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
    dropped = [key for key in state_dict if _DROPPED.search(key)]
    return renamed({key: state_dict[key] for key in state_dict if key not in dropped}, _new_name, 'ADGFNet'), dropped


def _new_name(key: str) -> str | None:
    full = rename(key.removeprefix('module.').removeprefix('model.'), _PARTS)
    if full is None:
        return None
    if _PLAIN.search(full):
        return full
    pair = _PAIR.match(full)
    if pair is None:
        return None
    owner = pair[1] if _NO_RELU.search(pair[1]) else f'{pair[1]}.0'
    return f'{owner}.{"conv" if pair[2] == "0" else "bn"}.{pair[3]}'
