"""The validation split of a config, for what is measured or chosen on it outside a training."""

import re
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from mmirstd.apis.configuration import OptionError
from mmirstd.checkpoints.provenance import SEPARATOR, SplitRecord
from mmirstd.datasets.wrapped import leaves
from mmirstd.engine.provenance import find_overlaps, provenance_of_dataset

# 'basicirstd/test', 'test.txt', 'test_NUDT-SIRST.txt'
_TEST = re.compile(r'test(ing)?([._-]|$)')


def validation_loader(cfg: Config) -> DataLoader:
    """Build the loader of the validation split.

    Raises:
        OptionError: If there is none, or its images have no masks.
    """
    where = cfg.filename or 'the config'
    if not cfg.get('val_dataloader'):
        raise OptionError(f'{where} has no val_dataloader, so no split to validate on')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        loader = Runner.build_dataloader(cfg.val_dataloader, seed=0)
    if not loader.dataset.metainfo.get('has_masks', True):
        raise OptionError(f'{where}: its validation split has no masks to compare with')
    return loader


def refuse_test_images(cfg: Config, dataset: Any) -> list[SplitRecord]:
    """See that a validation split is no test split; returns its records.

    Raises:
        OptionError: If a split of it is called test, or has images that the config tests on.
    """
    records = provenance_of_dataset(dataset).trained_on
    where = f'{cfg.filename or "the config"}: a threshold is chosen on a validation split, and its val_dataloader'
    for record in records:
        if any(_TEST.match(Path(name).name) for name in record['name'].split(SEPARATOR)):
            raise OptionError(f'{where} is {record["dataset"]} {record["name"]}: metrics on it would be optimistic')
    if not cfg.get('test_dataloader'):
        return records
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        test = provenance_of_dataset(DATASETS.build(cfg.test_dataloader.dataset)).trained_on
    if overlaps := find_overlaps(records, test):
        first = overlaps[0]
        shared = f'{first.count} of {first.evaluated["num"]} images of {first.evaluated["dataset"]}'
        raise OptionError(f'{where} shares {shared} {first.evaluated["name"]} with the test_dataloader')
    return records


def data_name(dataset: Any) -> str:
    """Datasets and splits of a dataset and of those inside it, in words."""
    splits = [getattr(part, 'split_info', None) for part in leaves(dataset)]
    return ', '.join(f'{s["dataset"]} {s["name"]}' if s else type(dataset).__name__ for s in splits)
