"""Indexed views are the same samples for ever, and sets are drawn as they weigh."""

from collections import Counter
from copy import deepcopy
from itertools import islice

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset
from mmengine.registry import DATA_SAMPLERS, DATASETS, DefaultScope
from PIL import Image
from small_sets import write

from mmirstd.datasets import FolderDataset, IndexedViews, NUAASIRSTDataset, WeightedSetsSampler
from mmirstd.utils.random_state import rng_state, seeded

LOAD = [dict(type='mmirstd.LoadIRImage'), dict(type='mmirstd.LoadTargetMask')]
VIEW = [
    dict(type='RandomResize', scale=(24, 24), ratio_range=(0.8, 1.5), keep_ratio=True),
    dict(type='mmirstd.TargetAwareCrop', crop_size=16, target_prob=0.0, pad_mode='reflect'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmirstd.InfraredPhotometric'),
    dict(type='mmirstd.PackIRSTDInputs'),
]


@pytest.fixture
def folder(tmp_path):
    """Five images of noise, without masks."""
    rng = np.random.default_rng(0)
    for i in range(5):
        write(tmp_path / f'set/images/{i}.png')
        Image.fromarray(rng.integers(0, 256, (30, 40), np.uint8)).save(tmp_path / f'set/images/{i}.png')
    return tmp_path / 'set'


def config(folder, views=3, seed=0, pipeline=VIEW, **changes):
    inner = dict(type='mmirstd.FolderDataset', data_root=str(folder), mask_dir=None, use_masks=False, pipeline=LOAD)
    mixed = dict(type='MultiImageMixDataset', dataset=inner | changes, pipeline=pipeline)
    return deepcopy(dict(type='mmirstd.IndexedViews', views=views, seed=seed, dataset=mixed))


def build(*args, **kwargs):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(config(*args, **kwargs))


def pixels(dataset):
    return torch.stack([dataset[i]['inputs'] for i in range(len(dataset))])


def test_a_view_is_the_same_whenever_it_is_drawn(folder):
    dataset = build(folder)
    assert len(dataset) == 15
    expected = pixels(dataset)
    before = rng_state()
    np.random.seed(5)  # noqa: NPY002
    torch.manual_seed(6)
    again = [dataset[i]['inputs'] for i in reversed(range(15))]
    assert torch.equal(torch.stack(again[::-1]), expected)
    assert torch.equal(pixels(build(folder)), expected)
    assert len({view.numpy().tobytes() for view in expected}) == 15
    state = rng_state()
    dataset[3]
    assert state['numpy'][2] == rng_state()['numpy'][2]
    assert torch.equal(state['torch'], rng_state()['torch'])
    assert before['python'] == state['python']


def test_a_worker_starts_no_cuda(monkeypatch):
    """In a forked worker, CUDA is there and cannot be started."""
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.is_initialized', lambda: False)
    monkeypatch.setattr('torch.cuda.get_rng_state', lambda: pytest.fail('CUDA was started'))
    with seeded(3):
        first = torch.rand(3)
    with seeded(3):
        assert torch.equal(torch.rand(3), first)


def test_more_views_leave_those_before_them(folder):
    few, many = build(folder, views=1), build(folder, views=3)
    assert torch.equal(pixels(few), pixels(many)[:5])
    assert few.key == many.key
    assert [many[7]['data_samples'].view, many[7]['data_samples'].img_id] == [(many.key, 7), '2']


def test_the_key_follows_what_views_follow_from(folder, tmp_path):
    key = build(folder).key
    moved = folder.rename(tmp_path / 'elsewhere')
    (tmp_path / 'elsewhere').rename(tmp_path / 'set')
    assert moved.name == 'elsewhere'
    assert build(folder, cache='memory').key == key
    others = [build(folder, seed=1), build(folder, pipeline=VIEW[1:]), build(folder, indices=4)]
    assert len({key, *(d.key for d in others)}) == 4
    write(folder / 'images/0.png', (41, 30))
    assert build(folder).key != key


def test_wrong_numbers_of_views(folder):
    for views in (0, 1.5):
        with pytest.raises(ValueError, match=f'views={views} must be a whole number from 1 on'):
            build(folder, views=views)
    with pytest.raises(IndexError, match='view 15 of 15'):
        build(folder)[15]


def sets(folder, sizes):
    parts = [FolderDataset(data_root=folder, mask_dir=None, use_masks=False, indices=n) for n in sizes]
    return ConcatDataset(parts)


def test_sets_are_drawn_as_they_weigh(folder):
    dataset = sets(folder, (4, 1))
    sampler = WeightedSetsSampler(dataset, [1.0, 3.0], seed=0)
    drawn = list(islice(iter(sampler), 4000))
    counts = Counter(drawn)
    assert counts[4] / 4000 == pytest.approx(0.75, abs=0.03)
    assert set(counts) == set(range(5))
    # Each image of a set comes once before one comes again.
    first = [i for i in drawn if i < 4]
    assert all(sorted(first[i : i + 4]) == [0, 1, 2, 3] for i in range(0, 400, 4))
    assert list(islice(iter(WeightedSetsSampler(dataset, [1.0, 3.0], seed=0)), 100)) == drawn[:100]
    assert list(islice(iter(WeightedSetsSampler(dataset, [1.0, 3.0], seed=1)), 100)) != drawn[:100]
    resumed = WeightedSetsSampler(dataset, [1.0, 3.0], seed=0)
    if hasattr(resumed, 'skip'):  # of the maintained distribution
        resumed.skip(50)
        assert list(islice(iter(resumed), 50)) == drawn[50:100]


def test_views_of_sets_are_drawn_all(folder):
    inner = dict(type='mmirstd.FolderDataset', data_root=str(folder), mask_dir=None, use_masks=False, pipeline=LOAD)
    joined = dict(type='ConcatDataset', datasets=[dict(inner, indices=2), dict(inner, indices=3)])
    mixed = dict(type='MultiImageMixDataset', dataset=joined, pipeline=VIEW)
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = IndexedViews(dataset=mixed, views=2)
        sampler = DATA_SAMPLERS.build(dict(type='mmirstd.WeightedSetsSampler', weights=[1, 1], dataset=dataset, seed=0))
    drawn = list(islice(iter(sampler), 400))
    assert set(drawn) == set(range(10))
    assert sum(i % 5 < 2 for i in drawn) == pytest.approx(200, abs=40)


@pytest.mark.parametrize('weights', [[1.0], [1.0, 0.0], [1.0, float('nan')]])
def test_wrong_weights(folder, weights):
    with pytest.raises(ValueError, match='must be 2 positive numbers'):
        WeightedSetsSampler(sets(folder, (4, 1)), weights)
    with pytest.raises(ValueError, match='there is no ConcatDataset in FolderDataset'):
        WeightedSetsSampler(sets(folder, (4, 1)).datasets[0], weights)


def test_images_alone_are_read_of_any_set(tmp_path, folder):
    for i in ('Misc_1', 'Misc_111'):
        write(tmp_path / f'nuaa/images/{i}.png')
    (tmp_path / 'ids.txt').write_text('Misc_1\nMisc_111\n')
    dataset = NUAASIRSTDataset(data_root=tmp_path / 'nuaa', ann_file=str(tmp_path / 'ids.txt'), use_masks=False)
    assert dataset.img_ids == ['Misc_1', 'Misc_111']
    assert [dataset.get_data_info(i)['seg_map_path'] for i in range(2)] == [None, None]
    assert dataset.check()['num'] == 2
    assert dataset.images_with_targets is None  # no guard against sets without targets
    with pytest.raises(FileNotFoundError, match='does not hold the folders'):
        NUAASIRSTDataset(data_root=tmp_path / 'nuaa', ann_file=str(tmp_path / 'ids.txt'))
