import copy
import pickle
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate, worker_init_fn
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from mmirstd.datasets import FolderDataset, IRSTD1kDataset, SyntheticIRSTDDataset
from mmirstd.datasets.sample_cache import SampleCache
from mmirstd.datasets.target_dataset import DatasetArgumentError
from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask

LOADING = [LoadIRImage(), LoadTargetMask()]
LOADING_CONFIG = [dict(type='mmirstd.LoadIRImage'), dict(type='mmirstd.LoadTargetMask')]
AUGMENTATION = [
    dict(type='mmirstd.AlignedResize', scale_factor=1.3, keep_ratio=True),
    dict(type='mmirstd.CopyPasteTargets', prob=0.8, halo=1, min_scr=0),
    dict(type='mmirstd.TargetAwareCrop', crop_size=24),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmirstd.InfraredPhotometric'),
    dict(type='mmirstd.PackIRSTDInputs'),
]


@pytest.fixture
def colored(tiny_data):
    """Five gray images and a colored one."""
    pixels = np.random.default_rng(1).integers(0, 255, (40, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tiny_data / 'images/color.png')
    Image.fromarray(np.uint8(255) * (pixels[..., 0] > 250)).save(tiny_data / 'masks/color.png')
    return tiny_data


def build(root, cache, pipeline=AUGMENTATION, **kwargs):
    """A training set as the configs have it."""
    leaf = dict(type='mmirstd.FolderDataset', data_root=str(root), pipeline=LOADING_CONFIG, cache=cache, **kwargs)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(dict(type='MultiImageMixDataset', dataset=leaf, pipeline=pipeline))


def plain(sample):
    """Image, mask and metadata of a packed sample."""
    data = sample['data_samples']
    return sample['inputs'].tolist(), data.gt_sem_seg.data.tolist(), sorted(map(str, data.metainfo.items()))


def assert_equal(got, expected):
    assert list(got) == list(expected)
    for key, value in expected.items():
        assert type(got[key]) is type(value)
        if isinstance(value, np.ndarray):
            assert (got[key].dtype, got[key].strides) == (value.dtype, value.strides)
            assert got[key].flags.writeable
            np.testing.assert_array_equal(got[key], value)
        else:
            assert got[key] == value


def test_samples_are_those_without_a_cache(colored):
    without = FolderDataset(data_root=colored, pipeline=LOADING)
    cached = FolderDataset(data_root=colored, pipeline=LOADING, cache='memory')
    for _ in range(2):  # loaded, then from memory
        for i in (*range(6), -1):
            sample = cached[i]
            assert_equal(sample, without[i])
            sample['img'][:] = 0  # what is done to a sample reaches no later one
            sample['seg_fields'].append('edge')
    assert len(cached.sample_cache) == 6
    assert cached.sample_cache.bytes_taken < 6 * (32 * 32 * 2 + 700) + 40 * 30 * 4  # one channel where three are equal


def test_seeded_augmentation_is_the_same(colored):
    expected, got = [], []
    for cache, found in ((None, expected), ('memory', got)):
        dataset = build(colored, cache)
        np.random.seed(3)  # noqa: NPY002
        found.extend(plain(dataset[i]) for _ in range(4) for i in range(6))
    assert got == expected


def test_no_file_is_read_twice(colored, monkeypatch):
    dataset = build(colored, 'memory')
    read = []
    original = LoadIRImage.transform
    monkeypatch.setattr(LoadIRImage, 'transform', lambda self, r: read.append(r['img_id']) or original(self, r))
    for _ in range(3):
        for i in range(6):
            dataset[i]
    assert sorted(read) == ['0', '1', '2', '3', '4', 'color']


def test_workers_fill_it_together_and_draw_the_same(colored):
    cv2.setNumThreads(0)

    def batches(cache):
        dataset = build(colored, cache)
        init = partial(worker_init_fn, num_workers=2, rank=0, seed=0)
        loader = DataLoader(dataset, 2, num_workers=2, worker_init_fn=init, collate_fn=pseudo_collate)
        torch.manual_seed(0)
        found = [[x.tolist() for x in batch['inputs']] for _ in range(2) for batch in loader]
        return found, dataset.dataset.sample_cache

    expected, none = batches(None)
    got, cache = batches('memory')
    assert none is None
    assert got == expected
    assert len(cache) == 6  # seen in this process, which loaded nothing
    assert cache.get(0)['img_id'] == '0'


def test_the_limit_keeps_what_fits_and_says_so_once(colored, warnings):
    without = FolderDataset(data_root=colored, pipeline=LOADING)
    cached = FolderDataset(data_root=colored, pipeline=LOADING, cache='memory', cache_limit=7000)
    for _ in range(2):
        for i in range(6):
            assert_equal(cached[i], without[i])
    kept = len(cached.sample_cache)
    assert 1 <= kept < 6
    assert cached.sample_cache.bytes_taken <= 7000
    message = f'tiny all: the cache holds {kept} of 6 samples in its 6.52e-06 GiB; the others are loaded each time'
    assert [line for line in warnings if 'cache' in line] == [
        f'{message}. A cache_limit above 7000 bytes would hold more'
    ]


def test_scenes_are_rendered_once(monkeypatch):
    dataset = SyntheticIRSTDDataset(length=3, size=(32, 32), pipeline=LOADING, cache='memory')
    expected = SyntheticIRSTDDataset(length=3, size=(32, 32), pipeline=LOADING)[1]
    assert_equal(dataset[1], expected)
    monkeypatch.setattr('mmirstd.datasets.synthetic.render_scene', None)
    assert_equal(dataset[1], expected)


def test_a_copy_of_a_dataset_has_a_cache_of_its_own(colored):
    dataset = FolderDataset(data_root=colored, pipeline=LOADING, cache='memory')
    dataset[0]
    for other in (copy.deepcopy(dataset), pickle.loads(pickle.dumps(dataset))):
        assert len(other.sample_cache) == 0
        assert_equal(other[0], dataset[0])
        assert len(other.sample_cache) == 1
    assert len(dataset.sample_cache) == 1


def test_bad_arguments(colored):
    with pytest.raises(DatasetArgumentError, match=r"^FolderDataset: cache must be 'memory' or None, got 'disk'$"):
        FolderDataset(data_root=colored, pipeline=LOADING, cache='disk')
    for limit in (0, '2GB', float('nan'), float('inf')):
        with pytest.raises(DatasetArgumentError, match=f'^FolderDataset: cache_limit must .* 1 byte, got {limit!r}$'):
            FolderDataset(data_root=colored, pipeline=LOADING, cache='memory', cache_limit=limit)
    with pytest.raises(MemoryError, match=r'set: no memory for a cache of \d+ bytes .*: lower cache_limit'):
        SampleCache('set', 1, 2**62)


def test_a_pipeline_that_drops_a_sample(colored, monkeypatch):
    dataset = FolderDataset(data_root=colored, pipeline=LOADING, cache='memory', test_mode=True)
    monkeypatch.setattr(LoadIRImage, 'transform', lambda self, results: None)
    with pytest.raises(Exception, match='should not get `None`'):
        dataset[0]
    assert len(dataset.sample_cache) == 0


def test_real_samples_are_equal(real_data, all_tests):
    kwargs = dict(split='basicirstd/val', data_root=real_data / 'IRSTD-1k', pipeline=LOADING)
    without, cached = IRSTD1kDataset(**kwargs), IRSTD1kDataset(**kwargs, cache='memory')
    for i in range(len(without) if all_tests else 3):
        assert_equal(cached[i], without[i])
        assert_equal(cached[i], without[i])
