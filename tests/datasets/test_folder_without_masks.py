"""A folder of images without masks: tested, drawn and saved, but not evaluated."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from mmengine.registry import DefaultScope
from small_sets import make

from mmirstd.apis import init_model, predict
from mmirstd.datasets import FolderDataset
from mmirstd.evaluation.analysis.predictions import read_prediction
from mmirstd.evaluation.metrics import IRSTDMetric
from mmirstd.visualization import draw_detections

PIPELINE = [{'type': f'mmirstd.{t}'} for t in ('LoadIRImage', 'LoadTargetMask', 'PackIRSTDInputs')]


def test_samples_have_no_ground_truth(tmp_path):
    make(tmp_path, ['a.png', 'b.bmp'], masks=[])
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = FolderDataset(data_root=tmp_path, mask_dir=None, pipeline=PIPELINE, test_mode=True)
    assert dataset.img_ids == ['a', 'b']
    assert dataset.metainfo['has_masks'] is False
    assert dataset.split_info['num'] == 2
    assert dataset.check() == {'num': 2, 'min_size': (12, 10), 'max_size': (12, 10), 'modes': {'L': 2}}
    sample = dataset[0]['data_samples']
    assert 'gt_sem_seg' not in sample
    assert (sample.img_id, sample.ori_shape, sample.seg_map_path) == ('a', (10, 12), None)


def test_masks_beside_are_left_alone(tmp_path):
    make(tmp_path, ['a.png'], masks=['a.png', 'left_over.png'])
    assert FolderDataset(data_root=tmp_path, mask_dir=None, test_mode=True).img_ids == ['a']
    flat = FolderDataset(data_root=tmp_path / 'images', img_dir='', mask_dir=None, test_mode=True)
    assert flat.img_ids == ['a']


@pytest.mark.parametrize(
    ('folders', 'masks'),
    [
        ({'img_dir': 'all', 'mask_dir': 'all', 'mask_suffix': '_mask'}, '{}_mask.png'),
        ({'img_dir': 'images', 'mask_dir': 'images/masks'}, '{}.png'),
        ({'img_dir': ''}, '{}.png'),
    ],
)
def test_masks_that_are_not_used_are_no_images(tmp_path, folders, masks):
    names = ['a.png', 'b.png', 'c.png']
    places = {'img_dir': folders['img_dir'], 'mask_dir': folders.get('mask_dir', 'masks')}
    make(tmp_path, names, [masks.format(name[0]) for name in names], **places)
    for use_masks in (True, False):
        dataset = FolderDataset(data_root=tmp_path, use_masks=use_masks, test_mode=True, **folders)
        assert dataset.img_ids == ['a', 'b', 'c']
    for path in (tmp_path / places['mask_dir']).glob(masks.format('*')):
        if path.name not in names or places['mask_dir'] != places['img_dir']:
            path.unlink()
    assert FolderDataset(data_root=tmp_path, use_masks=False, **folders).img_ids == ['a', 'b', 'c']


def test_one_folder_without_a_suffix_of_masks(tmp_path):
    make(tmp_path, ['a_image.png'], [])
    folders = {'img_dir': 'images', 'mask_dir': 'images', 'img_suffix': '_image'}
    assert FolderDataset(data_root=tmp_path, use_masks=False, **folders).img_ids == ['a']


def test_bad_images_are_found_nevertheless(tmp_path):
    make(tmp_path, ['a.png', 'b.png'], masks=[])
    (tmp_path / 'images/b.png').write_bytes(b'')
    arguments = dict(data_root=tmp_path, mask_dir=None, test_mode=True)
    with pytest.raises(ValueError, match=r'b\.png'):
        FolderDataset(**arguments).check()
    skipping = FolderDataset(**arguments, on_bad='skip')
    assert skipping.img_ids == ['a']
    assert skipping.skipped == {'unreadable image': ['b']}


def test_mistakes(tmp_path):
    make(tmp_path, ['a.png'], masks=[])
    with pytest.raises(ValueError, match='training needs masks; mask_dir=None goes with test_mode=True'):
        FolderDataset(data_root=tmp_path, mask_dir=None)
    with pytest.raises(FileNotFoundError, match='does not hold the folders images and masks'):
        FolderDataset(data_root=tmp_path, test_mode=True)
    with pytest.raises(FileNotFoundError, match='does not hold the folders pictures; give img_dir'):
        FolderDataset(data_root=tmp_path, img_dir='pictures', mask_dir=None, test_mode=True)
    with_masks = make(tmp_path / 'other', ['b.png'])
    parts = [
        FolderDataset(data_root=tmp_path, mask_dir=None, test_mode=True),
        FolderDataset(data_root=with_masks, test_mode=True),
    ]
    with pytest.raises(ValueError, match='meta information'):  # half of an evaluation would look like a whole one
        ConcatDataset(parts)


def test_the_metric_says_that_it_evaluates_nothing(capsys):
    metric = IRSTDMetric()
    metric.dataset_meta = {'has_masks': False}
    metric.process(None, [{'img_path': 'a.png'}])
    assert metric.evaluate(1) == {}
    metric = IRSTDMetric()
    metric.dataset_meta = {}
    with pytest.raises(KeyError, match=r'a\.png: no gt_sem_seg to evaluate'):
        metric.process(None, [{'img_path': 'a.png'}])


def test_a_test_draws_and_saves(call, tiny_config, tiny_checkpoint, tiny_data, capfd):
    shutil.rmtree(tiny_data / 'masks')
    config = tiny_config()
    options = ['--cfg-options', 'test_dataloader.dataset.mask_dir=None']
    places = ['--show-dir', 'pictures', '--out', 'out', '--out-format', 'npz', '--work-dir', 'test']
    assert call('test', config, tiny_checkpoint, *places, *options) is None
    assert '5 images without masks: nothing is evaluated' in capfd.readouterr().out
    expected = predict(init_model(config, tiny_checkpoint, 'cpu'), tiny_data / 'images')
    assert sum(map(len, expected)) > 0
    for found in expected:
        np.testing.assert_array_equal(read_prediction(Path(f'out/{found.name}.npz')), found.probability)
        image = cv2.imread(str(tiny_data / f'images/{found.name}.png'))
        picture = cv2.imread(f'pictures/{found.name}.png')[..., ::-1]
        np.testing.assert_array_equal(picture, draw_detections(image, pred=found.mask, name=found.name))
