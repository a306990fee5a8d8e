"""What a data sample of MMSegmentation holds, as NumPy arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmirstd.utils.errors import UserError
from mmirstd.utils.text import abridge


def to_array(data: Tensor | np.ndarray) -> np.ndarray:
    """Return a tensor as an array; floats of lower precision, some of which NumPy lacks, become float32."""
    if isinstance(data, np.ndarray):  # after SegDataSample.numpy()
        return data
    data = data.detach().cpu()
    return (data.float() if data.is_floating_point() and data.element_size() < 4 else data).numpy()


class NonFiniteOutputError(UserError, ValueError):
    """A model predicts values that are NaN or infinite."""


def refuse_non_finite_output(sample: Mapping[str, Any], source: str) -> None:
    """See that `seg_logits` of a sample are finite; compared with a threshold, NaN would be background.

    Args:
        sample: A ``SegDataSample`` after prediction, or the same as a dict.
        source: What messages name.

    Raises:
        NonFiniteOutputError: If they are not.
    """
    logits = sample.get('seg_logits')
    if logits is None:
        return
    finite = (logits['data'] if isinstance(logits, Mapping) else logits.data).isfinite()
    if not finite.all():
        number = finite.numel()
        bad = number - int(finite.sum())
        raise NonFiniteOutputError(f'{source}: {bad} of {number} values that the model predicts are NaN or infinite')


def non_finite_weights(model: nn.Module) -> str:
    """Say which weights and statistics of a model are NaN or infinite, to go at the end of a message."""
    state = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    bad = [name for name, value in state.items() if not value.isfinite().all()]
    return f'; NaN or infinite in the model: {abridge(bad)}' if bad else '; all weights of the model are finite'


def probability_map(sample: Mapping[str, Any], source: str) -> np.ndarray:
    """Return the target probabilities (H, W), float32, of a predicted sample.

    MMSegmentation leaves probabilities in `seg_logits` where a head has one logit, and the logits of background and
    target where it has two, or their probabilities after test-time augmentation.

    Args:
        sample: A ``SegDataSample`` after prediction, or its ``to_dict()``.
        source: What messages name.

    Raises:
        ValueError: If there are none, or neither one nor two channels of them, or if they are no numbers; the
            message begins with ``source``.
    """
    logits = sample.get('seg_logits')
    data = None if logits is None else to_array(logits['data'] if isinstance(logits, dict) else logits.data)
    if data is None or data.ndim != 3 or len(data) not in (1, 2):
        found = 'none' if data is None else f'seg_logits of {data.shape}'
        raise ValueError(f'{source}: target probabilities need seg_logits of one or two channels, got {found}')
    refuse_non_finite_output(sample, source)
    data = data.astype(np.float32, copy=False)
    if len(data) == 1:
        return data[0]
    if data.min() >= 0 and np.abs(data.sum(0) - 1).max() < 1e-4:
        return data[1]
    with np.errstate(over='ignore'):  # exp gives inf, and 1 / inf the right 0
        return 1 / (1 + np.exp(data[0] - data[1]))
