"""What a data sample of MMSegmentation holds, as NumPy arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor


def to_array(data: Tensor) -> np.ndarray:
    """Return a tensor as an array; floats of lower precision, some of which NumPy lacks, become float32."""
    data = data.detach().cpu()
    return (data.float() if data.is_floating_point() and data.element_size() < 4 else data).numpy()


def probability_map(sample: Mapping[str, Any], source: str) -> np.ndarray:
    """Return the target probabilities (H, W), float32, that a one-logit head left in `seg_logits` of a sample.

    Args:
        sample: A ``SegDataSample`` after prediction.
        source: What messages name.

    Raises:
        ValueError: If there are none, or not one channel of them.
    """
    logits = sample.get('seg_logits')
    if logits is None or len(logits.data) != 1:
        found = 'none' if logits is None else f'seg_logits of {tuple(logits.data.shape)}'
        raise ValueError(f'{source}: probabilities of one channel are needed, got {found}')
    return to_array(logits.data[0]).astype(np.float32, copy=False)
