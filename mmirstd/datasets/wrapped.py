"""Datasets inside wrappers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.dataset import ConcatDataset

from mmirstd.registry import DATASETS


def leaves(dataset: Any) -> Iterator[Any]:
    """Walk the datasets inside wrappers such as ``ConcatDataset`` and ``RepeatDataset``."""
    inner = getattr(dataset, 'datasets', None) or ([dataset.dataset] if hasattr(dataset, 'dataset') else [])
    for part in inner:
        yield from leaves(part)
    if not inner:
        yield dataset


@DATASETS.register_module()
class JoinedDataset(ConcatDataset):
    """Datasets one after the other, with one pipeline.

    MMSegmentation's inferencer takes the pipeline of a config's test dataset, and ``ConcatDataset`` has none.

    Args:
        datasets: Configs.
        pipeline: Of the datasets that have none of their own.
        kwargs: Arguments of ``ConcatDataset``.
    """

    def __init__(self, datasets: Sequence[Mapping], pipeline: Sequence[Mapping] | None = None, **kwargs: Any) -> None:
        common = {} if pipeline is None else {'pipeline': pipeline}
        super().__init__([common | dict(part) for part in datasets], **kwargs)
