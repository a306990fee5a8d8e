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

    With ``prefix``, only the keys below it, without it (``'backbone.'`` takes the backbone of a segmentor). Raises
    ``ValueError`` when there are no weights there.
    """
    for wrapper in ('state_dict', 'model'):
        if isinstance(checkpoint.get(wrapper), Mapping):
            checkpoint = checkpoint[wrapper]
            break
    if prefix:
        prefix = prefix.rstrip('.') + '.'
        checkpoint = {key.removeprefix(prefix): value for key, value in checkpoint.items() if key.startswith(prefix)}
    others = [key for key, value in checkpoint.items() if not isinstance(value, Tensor)]
    if others or not checkpoint:
        where = f' below the prefix {prefix!r}' if prefix else ''
        raise ValueError(f'not a state dict: {f"{others[:5]} are no tensors" if others else f"no weights{where}"}')
    return dict(checkpoint)


def checkpoint_weights(checkpoint: Any, source: str) -> dict[str, Tensor]:
    """Take the weights out of what a checkpoint held, without the prefix that DDP adds to the keys."""
    try:
        weights = unwrap_state_dict(checkpoint)
    except (AttributeError, ValueError) as e:
        raise CheckpointError(f'{source} holds no weights of a model ({e})') from e
    return {k.removeprefix('module.'): v for k, v in weights.items()}
