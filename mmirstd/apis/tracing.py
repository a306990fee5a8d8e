"""What each transform of a pipeline makes of a sample, through the wrappers around its dataset."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.registry import init_default_scope
from mmseg.datasets import MultiImageMixDataset
from mmseg.registry import DATASETS

from mmirstd.apis.configuration import OptionError
from mmirstd.io.names import file_names, flat_name, sample_names
from mmirstd.utils.random_state import seed_generators
from mmirstd.visualization.stages import Stage


class BrowsedDataset(NamedTuple):
    """A dataset of files or scenes, and the name that each sample has in pictures and tables."""

    name: str
    dataset: BaseDataset
    names: list[str]
    augment: tuple[Callable[[dict], dict | None], ...] = ()  # transforms of the wrappers around the dataset


class Mix:
    """A transform of ``MultiImageMixDataset``, which draws the other samples that it mixes in."""

    def __init__(self, transform: Any, dataset: Any) -> None:
        self.transform, self.dataset = transform, dataset

    def __call__(self, results: dict) -> dict | None:
        """Transform one sample."""
        results['mix_results'] = [copy.deepcopy(self.dataset[i]) for i in self.transform.get_indices(self.dataset)]
        results = self.transform(results)
        if results is not None:
            results.pop('mix_results', None)
        return results

    def __repr__(self) -> str:
        return repr(self.transform)


def find_datasets(dataset: Any, augment: tuple = ()) -> Iterator[tuple[BaseDataset, tuple]]:
    """Walk the datasets inside wrappers, each with the wrappers' transforms; a repeated one comes once."""
    if isinstance(dataset, ConcatDataset):
        for inner in dataset.datasets:
            yield from find_datasets(inner, augment)
    elif isinstance(dataset, (RepeatDataset, ClassBalancedDataset)):
        yield from find_datasets(dataset.dataset, augment)
    elif isinstance(dataset, MultiImageMixDataset):
        own = [Mix(t, dataset.dataset) if hasattr(t, 'get_indices') else t for t in dataset.pipeline]
        yield from find_datasets(dataset.dataset, (*own, *augment))
    elif isinstance(dataset, BaseDataset):
        yield dataset, augment
    else:
        raise TypeError(f'{type(dataset).__name__}: neither a dataset nor a known wrapper, so not to be looked into')


def load_datasets(cfg: Config, split: str) -> list[BrowsedDataset]:
    """Build the datasets of a split."""
    loader = cfg.get(f'{split}_dataloader')
    if not loader:
        raise OptionError(f'the config has no {split}_dataloader')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    parts = []
    for dataset, augment in find_datasets(DATASETS.build(loader['dataset'])):
        dataset.full_init()
        names = sample_names(dataset)
        names = file_names(flat_name(names[dataset.get_data_info(i)['img_path']]) for i in range(len(dataset)))
        described = getattr(dataset, 'split_info', {})
        name = f'{described.get("dataset", type(dataset).__name__)} {described.get("name", split)}'
        parts.append(BrowsedDataset(name, dataset, names, augment))
    return parts


def pipeline_input(dataset: BaseDataset, index: int) -> dict[str, Any]:
    """What the pipeline of a dataset starts from; foreign datasets start from ``data_info``."""
    return getattr(dataset, 'pipeline_input', dataset.get_data_info)(index)


def trace(part: BrowsedDataset, index: int, key: Sequence[int]) -> list[Stage]:
    """Run a sample through all transforms, with generators seeded by ``key``; one stage per transform."""
    seed_generators(*key)
    data = pipeline_input(part.dataset, index)
    stages, known = [], _parameters(data)
    for transform in (*part.dataset.pipeline.transforms, *part.augment):
        title = ' '.join(repr(transform).split())
        data = transform(data)
        if data is None:
            stages.append(Stage(title, None, None, 'gave no sample: another one is drawn in training'))
            break
        now = _parameters(data)
        note = ', '.join(f'{k} {_short(v)}' for k, v in now.items() if k not in known or known[k] != v)
        known = now
        stages.append(Stage(title, *_picture(data), note))
    return stages


def _parameters(data: dict) -> dict[str, Any]:
    return {key: value for key, value in data.items() if _is_parameter(key, value)}


def _is_parameter(key: str, value: Any) -> bool:
    """What a transform says of itself: numbers and words, but for sizes and names, which are shown anyway."""
    if key.endswith(('_shape', '_path', '_fields', '_id', '_map')) or key in (
        'label_map',
        'reduce_zero_label',
        'sample_idx',
    ):
        return False
    if isinstance(value, dict):
        value = list(value.values())
    elif not isinstance(value, (tuple, list)) or len(value) > 4:
        value = [value]
    return all(isinstance(v, (int, float, str)) for v in value)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ' '.join(f'{k}={_short(v)}' for k, v in value.items()) or 'nothing'
    if isinstance(value, (tuple, list)):
        return '(' + ', '.join(map(_short, value)) + ')'
    return f'{value:.3g}' if isinstance(value, float) else str(value)


def _picture(data: dict) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Copies of image and mask, of a sample that is packed or not."""
    image, mask = data.get('img'), data.get('gt_seg_map')
    if image is None and 'inputs' in data:
        image = np.moveaxis(data['inputs'].numpy(), 0, -1)
        packed = getattr(data.get('data_samples'), 'gt_sem_seg', None)
        mask = None if packed is None else packed.data[0].numpy()
    return (None if image is None else image.copy()), (None if mask is None else mask.copy())
