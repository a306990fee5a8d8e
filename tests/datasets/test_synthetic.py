"""Synthetic scenes: what is in them, that they repeat, and the dataset and tools around them."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import ConcatDataset
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS

from mmirstd.datasets import FolderDataset, SyntheticIRSTDDataset
from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask
from mmirstd.io.names import sample_names
from mmirstd.synthesis.config import SceneConfig
from mmirstd.synthesis.scenes import PARTS, render_scene, scene_generator

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {
    'noise_sigma': (0, 0),
    'stripe_prob': 0,
    'dead_pixels': 0,
    'sharpen_prob': 0,
    'jpeg_prob': 0,
    'clutter': 0,
    'vignetting_prob': 0,
    'glow_prob': 0,
}


def scene(index=0, size=(64, 64), part='train', seed=0, **cfg):
    return render_scene(scene_generator(seed, part, index), size, SceneConfig(**cfg))


LOAD = [{'type': 'mmirstd.LoadIRImage'}, {'type': 'mmirstd.LoadTargetMask'}]


def dataset(length=6, size=(64, 80), **kwargs):
    kwargs.setdefault('pipeline', [*LOAD, {'type': 'PackSegInputs', 'meta_keys': ('img_id',)}])
    with_scope = dict(type='mmirstd.SyntheticIRSTDDataset', length=length, size=size, **kwargs)
    init_default_scope('mmseg')
    return DATASETS.build(with_scope)


def test_sets_side_by_side_have_paths_of_their_own():
    """Hooks that write files name them by path."""
    frames = [dict(type='mmirstd.SyntheticSequenceDataset', length=2, frames=n, size=(64, 80)) for n in (1, 2)]
    parts = [dataset(2), dataset(2, seed=1), dataset(2, size=(64, 64)), dataset(2, scene={'target_counts': (1, 1)})]
    both = ConcatDataset([*parts, *map(DATASETS.build, frames)])
    names = sample_names(both)
    assert len(names) == len(set(names.values())) == 12
    assert list(sample_names(parts[1]).values()) == ['000001', '000002']
    same = ConcatDataset([dataset(2), dataset(3)])  # scenes do not depend on the length
    assert len(sample_names(same)) == 3


def test_dataset():
    data = dataset(scene={'target_counts': (0, 1)}, part='val', test_mode=True)
    assert len(data) == 6
    info = data.get_data_info(2)
    assert info['img_id'] == '000003'
    assert re.fullmatch(r'synthetic/val/[0-9a-f]{8}/000003\.png', info['img_path'])
    assert info['mask_resize'] is False
    assert (info['label_map'], info['reduce_zero_label'], info['seg_fields']) == (None, False, [])
    assert info['scene_seed'] == (0, 'val', 2)
    sample = data[2]
    image, mask, _ = scene(2, (64, 80), part='val', target_counts=(0, 1))
    assert sample['inputs'].shape == (3, 64, 80)
    assert (sample['inputs'].numpy() == image).all()
    assert (sample['data_samples'].gt_sem_seg.data.numpy() == mask).all()
    split = data.split_info
    assert (split['dataset'], split['name'], split['num']) == ('Synthetic', 'val', 6)
    assert data.metainfo['classes'] == ('background', 'target')
    assert data.check() == {'num': 6, 'min_size': (80, 64), 'max_size': (80, 64), 'modes': {'L': 6}}


def test_hash_of_the_split_is_that_of_the_parameters():
    def sha256(**kwargs):
        return dataset(**kwargs).split_info['sha256']

    same = sha256()
    assert same == sha256(scene={}, pipeline=[])
    changed = [{'seed': 1}, {'part': 'test'}, {'length': 7}, {'size': (64, 64)}, {'scene': {'clutter': 2}}]
    assert len({same, *(sha256(**c) for c in changed)}) == 1 + len(changed)
    assert len(dataset(indices=3)) == 3


def test_length_does_not_change_a_sample():
    a, b = (dataset(length=n)[4]['inputs'] for n in (5, 50))
    assert torch.equal(a, b)


def test_a_pipeline_of_files_takes_scenes():
    results = dataset(pipeline=[{'type': 'mmirstd.LoadIRImage', 'channels': 1}, LOAD[1]])[0]
    assert results['img'].shape == (64, 80, 1)
    assert results['img_shape'] == results['ori_shape'] == results['gt_seg_map'].shape == (64, 80)
    assert results['seg_fields'] == ['gt_seg_map']
    assert results['seg_map_path'] is None


def test_targets_of_other_scenes_are_pasted():
    inner = dict(type='mmirstd.SyntheticIRSTDDataset', length=6, size=(64, 80), pipeline=LOAD)
    paste = [{'type': 'mmirstd.CopyPasteTargets', 'prob': 1, 'other_prob': 1}]
    init_default_scope('mmseg')
    pasted = MMENGINE_DATASETS.build(dict(type='MultiImageMixDataset', dataset=inner, pipeline=paste))
    np.random.seed(0)  # noqa: NPY002 - transforms draw from the global generator
    assert any(pasted[i]['gt_seg_map'].sum() > scene(i, (64, 80))[1].sum() for i in range(6))


@pytest.mark.parametrize(
    ('kwargs', 'error', 'match'),
    [
        ({'length': 0}, ValueError, 'length'),
        ({'size': (16, 64)}, ValueError, 'size'),
        ({'part': 'all'}, ValueError, 'part'),
        ({'seed': -1}, ValueError, 'seed'),
        ({'scene': {'cloud': 1}}, TypeError, 'cloud'),
        ({'data_root': 'data'}, TypeError, 'data_root'),
        ({'reduce_zero_label': True}, ValueError, 'reduce_zero_label'),
    ],
)
def test_dataset_refuses(kwargs, error, match):
    with pytest.raises(error, match=match):
        SyntheticIRSTDDataset(**{'length': 4, 'pipeline': []} | kwargs)


@pytest.mark.parametrize(('workers', 'context'), [(3, 'fork'), pytest.param(2, 'spawn', marks=pytest.mark.exhaustive)])
def test_workers_make_the_same_samples(workers, context):
    init_default_scope('mmseg')
    config = {
        'batch_size': 2,
        'num_workers': workers,
        'multiprocessing_context': context,
        'sampler': {'type': 'DefaultSampler', 'shuffle': True},
        'dataset': {
            'type': 'mmirstd.SyntheticIRSTDDataset',
            'length': 8,
            'size': (48, 48),
            'pipeline': [*LOAD, {'type': 'PackSegInputs', 'meta_keys': ('img_id',)}],
        },
    }
    seen = set()
    for batch in Runner.build_dataloader(config, seed=3):
        for inputs, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
            image, mask, _ = scene(int(sample.img_id) - 1, (48, 48))
            assert (inputs.numpy() == image).all()
            assert (sample.gt_sem_seg.data.numpy() == mask).all()
            seen.add(sample.img_id)
    assert len(seen) == 8


def test_config():
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/synthetic.py')
    init_default_scope('mmseg')
    for part in PARTS:
        config = cfg[f'{part}_dataloader'].dataset
        data = MMENGINE_DATASETS.build(config.dataset if part == 'train' else config)
        assert (data.part, data.test_mode) == (part, part != 'train')
        shape = data[0]['img'].shape[:2] if part == 'train' else data[0]['inputs'].shape[1:]
        assert shape == (256, 256)
    assert cfg.train_dataloader.sampler.type == 'InfiniteSampler'
    assert cfg.val_evaluator == cfg.test_evaluator == {'type': 'mmirstd.IRSTDMetric'}


def load_tool(name):
    path = ROOT / 'tools' / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make(call):
    """Write a few scenes; returns the line that the command exits with, or None."""
    base = ('--train', '3', '--val', '0', '--test', '2', '--size', '48', '40', '--workers', '1')
    return lambda out, *arguments: call('synthesize', out, *base, *arguments)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob('*')) if p.is_file()}


def test_make_synthetic(make, tmp_path, capsys):
    out = tmp_path / 'out'
    make(out, '--seed', '4', '--scene', 'target_counts=(0,1)', 'clutter=0')
    assert (out / 'train.txt').read_text() == '000001\n000002\n000003\n'
    assert (out / 'val.txt').read_text() == ''
    assert json.loads((out / 'scenes.json').read_text())['scene']['clutter'] == 0
    data = FolderDataset(
        data_root=str(out), ann_file='test.txt', pipeline=[LoadIRImage(channels=1), LoadTargetMask()], test_mode=True
    )
    assert [data.get_data_info(i)['img_id'] for i in range(2)] == ['000004', '000005']
    for i in range(2):
        image, mask, _ = scene(i, (48, 40), part='test', seed=4, target_counts=(0, 1), clutter=0)
        assert (data[i]['img'][..., 0] == image).all()
        assert (data[i]['gt_seg_map'] == mask).all()
    assert not list(tmp_path.glob('*.unfinished'))

    before = contents(out)
    assert make(out).endswith('out exists: choose another place, or allow replacing with --overwrite (overwrite=True)')
    assert contents(out) == before
    assert make(out, '--overwrite') is None
    assert contents(out) != before
    assert [p.name for p in tmp_path.iterdir()] == ['out']


def test_make_synthetic_goes_on_after_an_interruption(make, tmp_path, capsys):
    whole, out = tmp_path / 'whole', tmp_path / 'out'
    make(whole)
    work = tmp_path / 'out.unfinished'
    make(work)  # what an interrupted run leaves: no lists, some scenes missing, one half written
    for name in ('train.txt', 'val.txt', 'test.txt', 'masks/000002.png', 'images/000003.png', 'masks/000003.png'):
        (work / name).unlink()
    (work / 'images/.000003.png.99.tmp').write_bytes(b'half')
    stamp = (work / 'images/000001.png').stat().st_mtime_ns
    assert 'other parameters' in make(out, '--seed', '1')
    assert make(out) is None
    assert '3 of 5' in capsys.readouterr().out
    assert contents(out) == contents(whole)
    assert (out / 'images/000001.png').stat().st_mtime_ns == stamp


def test_make_synthetic_refuses(make, tmp_path, capsys):
    (tmp_path / 'mine').mkdir()
    assert 'mine exists, and its content was not written by mmirstd synthesize' in make('mine', '--overwrite')
    for arguments, message in (
        (('a', '--scene', 'cloud=1'), 'there is no cloud; there are '),
        (('a', '--size', '8', '8'), '--size'),
        (('a', '--train', '-1'), '>= 0'),
        (('a', '--workers', '0'), '--workers'),
    ):
        assert make(*arguments) == 2
        assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ['mine']


def test_make_synthetic_with_processes(make, tmp_path):
    assert make('one') is None
    assert make('two', '--workers', '2') is None
    assert contents(tmp_path / 'one') == contents(tmp_path / 'two')


def test_statistics_of_the_plot_agree_with_the_scene():
    tool = load_tool('figures/plot_synthetic.py')
    pairs = []
    for index in range(20):
        image, mask, info = scene(index, (96, 96), target_counts=(0, 1), **CLEAN)
        pairs.append((image, mask))
        ((area, contrast, ratio),) = tool.target_statistics(image, mask)
        (target,) = info['targets']
        assert area == target.area
        if image[mask > 0].max() < 255:
            assert contrast == pytest.approx(target.contrast, abs=1 + 0.1 * target.contrast)
            assert ratio == pytest.approx(target.scr, rel=0.35)
    assert 0 < tool.top_hat_iou(pairs) < 1
    perfect = np.zeros((32, 32), np.uint8)
    perfect[10:13, 10:13] = 1
    assert tool.top_hat_iou([(perfect * np.uint8(200), perfect)]) == 1
    assert tool.table_row('x', pairs).startswith('| x | 20 |')


def test_plot(real_data, tmp_path, monkeypatch, capsys):
    tool = load_tool('figures/plot_synthetic.py')
    out = tmp_path / 'pictures/plot.png'
    monkeypatch.setattr(sys, 'argv', ['plot', '--data-root', str(real_data), '--out', str(out), '--num', '8'])
    tool.main()
    assert min(cv2.imread(str(out)).shape[:2]) > 400
    assert capsys.readouterr().out.count('\n| ') == 5
