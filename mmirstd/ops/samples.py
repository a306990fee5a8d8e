"""What a data sample of MMSegmentation holds, as NumPy arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from mmirstd.utils.errors import UserError
from mmirstd.utils.text import abridge


def to_array(data: Tensor) -> np.ndarray:
    """Return a tensor as an array; floats of lower precision, some of which NumPy lacks, become float32."""
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
    """Return the target probabilities (H, W), float32, that a one-logit head left in `seg_logits` of a sample.

    Args:
        sample: A ``SegDataSample`` after prediction.
        source: What messages name.

    Raises:
        ValueError: If there are none, not one channel of them, or if they are no numbers.
    """
    logits = sample.get('seg_logits')
    if logits is None or len(logits.data) != 1:
        found = 'none' if logits is None else f'seg_logits of {tuple(logits.data.shape)}'
        raise ValueError(f'{source}: probabilities of one channel are needed, got {found}')
    refuse_non_finite_output(sample, source)
    return to_array(logits.data[0]).astype(np.float32, copy=False)
