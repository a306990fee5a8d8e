"""A fixed number of augmented views of each image, and batches that mix several sets by weights."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any

import torch
from mmengine.dataset import ConcatDataset, InfiniteSampler
from torch.utils.data import Dataset

from mmirstd.datasets.wrapped import leaves
from mmirstd.registry import DATA_SAMPLERS, DATASETS
from mmirstd.utils.nested import without_keys
from mmirstd.utils.random_state import seeded
from mmirstd.version import __version__

# Arguments of a dataset on which no sample depends.
_NO_MATTER = frozenset(('data_root', 'cache', 'cache_limit', 'serialize_data', 'lazy_init'))


@DATASETS.register_module()
class IndexedViews(Dataset):
    """Views 0 to K - 1 of each image, each of which is the same sample whenever it is drawn.

    View k of image i is what the dataset's pipeline makes of it with the random generators seeded by (`seed`, i, k):
    not the worker, the epoch or the order counts. So a teacher may see all views once and for all, and training draws
    the same. Sample k N + i of the N K is view k of image i; more views leave those before them as they are.

    A sample says as ``view`` in its metadata which one it is: :attr:`key` and the index.

    Args:
        dataset: Config of a dataset whose samples are packed, with the augmentation.
        views: K, views of an image.
        seed: Of all views.

    Raises:
        ValueError: If `views` is below 1.
    """

    def __init__(self, dataset: Mapping, views: int = 1, seed: int = 0) -> None:
        if not isinstance(views, int) or views < 1:
            raise ValueError(f'IndexedViews: views={views!r} must be a whole number from 1 on')
        self._cfg = deepcopy(dict(dataset))
        self.dataset = DATASETS.build(deepcopy(dataset))
        self.views, self.seed = views, seed

    @property
    def metainfo(self) -> dict[str, Any]:
        """That of the dataset."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Load the samples."""
        self.dataset.full_init()

    def __len__(self) -> int:
        return self.views * len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f'view {index} of {len(self)}')
        view, image = divmod(index, len(self.dataset))
        with seeded(self.seed, image, view):
            sample = self.dataset[image]
        sample['data_samples'].set_metainfo({'view': (self.key, index)})
        return sample

    @cached_property
    def key(self) -> str:
        """A hash of all that the views follow from: images (names and sizes of files), config of the dataset, seed.

        Where the files lie does not count, nor whether they are kept in memory, nor the number of views.
        """
        images = [
            [getattr(part, 'name', ''), info.get('img_id'), _size_of(info.get('img_path'))]
            for part in leaves(self.dataset)
            for info in map(part.get_data_info, range(len(part)))
        ]
        content = [__version__, self.seed, without_keys(self._cfg, _NO_MATTER), images]
        text = json.dumps(content, sort_keys=True, default=repr)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@DATA_SAMPLERS.register_module()
class WeightedSetsSampler(InfiniteSampler):
    """Draws endlessly from the sets of a ``ConcatDataset``, each with a probability of its own.

    Within a set, each image comes once before one comes again. The ``ConcatDataset`` may lie inside wrappers that keep
    its order, and inside :class:`IndexedViews`.

    Args:
        dataset: The dataset.
        weights: One for each set; probabilities are in proportion.
        seed: By default that of the run.

    Raises:
        ValueError: If there is no ``ConcatDataset``, or the weights are not as many, or not positive.
    """

    def __init__(self, dataset: Dataset, weights: Sequence[float], seed: int | None = None) -> None:
        inner = dataset
        while not isinstance(inner, ConcatDataset) and hasattr(inner, 'dataset'):
            inner = inner.dataset
        if not isinstance(inner, ConcatDataset):
            raise ValueError(f'WeightedSetsSampler: there is no ConcatDataset in {type(dataset).__name__}')
        if len(weights) != len(inner.datasets) or not all(w > 0 for w in weights):
            raise ValueError(f'WeightedSetsSampler: {weights=} must be {len(inner.datasets)} positive numbers')
        self.weights = torch.tensor(weights, dtype=torch.float64)
        sizes, count = [len(part) for part in inner.datasets], len(inner)
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        repeats = len(dataset) // count
        self._members = [
            torch.cat([torch.arange(start, start + size) + r * count for r in range(repeats)])
            for start, size in zip(starts, sizes, strict=True)
        ]
        super().__init__(dataset, shuffle=True, seed=seed)

    def _infinite_indices(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed)
        left: list[list[int]] = [[] for _ in self._members]
        while True:
            for i in torch.multinomial(self.weights, 1024, replacement=True, generator=generator).tolist():
                if not left[i]:
                    order = torch.randperm(len(self._members[i]), generator=generator)
                    left[i] = self._members[i][order].tolist()
                yield left[i].pop()


def _size_of(path: str | None) -> int | None:
    try:
        return os.path.getsize(path)
    except (OSError, TypeError):  # rendered, or behind an address
        return None
