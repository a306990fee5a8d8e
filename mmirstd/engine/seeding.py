"""Randomness that depends on the seed and on what is drawn, not on who draws it and when.

A sample is seeded by (seed, epoch, number of the draw in the whole job), so it comes out the same in any worker, with
any number of them, and in a run that was interrupted. What is drawn in the main process (dropout, point sampling)
follows from its generators, which a checkpoint keeps.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset, Sampler, get_worker_info

from mmirstd.utils.random_state import seed_generators, seeded
from mmirstd.utils.text import first_line


def check_rng_state(state: Any) -> None:
    """See that :func:`set_rng_state` can take a state, without touching the generators of this process.

    Raises:
        ValueError: Naming the generator whose state is broken.
    """
    for name in ('python', 'numpy', 'torch'):
        if not isinstance(state, Mapping) or name not in state:
            raise ValueError(f'{name} is missing')
        try:
            if name == 'python':
                version, internal, gauss = state[name]
                random.Random().setstate((version, tuple(internal), gauss))
            elif name == 'numpy':
                np.random.RandomState().set_state(tuple(state[name]))
            else:
                torch.Generator().set_state(state[name].cpu())
        except (TypeError, ValueError, RuntimeError, AttributeError, OverflowError, IndexError, KeyError) as e:
            raise ValueError(f'{name}: {first_line(e)}') from None
    if 'cuda' in state and not isinstance(state['cuda'], torch.Tensor):
        raise ValueError('cuda: no tensor')


class SampleIndex(int):
    """An index into a dataset, with the ``key`` by which the sample is seeded."""

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...]) -> 'SampleIndex':
        """Make one."""
        self = super().__new__(cls, index)
        self.key = key
        return self

    def __reduce__(self) -> tuple:
        return SampleIndex, (int(self), self.key)


class CountingSampler(Sampler):
    """Yields what a sampler yields, as :class:`SampleIndex` with key (seed, epoch, position in the whole job).

    Args:
        sampler: Config of a sampler.
        dataset: Passed on to it.
        seed: Passed on to it; the key has the seed that the sampler then has.
    """

    def __init__(self, sampler: Mapping, dataset: Dataset, seed: int | None = None) -> None:
        self.sampler = DATA_SAMPLERS.build(dict(sampler), default_args={'dataset': dataset, 'seed': seed})
        own = getattr(self.sampler, 'seed', seed)
        self.seed = sync_random_seed() if own is None else own
        self._endless = isinstance(self.sampler, InfiniteSampler)
        self._position = 0

    def __iter__(self) -> Iterator[SampleIndex]:
        rank, world_size = get_dist_info()
        if not self._endless:
            self._position = 0
        epoch = getattr(self.sampler, 'epoch', 0)
        for index in self.sampler:
            self._position += 1
            yield SampleIndex(index, (self.seed, epoch, (self._position - 1) * world_size + rank))

    def __len__(self) -> int:
        return len(self.sampler)

    def _skip(self, num_samples: int) -> None:
        self.sampler.skip(num_samples)
        self._position = num_samples

    def __getattr__(self, name: str) -> Any:
        # MMEngine asks for `skip` (which the original distribution has not), `set_epoch`, `dataset` and others.
        if name.startswith('__') or name == 'sampler':
            raise AttributeError(name)
        inner = getattr(self.sampler, name)
        return self._skip if name == 'skip' else inner


class SeededSamples(Dataset):
    """A dataset whose samples are seeded by the key of a :class:`SampleIndex`; otherwise the dataset itself.

    In the main process (no workers), its generators are left as they were.

    Args:
        dataset: Config of a dataset, or a dataset.
    """

    def __init__(self, dataset: Mapping | Dataset) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, Mapping) else dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if not isinstance(index, SampleIndex):
            return self.dataset[index]
        if get_worker_info() is not None:
            seed_generators(*index.key)
            return self.dataset[int(index)]
        with seeded(*index.key):
            return self.dataset[int(index)]

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'dataset':
            raise AttributeError(name)
        return getattr(self.dataset, name)
