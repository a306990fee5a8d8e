"""States of the random generators of a process: Python's, NumPy's and torch's."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

RNGState = dict[str, Any]


def rng_state() -> RNGState:
    """States of the generators of Python, NumPy and torch in this process; plain data, which a checkpoint may hold."""
    state = {'python': random.getstate(), 'numpy': np.random.get_state(), 'torch': torch.get_rng_state()}  # noqa: NPY002
    if torch.cuda.is_initialized():  # in the forked worker of a loader it cannot be
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: RNGState) -> None:
    """Put back what :func:`rng_state` gave, also when a loader has moved its tensors or made lists of its tuples."""
    version, internal, gauss = state['python']
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(tuple(state['numpy']))  # noqa: NPY002
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def seed_generators(*key: int) -> None:
    """Seed the generators of Python, NumPy and torch of this process by numbers that are not negative."""
    words = np.random.SeedSequence(key).generate_state(6)
    random.seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words[2:4])  # noqa: NPY002
    # Not torch.manual_seed: in a worker, CUDA is none of its business.
    torch.default_generator.manual_seed(int(words[4]) << 32 | int(words[5]))


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed the generators for the block by :func:`seed_generators`, and leave them as they were before it."""
    saved = rng_state()
    try:
        seed_generators(*key)
        yield
    finally:
        set_rng_state(saved)
