"""The optimizers of a config: one for the whole model, or one for each of its parts."""

from collections.abc import Iterator, Mapping
from typing import Any


def has_several_optimizers(optim_wrapper: Any) -> bool:
    """Whether an ``optim_wrapper`` of a config names optimizers by parts of the model, built by a ``constructor``."""
    return isinstance(optim_wrapper, Mapping) and 'optimizer' not in optim_wrapper and 'constructor' in optim_wrapper


def iter_optim_wrappers(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Walk the optimizer wrappers of a config; yields (place, dict)."""
    optim_wrapper = cfg.get('optim_wrapper')
    if has_several_optimizers(optim_wrapper):
        yield from ((f'optim_wrapper.{k}', v) for k, v in optim_wrapper.items() if isinstance(v, Mapping))
    elif isinstance(optim_wrapper, Mapping):
        yield 'optim_wrapper', optim_wrapper
