"""The weights in what a checkpoint file holds."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmirstd.utils.errors import UserError

StateDict = dict[str, Tensor]


class CheckpointError(UserError, RuntimeError):
    """A checkpoint is missing, damaged, unsafe, or of another model."""


def unwrap_state_dict(checkpoint: Mapping[str, Any], prefix: str | None = None) -> StateDict:
    """The weights in what a file held: under ``state_dict`` (mmengine), ``model`` (RepViT's authors) or bare.

    Args:
        checkpoint: The content of the file.
        prefix: Take only the keys below it, without it: ``'backbone'`` takes the backbone of a segmentor.

    Returns:
        The weights, without the prefix ``module.`` that DDP adds to the keys.

    Raises:
        ValueError: If there are no weights there.
    """
    for wrapper in ('state_dict', 'model'):
        if isinstance(checkpoint.get(wrapper), Mapping):
            checkpoint = checkpoint[wrapper]
            break
    weights = {str(key).removeprefix('module.'): value for key, value in checkpoint.items()}
    if prefix:
        prefix = prefix.rstrip('.') + '.'
        weights = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    others = [key for key, value in weights.items() if not isinstance(value, Tensor)]
    if others or not weights:
        where = f' below the prefix {prefix!r}' if prefix else ''
        raise ValueError(f'not a state dict: {f"{others[:5]} are no tensors" if others else f"no weights{where}"}')
    return weights


def checkpoint_weights(checkpoint: Any, source: str, prefix: str | None = None) -> StateDict:
    """Take the weights out of what a checkpoint held, see :func:`unwrap_state_dict`.

    Raises:
        CheckpointError: If there are none; the message names ``source``.
    """
    try:
        return unwrap_state_dict(checkpoint, prefix)
    except (AttributeError, ValueError) as e:
        raise CheckpointError(f'{source} holds no weights of a model ({e})') from e
