"""Refusal of an export by layers that have no graph."""

import torch

from mmirstd.utils.errors import UserError


class NoGraphError(UserError, RuntimeError):
    """A layer cannot be exported, at any size."""


def refuse_export(layer: object, reason: str) -> None:
    """Raise where ``torch.export`` traces. Compilation may go on: it runs such a layer as it is.

    Raises:
        NoGraphError: With the type of the layer and the reason.
    """
    if torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling():
        raise NoGraphError(f'{type(layer).__name__} has no graph: {reason}')
