"""Browsing for real, on a tiny dataset."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmirstd.apis import browsing
from mmirstd.apis.browsing import load, picture_files
from mmirstd.apis.tracing import find_datasets, load_datasets, trace
from mmirstd.io.files import write_png
from mmirstd.ops.target_statistics import target_statistics


@pytest.fixture
def browse(call, own_mmengine_state):
    return lambda *arguments: call('browse', *arguments, '--workers', '0', '--panel-size', '128')


AUGMENTED = """
load = [dict(type='mmirstd.LoadIRImage'), dict(type='mmirstd.LoadTargetMask')]
train_dataloader['dataset'] = dict(type='MultiImageMixDataset', dataset=dict(dataset, pipeline=load), pipeline=[
    dict(type='mmirstd.CopyPasteTargets', prob=1.0),
    dict(type='mmirstd.TargetAwareCrop', crop_size=24),
    dict(type='mmirstd.InfraredPhotometric', prob=1.0),
    dict(type='mmirstd.PackIRSTDInputs'),
])
"""


def pictures(folder):
    return {p.name: np.array(Image.open(p)) for p in sorted(Path(folder).glob('*.png'))}


def test_pictures_depend_on_the_seed_alone(browse, tiny_config):
    config = tiny_config(AUGMENTED)
    assert browse(config) is None
    first = pictures('work_dirs/tiny/browse_train')
    assert len(first) == 4
    assert set(first) < {f'{i}.png' for i in range(5)}
    # Alone or together with others, a sample comes out the same.
    assert browse(config, '--ids', '3', '1', '--out-dir', 'again') is None
    again = pictures('again')
    assert list(again) == ['1.png', '3.png']
    both = set(again) & set(first)
    assert both
    assert all(np.array_equal(again[name], first[name]) for name in both)
    assert browse(config, '--ids', '3', '--seed', '1', '--out-dir', 'other') is None
    assert not np.array_equal(pictures('other')['3.png'], again['3.png'])


def test_samples_of_like_names_have_pictures_of_their_own(tmp_path):
    for name in ('41/1', '41_1'):
        write_png(tmp_path / f'images/{name}.png', np.zeros((32, 32), np.uint8))
        write_png(tmp_path / f'masks/{name}.png', np.zeros((32, 32), np.uint8))
    dataset = dict(type='mmirstd.FolderDataset', data_root=str(tmp_path), pipeline=[])
    (part,) = load_datasets(Config({'train_dataloader': {'dataset': dataset}}), 'train')
    files = [name for name, _ in picture_files([(part, 0), (part, 1)], 1, [part])]
    assert len(set(files)) == 2


def test_several_in_a_picture(browse, tiny_config):
    assert browse(tiny_config(AUGMENTED), '--num', '3', '--per-picture', '2', '--out-dir', 'out') is None
    shapes = {name: p.shape for name, p in pictures('out').items()}
    assert sorted('_to_' in name for name in shapes) == [False, True]
    (pair,), (single,) = ([s for n, s in shapes.items() if ('_to_' in n) == wanted] for wanted in (True, False))
    assert pair[1] > 1.8 * single[1]


def test_the_pipeline_is_put_back_and_its_stages_are_named(tiny_config, own_mmengine_state):
    from mmengine.config import Config

    (part,) = load_datasets(Config.fromfile(tiny_config(AUGMENTED)), 'train')
    pipeline = part.dataset.pipeline
    stages = trace(part, 2, (0, 1))
    assert part.dataset.pipeline is pipeline
    names = [
        'LoadIRImage',
        'LoadTargetMask',
        'CopyPasteTargets',
        'TargetAwareCrop',
        'InfraredPhotometric',
        'PackIRSTDInputs',
    ]
    assert [s.title.split('(')[0] for s in stages] == names
    assert stages[0].mask is None
    np.testing.assert_array_equal(
        stages[0].image[..., 0], np.array(Image.open(Path(part.dataset.data_root) / 'images/2.png'))
    )
    assert stages[3].image.shape == (24, 24, 3)
    assert stages[4].note.startswith('photometric blur=')
    np.testing.assert_array_equal(stages[5].image, stages[4].image)
    np.testing.assert_array_equal(stages[5].mask, stages[4].mask)


def test_statistics_are_those_of_the_files(browse, tiny_config, tiny_data, capfd):
    config = tiny_config(AUGMENTED)  # what is measured is not augmented
    assert browse(config, '--stats', '--num', '0', '--out-dir', 'out', '--surroundings', '6') is None
    out = capfd.readouterr().out
    assert 'tiny all: 5 images, 5 targets; images with 0 / 1 / 2 / more targets: 0 / 5 / 0 / 0' in out
    row = next(line for line in out.splitlines() if 'target area' in line)
    assert [cell.strip() for cell in row.strip('|').split('|')] == ['target area', *['9'] * 7]
    assert sorted(p.name for p in Path('out').iterdir()) == [
        'images.csv',
        'statistics.json',
        'statistics.png',
        'targets.csv',
    ]
    with open('out/targets.csv', newline='') as file:
        rows = {row['id']: row for row in csv.DictReader(file)}
    for i in range(5):
        image, mask = (
            cv2.imread(str(tiny_data / f'{kind}/{i}.png'), cv2.IMREAD_UNCHANGED) for kind in ('images', 'masks')
        )
        expected = target_statistics(image, (mask > 0).astype(np.uint8), width=6)
        assert float(rows[str(i)]['scr']) == pytest.approx(expected.scr[0], rel=1e-5)
        assert float(rows[str(i)]['contrast']) == pytest.approx(expected.contrast[0], rel=1e-5)
        assert int(rows[str(i)]['top']) == expected.boxes[0, 0]
    with open('out/images.csv', newline='') as file:
        means = [float(row['mean']) for row in csv.DictReader(file)]
    summary = json.loads(Path('out/statistics.json').read_text())['tiny all']
    assert summary['quantiles']['mean level']['0.5'] == pytest.approx(sorted(means)[2], rel=1e-5)
    assert summary['empty'] == 0
    assert summary['surroundings'] == 6
    assert pictures('out')['statistics.png'].shape[2] == 3


def test_empty_masks_and_flat_images_have_no_value(browse, tiny_config, tiny_data, capfd):
    for i in range(5):
        Image.fromarray(np.full((32, 32), 50, np.uint8)).save(tiny_data / f'images/{i}.png')
        mask = np.zeros((32, 32), np.uint8)
        mask[4, 5] = 255 * (i == 0)
        Image.fromarray(mask).save(tiny_data / f'masks/{i}.png')
    assert browse(tiny_config(), '--stats', '--num', '1', '--split', 'val', '--out-dir', 'out') is None
    assert '0 / 1 / 2 / more targets: 4 / 1 / 0 / 0' in capfd.readouterr().out
    summary = json.loads(Path('out/statistics.json').read_text())['tiny all']
    assert summary['empty'] == 4
    assert summary['quantiles']['SCR']['0.5'] is None
    assert summary['quantiles']['clutter']['0.5'] == 0


def test_infinite_ratios_are_kept(browse, tiny_config, tiny_data, capfd):
    for i in range(5):
        image = np.full((32, 32), 50, np.uint8)
        mask = np.zeros((32, 32), np.uint8)
        image[4, 5] = mask[4, 5] = 255
        Image.fromarray(image).save(tiny_data / f'images/{i}.png')
        Image.fromarray(mask).save(tiny_data / f'masks/{i}.png')
    assert browse(tiny_config(), '--stats', '--num', '0', '--out-dir', 'out') is None
    row = next(line for line in capfd.readouterr().out.splitlines() if 'SCR' in line)
    assert {cell.strip() for cell in row.strip('|').split('|')} == {'SCR', 'inf'}
    assert json.loads(Path('out/statistics.json').read_text())['tiny all']['quantiles']['SCR']['1'] == 'inf'


CONCATENATED = """
train_dataloader['dataset'] = dict(
    type='RepeatDataset', times=3,
    dataset=dict(
        type='ConcatDataset',
        datasets=[
            dataset,
            dict(type='mmirstd.SyntheticIRSTDDataset', length=3, size=(40, 48), pipeline=[
                dict(type='mmirstd.LoadIRImage'), dict(type='mmirstd.LoadTargetMask'), dict(type='PackSegInputs')]),
        ],
    ),
)
"""


def test_concatenated_and_synthetic(browse, tiny_config, capfd):
    config = tiny_config(CONCATENATED)
    assert browse(config, '--stats', '--num', '8', '--per-picture', '4', '--out-dir', 'out') is None
    out = capfd.readouterr().out
    assert out.index('tiny all: 5 images') < out.index('Synthetic train: 3 images') < out.index('all: 8 images')
    # A picture holds samples of one pipeline.
    names = [n for n in pictures('out') if n != 'statistics.png']
    assert names == ['0_0_to_3.png', '0_4.png', '1_000001_to_000003.png']
    assert browse(config, '--ids', '000002', '--out-dir', 'one') is None
    assert list(pictures('one')) == ['1_000002.png']


def test_a_workers_error_names_its_file(browse, tiny_config, tiny_data, monkeypatch):
    path = tiny_data / 'images/3.png'
    path.write_bytes(path.read_bytes()[:60])
    monkeypatch.setattr(
        browsing, 'measure_samples', lambda parts, width, workers, f=browsing.measure_samples: f(parts, width, 2)
    )
    error = browse(tiny_config(), '--stats', '--num', '0', '--out-dir', 'out')
    assert error.startswith('error: ')
    assert str(path) in error
    assert '\n' not in error
    assert not Path('out').exists()


def test_nothing_is_overwritten(browse, tiny_config):
    config = tiny_config()
    assert browse(config, '--ids', '2', '--out-dir', 'out') is None
    before = Path('out/2.png').stat().st_mtime_ns
    error = browse(config, '--out-dir', 'out', '--ids', '1', '2')
    assert error.startswith('error: out/2.png exists: choose another place, or allow replacing with --overwrite')
    assert not Path('out/1.png').exists()
    assert Path('out/2.png').stat().st_mtime_ns == before
    assert browse(config, '--out-dir', 'out', '--ids', '1', '2', '--overwrite') is None
    assert Path('out/2.png').stat().st_mtime_ns > before
    assert browse(config, '--out-dir', 'out', '--ids', '0', '--stats') is None
    error = browse(config, '--out-dir', 'out', '--num', '0', '--stats')
    assert 'out/images.csv, out/targets.csv, out/statistics.json, out/statistics.png exist' in error


def test_data_root(browse, tiny_config, tiny_data, tmp_path):
    config = tiny_config()
    shutil.move(tiny_data, tmp_path / 'elsewhere')
    assert f'error: there is no folder {tiny_data}' in browse(config)
    assert browse(config, '--data-root', 'elsewhere', '--num', '1') is None


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        (('nope.py',), 'error: there is no config file nope.py, and no shipped config of that name'),
        (('{}', '--cfg-options', 'whatever=1'), 'error: --cfg-options whatever: configs have no whatever'),
        (
            ('{}', '--cfg-options', 'test_dataloader=None', '--split', 'test'),
            'error: the config has no test_dataloader',
        ),
    ],
)
def test_mistakes_get_one_line(browse, tiny_config, arguments, line, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert browse(*(a.format(tiny_config()) for a in arguments)).startswith(line)
    assert not Path('work_dirs').exists()


def test_unknown_samples(browse, tiny_config, capfd):
    for name, advice in (('33', '; did you mean 3?'), ('zzz', '')):
        assert browse(tiny_config(), '--ids', name) == 2
        assert capfd.readouterr().err.endswith(f'error: --ids {name}: no such sample in tiny all{advice}\n')


@pytest.mark.parametrize('option', [('--num', '-1'), ('--per-picture', '0'), ('--surroundings', '0'), ('--seed', '-2')])
def test_numbers_out_of_range(browse, tiny_config, option, capfd):
    assert browse(tiny_config(), *option) == 2
    assert f'{option[0]} must be at least' in capfd.readouterr().err


def test_datasets_that_cannot_be_looked_into():
    with pytest.raises(TypeError, match='list: neither a dataset nor a known wrapper'):
        list(find_datasets([]))


def test_pipelines_without_masks_or_samples(tiny_config, own_mmengine_state):
    from mmengine.config import Config

    cfg = Config.fromfile(tiny_config('pipeline[1:] = []'))
    (part,) = load_datasets(cfg, 'train')
    with pytest.raises(ValueError, match='the pipeline of FolderDataset loads no img with gt_seg_map'):
        load(part.dataset, 0)
    part.dataset.pipeline.transforms.append(lambda data: None)
    stages = trace(part, 0, (0,))
    assert stages[-1].image is None
    assert stages[-1].note.startswith('gave no sample')
