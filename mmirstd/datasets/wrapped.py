"""Datasets inside wrappers."""

from collections.abc import Iterator
from typing import Any


def leaves(dataset: Any) -> Iterator[Any]:
    """Walk the datasets inside wrappers such as ``ConcatDataset`` and ``RepeatDataset``."""
    inner = getattr(dataset, 'datasets', None) or ([dataset.dataset] if hasattr(dataset, 'dataset') else [])
    for part in inner:
        yield from leaves(part)
    if not inner:
        yield dataset
