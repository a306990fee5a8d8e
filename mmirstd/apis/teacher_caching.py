"""The teacher of a distillation, run once over all views."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, MODELS
from torch.utils.data import DataLoader, Subset

from mmirstd.apis.configuration import CfgOptions, OptionError, run_config
from mmirstd.apis.running import say
from mmirstd.datasets import IndexedViews
from mmirstd.io.feature_store import FeatureStore
from mmirstd.io.files import refuse_no_folder
from mmirstd.models.distillation import Distiller, FrozenTeacher, teacher_key, teacher_sources
from mmirstd.utils.locks import folder_lock
from mmirstd.utils.progress import progress_bar


class CachedTeacher(NamedTuple):
    """What :func:`cache_teacher` wrote."""

    folder: Path
    views: int
    computed: int
    num_bytes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f'{self.folder}: {self.views} views, {self.num_bytes / 1e9:.2f} GB; {self.computed} of them computed in '
            f'{self.seconds:.0f} s'
        )


def cache_teacher(
    config: str | Path | Config,
    out: str | Path,
    *,
    views: int | None = None,
    batch_size: int = 4,
    workers: int = 1,
    data_root: str | Path | None = None,
    cfg_options: CfgOptions | None = None,
) -> CachedTeacher:
    """Run the teacher of a distillation over all views of the training and the validation images, and keep its maps.

    The folder then goes into the config as ``model.teacher_cache``. Maps are float16, in files of 64 views. A run that
    was interrupted goes on where it was; more views can be added later.

    Args:
        config: Path or name of a config of a distiller, whose loaders have ``IndexedViews``.
        out: Folder of the cache.
        views: Views of each training image; by default as many as the config draws.
        batch_size: Views that the teacher sees at once.
        workers: Processes that load and augment.
        data_root: Folder of the dataset; by default what the config says.
        cfg_options: Changes of the config.

    Returns:
        What is there now.

    Raises:
        OptionError: If the config is no distillation of indexed views.
        FeatureStoreError: If the folder holds maps of another teacher or other views.
        FolderInUseError: If another process writes there.
        NotADirectoryError: If ``out`` is a file, or lies in one.
    """
    refuse_no_folder(out)
    cfg = run_config(config, ('train', 'val'), cfg_options=cfg_options, data_root=data_root)
    datasets = _datasets(cfg, views)
    teacher_cfg = _teacher_config(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        teacher = MODELS.build(dict(teacher_cfg)).to(get_device())
    teacher.init_weights()
    key, note = teacher_key(teacher_cfg), {'sources': teacher_sources(teacher_cfg)}
    begin, computed, total, num_bytes = time.monotonic(), 0, 0, 0
    for dataset in datasets:
        folder = Path(out) / dataset.key
        with folder_lock(folder):
            shapes = [tuple(m.shape[1:]) for m in _teach(teacher, [dataset[0]])]
            store = FeatureStore.create(folder, {'teacher': key, 'views': dataset.key}, len(dataset), shapes, note)
            chunks = list(store.missing())
            say(f'{folder}: {sum(map(len, chunks))} of {store.num} views to compute, {store.num_bytes / 1e9:.2f} GB')
            computed += _fill(store, chunks, dataset, teacher, batch_size, workers)
        total, num_bytes = total + store.num, num_bytes + store.num_bytes
    return CachedTeacher(Path(out), total, computed, num_bytes, time.monotonic() - begin)


def _fill(
    store: FeatureStore,
    chunks: Sequence[range],
    dataset: IndexedViews,
    teacher: FrozenTeacher,
    batch_size: int,
    workers: int,
) -> int:
    wanted = [i for chunk in chunks for i in chunk]
    loader = DataLoader(
        Subset(dataset, wanted), batch_size, num_workers=workers, collate_fn=list, multiprocessing_context=None
    )
    made = _one_by_one(loader, teacher)
    with progress_bar(description='teacher', total=len(wanted), unit='view') as bar:
        for chunk in chunks:
            rows = []
            for _ in chunk:
                rows.append(next(made))
                bar.update()
            store.write(chunk, rows)
    return len(wanted)


def _one_by_one(loader: DataLoader, teacher: FrozenTeacher) -> Iterator[list[np.ndarray]]:
    for batch in loader:
        maps = [m.cpu().numpy() for m in _teach(teacher, batch)]
        yield from ([m[i] for m in maps] for i in range(len(batch)))


def _teach(teacher: FrozenTeacher, samples: Sequence[dict]) -> tuple[torch.Tensor, ...]:
    images = torch.stack(pseudo_collate(samples)['inputs']).float()
    return teacher(images.to(get_device()))


def _teacher_config(cfg: Config) -> dict[str, Any]:
    """The teacher as the distiller of a config builds it."""
    kind = MODELS.get(cfg.model.type) or Distiller
    return {**getattr(kind, 'TEACHER', Distiller.TEACHER), **cfg.model.teacher}


def _datasets(cfg: Config, views: int | None) -> list[IndexedViews]:
    if 'teacher' not in cfg.model:
        raise OptionError(f'{cfg.filename or "the config"}: its model {cfg.model.get("type")} has no teacher')
    if views is not None:
        cfg.train_dataloader.dataset.views = views
    found = []
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        for name in ('train', 'val'):
            dataset = DATASETS.build(cfg[f'{name}_dataloader'].dataset)
            if isinstance(dataset, IndexedViews):
                found.append(dataset)
            elif name == 'train':
                raise OptionError(
                    f'train_dataloader.dataset.type={cfg.train_dataloader.dataset.type!r}: only the views of '
                    'mmirstd.IndexedViews can be cached'
                )
    return found
