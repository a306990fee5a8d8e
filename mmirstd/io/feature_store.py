"""Feature maps of numbered samples on disk: float16, memory-mapped, complete or not there."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmirstd.io.files import discard, whole_file, write_atomically
from mmirstd.utils.errors import UserError

INDEX = 'index.json'
CHUNK = 64  # samples a file: what a killed run has to do again
Shape = tuple[int, int, int]


class FeatureStoreError(UserError, RuntimeError):
    """A store of features is missing, incomplete, damaged, or of something else than is asked for."""


class FeatureStore:
    """A folder of feature maps: ``index.json``, and for each `CHUNK` samples one file ``000000.npy`` of float16.

    A file gets its name when it is complete. A row holds all maps of a sample, one after the other.

    Args:
        folder: Folder of a store that :meth:`create` made.

    Attributes:
        key: What the features depend on, by name; a store is for one such key.
        num: Number of samples.
        shapes: Channels, height and width of each map.
        note: Plain data that goes along.

    Raises:
        FeatureStoreError: If there is no store, or its index cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            index = json.loads((self.folder / INDEX).read_text(encoding='utf-8'))
            self.key: dict[str, str] = dict(index['key'])
            self.num, self.chunk = int(index['num']), int(index['chunk'])
            self.shapes: list[Shape] = [tuple(map(int, shape)) for shape in index['shapes']]
            self.note: dict[str, Any] = dict(index['note'])
        except FileNotFoundError:
            raise FeatureStoreError(f'there is no store of features in {self.folder}') from None
        except (ValueError, KeyError, TypeError) as e:
            raise FeatureStoreError(
                f'{self.folder / INDEX} is damaged: {e}; delete {self.folder}, and make the cache again'
            ) from None
        self._sizes = [math.prod(shape) for shape in self.shapes]
        self._open: dict[int, np.ndarray] = {}

    @classmethod
    def create(
        cls, folder: str | Path, key: Mapping[str, str], num: int, shapes: Sequence[Shape], note: Mapping[str, Any]
    ) -> 'FeatureStore':
        """Make a store, or open the one of the same key and shapes, with room for `num` samples at least.

        Raises:
            FeatureStoreError: If the folder holds a store of another key or other shapes.
        """
        folder = Path(folder)
        if (folder / INDEX).exists():
            store = cls(folder)
            store.check(key)
            if store.shapes != [tuple(shape) for shape in shapes]:
                raise FeatureStoreError(f'{folder} holds maps of {store.shapes}, not {list(shapes)}')
            for path in folder.glob('.*.tmp'):  # of a run that was killed
                discard(path)
            num = max(num, store.num)
        index = {'key': dict(key), 'num': num, 'chunk': CHUNK, 'shapes': shapes, 'note': dict(note)}
        write_atomically(folder / INDEX, json.dumps(index, indent=1))
        return cls(folder)

    def check(self, key: Mapping[str, str]) -> None:
        """See that the features are of this key.

        Raises:
            FeatureStoreError: Naming what differs.
        """
        if differing := [name for name in {**self.key, **key} if self.key.get(name) != key.get(name)]:
            raise FeatureStoreError(
                f'{self.folder} is stale: another {" and another ".join(differing)} than that of the config; make the '
                'cache anew'
            )

    @property
    def num_bytes(self) -> int:
        """Bytes of all features when the store is complete."""
        return 2 * self.num * sum(self._sizes)

    def missing(self) -> Iterator[range]:
        """The samples of each chunk that is not there, in order."""
        for number in range(-(-self.num // self.chunk)):
            samples = range(number * self.chunk, min((number + 1) * self.chunk, self.num))
            if self._rows(number) < len(samples):
                yield samples

    def write(self, samples: range, features: Sequence[Sequence[np.ndarray]]) -> None:
        """Write a chunk.

        Args:
            samples: One of :meth:`missing`.
            features: The maps of each of these samples.

        Raises:
            FeatureStoreError: If a value is not finite in float16; names the sample.
            OSError: If the disk is full or fails.
        """
        rows = np.empty((len(samples), sum(self._sizes)), np.float16)
        for row, sample, maps in zip(rows, samples, features, strict=True):
            with np.errstate(over='ignore'):
                np.concatenate([np.asarray(m, np.float32).ravel() for m in maps], out=row, casting='same_kind')
            if not np.isfinite(row).all():
                raise FeatureStoreError(f'sample {sample}: features that are not finite, or too large for float16')
        with whole_file(self._path(samples.start // self.chunk)) as temporary, open(temporary, 'wb') as file:
            np.save(file, rows, allow_pickle=False)
        self._open.pop(samples.start // self.chunk, None)

    def read(self, sample: int) -> list[np.ndarray]:
        """Return the maps of a sample, each float16 (C, H, W), as copies.

        Raises:
            FeatureStoreError: If it is not there.
        """
        number, row = divmod(sample, self.chunk)
        if not 0 <= sample < self.num or self._rows(number) <= row:
            raise FeatureStoreError(
                f'{self.folder} does not hold sample {sample}: it has {self.num}, of which '
                f'{sum(map(len, self.missing()))} are not made; run `mmirstd cache-teacher` to its end'
            )
        parts = np.split(np.array(self._open[number][row]), np.cumsum(self._sizes[:-1]))
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def _rows(self, number: int) -> int:
        """Open the file of a chunk and return its number of samples, 0 if it is not there."""
        if number not in self._open:
            path = self._path(number)
            try:
                array = np.load(path, mmap_mode='r', allow_pickle=False)
            except FileNotFoundError:
                return 0
            except (ValueError, EOFError) as e:
                raise FeatureStoreError(f'{path} is damaged ({e}): delete it, and make the cache again') from None
            if array.dtype != np.float16 or array.ndim != 2 or array.shape[1] != sum(self._sizes):
                raise FeatureStoreError(
                    f'{path} is damaged ({array.dtype} {array.shape}): delete it, and make the cache again'
                )
            self._open[number] = array
        return len(self._open[number])

    def _path(self, number: int) -> Path:
        return self.folder / f'{number:06d}.npy'
