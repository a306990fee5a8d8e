"""Sets whose masks, or images, hold something else than is expected."""

import cv2
import numpy as np
import pytest
from small_sets import make

from mmirstd.datasets import FolderDataset, SyntheticIRSTDDataset
from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask, PackIRSTDInputs
from mmirstd.engine import StrictRunner
from mmirstd.evaluation.metrics import IRSTDMetric
from mmirstd.io.mask_content import MaskSetError
from mmirstd.io.masks import MaskRule

LOAD = [LoadIRImage(), LoadTargetMask()]


@pytest.fixture
def three(tmp_path):
    return make(tmp_path, ['a.png', 'b.png', 'c.png'])


def coded(root, name, *values):
    """A mask whose first pixels have these values."""
    mask = np.zeros((10, 12), np.uint8)
    mask.flat[: len(values)] = values
    cv2.imwrite(str(root / 'masks' / name), mask)


def labels(root, index=0, **options):
    dataset = FolderDataset(data_root=root, pipeline=LOAD, **options)
    dataset.check()
    return dataset[index]['gt_seg_map'].ravel()[:4].tolist()


def test_masks_of_0_1_and_255(three):
    coded(three, 'a.png', 1, 1, 255)
    with pytest.raises(MaskSetError, match=r'all: masks hold 1 \(2 pixels\) and 255 .*a\.png\).*ignore_value=255'):
        FolderDataset(data_root=three).check()
    assert labels(three, ignore_value=255) == [1, 1, 255, 0]
    assert labels(three, target_value=255) == [0, 0, 1, 0]
    assert labels(three, target_value=[1, 255]) == [1, 1, 1, 0]


def test_the_threshold_of_the_pipeline_counts_in_the_check(three):
    coded(three, 'a.png', 100)
    with pytest.raises(MaskSetError, match=r'1 of 3 masks have values \(100\), none above the threshold of 127'):
        FolderDataset(data_root=three, pipeline=LOAD).check()
    dataset = FolderDataset(data_root=three, pipeline=[LoadIRImage(), LoadTargetMask(threshold=50)])
    dataset.check()
    assert (dataset.images_with_targets, dataset[0]['gt_seg_map'].sum()) == (3, 1)
    assert dataset[0]['mask_rule'] == MaskRule(50)


def test_presets_read_the_mask_file_by_the_same_rule(three):
    """A preset reads the file again: with the rule of the dataset, not with the default one."""
    from mmengine.structures import PixelData
    from torch import tensor

    coded(three, 'a.png', 1, 1, 255)
    dataset = FolderDataset(data_root=three, pipeline=[*LOAD, PackIRSTDInputs()], ignore_value=255)
    sample = dataset[0]['data_samples']
    probability = np.zeros((10, 12), np.float32)
    probability.flat[1:4] = 0.9  # a target, an ignored and a background pixel
    sample.seg_logits = PixelData(data=tensor(probability)[None])
    sample.pred_sem_seg = PixelData(data=tensor(probability > 0.5)[None].long())
    metric = IRSTDMetric(presets=['exact', 'basicirstd'])
    metric.process(None, [sample.to_dict()])
    exact, preset = metric.results[0]
    assert (exact.inter, exact.union, exact.fp) == (preset.inter, preset.union, preset.fp) == (1, 3, 1)


def test_images_without_masks_are_background(three):
    (three / 'masks/b.png').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 3 ids have no mask'):
        FolderDataset(data_root=three)
    assert FolderDataset(data_root=three, on_bad='skip').img_ids == ['a', 'c']
    dataset = FolderDataset(data_root=three, missing_mask='empty', on_bad='skip', pipeline=LOAD)
    assert dataset.check()['num'] == 3
    assert [int(dataset[i]['gt_seg_map'].sum()) for i in range(3)] == [4, 0, 4]
    with pytest.raises(ValueError, match="missing_mask must be 'error' or 'empty', got 'none'"):
        FolderDataset(data_root=three, missing_mask='none')


def test_a_folder_of_background_alone(tmp_path, three, log):
    make(tmp_path / 'sky', ['d.png'], [])
    with pytest.raises(ValueError, match="missing_mask='empty'"):
        FolderDataset(data_root=tmp_path / 'sky', mask_dir=None)
    sky = dict(type=FolderDataset, data_root=tmp_path / 'sky', mask_dir=None, missing_mask='empty', pipeline=LOAD)
    with pytest.raises(MaskSetError, match='sky all: no image to train on has a target'):
        loader(sky)
    both = dict(type='ConcatDataset', datasets=[sky, dict(type=FolderDataset, data_root=three, pipeline=LOAD)])
    dataset = loader(both).dataset
    assert [int(dataset[i]['gt_seg_map'].sum()) for i in range(4)] == [0, 4, 4, 4]


def loader(dataset):
    return StrictRunner.build_dataloader(
        dict(dataset=dataset, batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False))
    )


def test_a_training_split_of_empty_masks_is_refused(three, log):
    for name in 'abc':
        coded(three, f'{name}.png')
    dataset = dict(type=FolderDataset, data_root=three, pipeline=LOAD)
    with pytest.raises(MaskSetError, match='no image to train on has a target'):
        loader(dataset)
    loader(dataset | {'test_mode': True})
    assert sum('no target in any of 3 images' in line for line in log) == 2


def floats(path, value):
    image = np.random.default_rng(0).random((10, 12), np.float32)
    image[0, 0] = value
    path.unlink()
    cv2.imwrite(str(path.with_suffix('.tif')), image)


def one_color(path, value):
    image = np.zeros((10, 12, 3), np.uint8)
    image[..., value] = np.arange(12)
    cv2.imwrite(str(path), image)


@pytest.mark.parametrize(
    ('spoil', 'value', 'reason', 'message'),
    [
        (floats, np.nan, 'unclear image', r'b\.tif: 1 of 120 values are NaN or infinite'),
        (floats, np.inf, 'unclear image', r'b\.tif: 1 of 120 values are NaN or infinite'),
        (one_color, 2, 'empty channel', r'b\.png: a channel holds nothing: blue \(all 0\) and green \(all 0\); save'),
    ],
)
def test_images_that_hold_nothing_useful(three, spoil, value, reason, message):
    spoil(three / 'images/b.png', value)
    with pytest.raises(ValueError, match=message):
        FolderDataset(data_root=three).check()
    assert FolderDataset(data_root=three, on_bad='skip').skipped == {reason: ['b']}


def test_a_blank_image_is_said(three, log):
    cv2.imwrite(str(three / 'images/c.png'), np.full((10, 12, 3), 7, np.uint8))
    FolderDataset(data_root=three).check()
    assert any('1 of 3 images hold one value alone' in line and 'c.png' in line for line in log)


@pytest.mark.parametrize(
    ('argument', 'right'),
    [
        (dict(seg_map_suffix='.png'), 'mask_suffix'),
        (dict(data_prefix={}), 'img_dir and mask_dir'),
        (dict(filter_cfg={}), 'ann_file'),
        (dict(ignore_index=0), 'ignore_value'),
    ],
)
def test_arguments_that_would_be_ignored(three, argument, right):
    (name,) = argument
    with pytest.raises(TypeError, match=f'FolderDataset takes .*{right}.*, not {name}'):
        FolderDataset(data_root=three, **argument)


def test_arguments_that_scenes_would_ignore():
    for name in ('seg_map_suffix', 'img_suffix', 'backend_args'):
        with pytest.raises(TypeError, match=f'has no files, so no {name}'):
            SyntheticIRSTDDataset(1, **{name: None})
    with pytest.raises(TypeError, match='takes length and scene, not filter_cfg'):
        SyntheticIRSTDDataset(1, filter_cfg={})


def test_real_masks_give_no_warning(real_data, log):
    from mmirstd.datasets import IRSTD1kDataset, NUAASIRSTDataset

    for cls, split in ((IRSTD1kDataset, 'basicirstd/test'), (NUAASIRSTDataset, 'basicirstd/test')):
        dataset = cls(data_root=real_data / cls.NAME, split=split)
        assert dataset.check()['num'] == dataset.images_with_targets
    assert not [line for line in log if 'mask' in line and 'Misc_111' not in line]
