"""Loaded samples in memory, so that no file is decoded and no scene is rendered twice."""

import logging
import mmap
import multiprocessing
import pickle
from typing import Any

import cv2
import numpy as np
from mmengine.logging import print_log

from mmirstd.io.images import equal_channel

GIB = 2**30
# Seconds. Longer than any copy of an image; a worker that was killed never gives the lock back.
_PATIENCE = 10.0


class SampleCache:
    """Samples of a dataset as they were loaded, each by its index, in memory that forked processes share.

    What one process stores, the others read: workers of a loader that are forked after the cache is made fill it
    together. Spawned ones get a copy of the dataset, and with it an empty cache each. :meth:`get` returns a new copy
    each time, equal to what was stored in keys, values, types and memory layout. Of an image of three equal channels,
    one is kept.

    When the next sample would exceed the limit, it is left out, and a warning says how many samples are kept.

    Args:
        name: Of the dataset, for the warning.
        length: Number of samples.
        limit: Bytes of all samples together. Memory is taken only as samples come in.
    """

    def __init__(self, name: str, length: int, limit: int) -> None:
        self.name, self.length, self.limit = name, length, limit
        try:
            self._memory = mmap.mmap(-1, limit)
            self._index = mmap.mmap(-1, 8 * (2 * length + 3))
        except (OSError, ValueError, OverflowError) as error:
            raise MemoryError(f'{name}: no memory for a cache of {limit} bytes ({error}): lower cache_limit') from error
        values = np.frombuffer(self._index, np.int64)
        self._places = values[3:].reshape(length, 2)  # begin and number of bytes, 0 until they are there
        self._state = values[:3]  # bytes taken, samples stored, whether the warning was given
        self._lock = multiprocessing.Lock()

    def __reduce__(self) -> tuple:
        return type(self), (self.name, self.length, self.limit)

    def __deepcopy__(self, memo: dict) -> 'SampleCache':
        return type(self)(self.name, self.length, self.limit)

    def __len__(self) -> int:
        """Number of samples that are stored."""
        return int(self._state[1])

    @property
    def bytes_taken(self) -> int:
        """Bytes of the samples that are stored."""
        return int(self._state[0])

    def get(self, index: int) -> dict[str, Any] | None:
        """A copy of a sample; None if it is not stored."""
        begin, size = self._places[index].tolist()
        if not size:
            return None
        with memoryview(self._memory) as memory, memory[begin : begin + size] as content:
            sample, is_gray = pickle.loads(content)
        if is_gray:
            sample['img'] = cv2.merge([sample['img']] * 3)
        return sample

    def put(self, index: int, sample: dict[str, Any]) -> None:
        """Store a sample, where there is room; the one given is left as it is."""
        gray = equal_channel(sample['img']) if isinstance(sample.get('img'), np.ndarray) else None
        kept = sample if gray is None else sample | {'img': gray}
        content = pickle.dumps((kept, gray is not None), protocol=5)
        if not self._lock.acquire(timeout=_PATIENCE):
            return
        try:
            begin = int(self._state[0])
            if self._places[index, 1]:
                return
            if begin + len(content) > self.limit:
                self._warn()
                return
            self._state[0] += len(content)
            self._state[1] += 1
            self._memory[begin : begin + len(content)] = content
        finally:
            self._lock.release()
        # A second time: the place must not be seen before the content, on any processor.
        if self._lock.acquire(timeout=_PATIENCE):
            self._places[index] = begin, len(content)
            self._lock.release()

    def _warn(self) -> None:
        if not self._state[2]:
            self._state[2] = 1
            print_log(
                f'{self.name}: the cache holds {len(self)} of {self.length} samples in its {self.limit / GIB:.3g} GiB; '
                f'the others are loaded each time. A cache_limit above {self.limit} bytes would hold more',
                logger='current',
                level=logging.WARNING,
            )
