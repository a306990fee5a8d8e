"""Several sets joined to one: MMEngine's ConcatDataset, as in configs/_base_/datasets/sirst3.py."""

import logging
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from small_sets import IDS, make, write_published

from mmirstd.datasets import IRSTD1kDataset, NUAASIRSTDataset, NUDTSIRSTDataset
from mmirstd.datasets.published_splits import load_published
from mmirstd.datasets.wrapped import leaves
from mmirstd.io.names import sample_names
from mmirstd.registry import DATASETS, RUNNERS
from mmirstd.utils.data_root import set_data_root

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/sirst3.py'
PARTS = (NUAASIRSTDataset, NUDTSIRSTDataset, IRSTD1kDataset)
NUM = len(IDS['NUDT-SIRST'])


@pytest.fixture
def config(tmp_path, monkeypatch):
    for cls in PARTS:
        write_published(cls, tmp_path / cls.NAME, IDS[cls.NAME], size=(40, 30))
    monkeypatch.setattr('mmirstd.datasets.base.load_published', lambda of, split, others: (split, IDS[of]))
    config = Config.fromfile(CONFIG)
    config.train_dataloader.dataset.pipeline = Config.fromfile(
        CONFIG.parents[1] / 'pipelines/crop256.py'
    ).train_pipeline
    set_data_root(config, str(tmp_path))
    return config


@pytest.mark.parametrize(('part', 'split'), [('train', 'subtrain'), ('val', 'val'), ('test', 'test')])
def test_config_joins_three_sets(part, split, config, tmp_path):
    with DefaultScope.overwrite_default_scope('mmseg'):
        joined = DATASETS.build(config[f'{part}_dataloader'].dataset)
    assert len(joined) == 3 * NUM
    assert joined.metainfo['classes'] == ('background', 'target')
    sets = list(leaves(joined))
    assert [d.split_info['dataset'] for d in sets] == [cls.NAME for cls in PARTS]
    assert {d.split_info['name'] for d in sets} == {f'basicirstd/{split}'}
    assert {d.test_mode for d in sets} == {part != 'train'}
    samples = [joined[i] for i in range(len(joined))]
    assert [s['data_samples'].img_id for s in samples] == [i for cls in PARTS for i in IDS[cls.NAME]]
    shape = (256, 256) if part == 'train' else (30, 40)
    assert all(s['inputs'].shape == (3, *shape) for s in samples)
    folders = [Path(s['data_samples'].img_path).relative_to(tmp_path).parts[0] for s in samples]
    assert folders == [cls.NAME for cls in PARTS for _ in range(NUM)]


def test_lists_are_those_of_the_three_sets():
    for part, num in (('train', 1676), ('test', 1079)):
        ids = [i for cls in PARTS for i in load_published(cls.NAME, f'basicirstd/{part}')[1]]
        assert len(ids) == len(set(ids)) == num


def test_ids_that_collide_stay_apart(tiny_config, tmp_path):
    """Two sets whose images have the same names, trained on, validated, tested and drawn as one."""
    other = make(tmp_path / 'other', [f'{i}.png' for i in range(3)], size=(32, 32))
    pictures = tmp_path / 'pictures'
    extra = f"""
    allow_overlap = ['tiny', 'other']
    join = dict(type='ConcatDataset')
    parts = [dataset, {{**dataset, 'data_root': {str(other)!r}}}]
    test_parts = [dict(**part, test_mode=True) for part in parts]
    sampler = dict(type='DefaultSampler', shuffle=False)
    train_dataloader['dataset'] = dict(datasets=parts, **join)
    val_dataloader = dict(batch_size=1, num_workers=0, sampler=sampler, dataset=dict(datasets=test_parts, **join))
    test_dataloader = val_dataloader
    train_cfg = dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3)
    default_hooks['visualization'] = dict(
        type='mmirstd.IRSTDVisualizationHook', draw=True, interval=1, show_dir={str(pictures)!r}
    )
    """
    cfg = Config.fromfile(tiny_config(extra))
    cfg.work_dir, cfg.experiment_name = str(tmp_path / 'run'), 'sirst3'
    runner = RUNNERS.build(cfg)
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    runner.logger.addHandler(handler)
    runner.train()
    figures = runner.test()
    runner.logger.removeHandler(handler)
    assert set(figures) >= {'IoU', 'nIoU', 'Pd', 'Fa'}
    # 8 images with 8 targets, in validation and in the test: none was taken for another.
    assert sum(line.startswith('8 images (0 without target): ') and ' of 8 targets' in line for line in lines) == 2
    names = [*(f'{i:06d}_{i}' for i in range(3)), '3', '4', *(f'{5 + i:06d}_{i}' for i in range(3))]
    assert list(sample_names(runner.test_dataloader.dataset).values()) == names
    assert sorted(path.stem for path in pictures.glob('*.png')) == sorted(names)
    one, two = (np.array(Image.open(pictures / f'{name}.png')) for name in ('000000_0', '000005_0'))
    assert not np.array_equal(one, two)
    drawn = {path.name.rsplit('_', 1)[0] for path in (tmp_path / 'run').rglob('val_*.png')}
    assert drawn == {f'val_{name}' for name in names}
