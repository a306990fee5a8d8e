"""Facts about the published files; skipped where they are not at hand."""

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from scipy import ndimage

from mmirstd.datasets import FolderDataset, IRSTD1kDataset, NUAASIRSTDataset, NUDTSIRSTDataset, SIRSTv2Dataset
from mmirstd.datasets.published_splits import load_published
from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask
from mmirstd.io.ids import read_ids
from mmirstd.io.masks import mask_labels
from mmirstd.ops.components import label_components
from mmirstd.registry import DATASETS

# ruff: noqa: NPY002 - the transforms draw from numpy's global generator

LOADING = [LoadIRImage(), LoadTargetMask()]
# images, targets (8-connected), smallest and largest width and height
FACTS = {
    NUAASIRSTDataset: (427, 533, (135, 96), (456, 388)),
    NUDTSIRSTDataset: (1327, 1863, (256, 256), (256, 256)),
    IRSTD1kDataset: (1001, 1492, (512, 512), (512, 512)),
}


@pytest.fixture
def sirst_v2(real_data):
    """Folder of SIRST v2, which is at hand less often."""
    folder = real_data / 'SIRST-v2'
    if not folder.is_dir():
        pytest.skip('no SIRST v2')
    return folder


@pytest.mark.parametrize('cls', FACTS)
def test_headers(cls, real_data):
    num, _, min_size, max_size = FACTS[cls]
    summary = cls(data_root=real_data / cls.NAME).check()
    assert (summary['num'], summary['min_size'], summary['max_size']) == (num, min_size, max_size)


@pytest.mark.parametrize('cls', FACTS)
def test_masks_and_images(cls, real_data):
    dataset = cls(data_root=real_data / cls.NAME, pipeline=LOADING, test_mode=True)
    targets = gray_masks = 0
    for i in range(len(dataset)):
        path = dataset.get_data_info(i)['seg_map_path']
        raw = LoadIRImage(1)({'img_path': path})['img'][..., 0]
        mask = mask_labels(raw, source=path)
        targets += len(label_components(mask == 1))
        if ((raw != 0) & (raw != 255)).any():
            gray_masks += 1
            np.testing.assert_array_equal(mask, raw > 127)
        if i % 5 == 0:
            sample = dataset[i]
            assert sample['img'].dtype == sample['gt_seg_map'].dtype == np.uint8
            assert sample['img'].shape == (*sample['gt_seg_map'].shape, 3)
            assert set(np.unique(sample['gt_seg_map'])) == {0, 1}
    assert targets == FACTS[cls][1]
    assert gray_masks == (85 if cls is IRSTD1kDataset else 0)


@pytest.mark.parametrize(
    ('cls', 'split', 'num', 'sha256'),
    [
        (NUDTSIRSTDataset, 'basicirstd/train', 663, 'b6c9aef94665'),
        (NUDTSIRSTDataset, 'dnanet/test', 664, None),
        (NUDTSIRSTDataset, 'basicirstd/val', 66, None),
        (NUDTSIRSTDataset, 'basicirstd/subtrain', 597, None),
        (NUDTSIRSTDataset, 'irsam/train', 1061, None),
        (NUDTSIRSTDataset, 'irsam/test', 266, None),
        (NUAASIRSTDataset, 'basicirstd/train', 213, 'b2365b714193'),
        (NUAASIRSTDataset, 'basicirstd/test', 214, None),
        (NUAASIRSTDataset, 'irsam/train', 341, None),
        (NUAASIRSTDataset, 'idx_427/val', 85, None),
        (NUAASIRSTDataset, 'idx_320/trainval', 224, None),
        (IRSTD1kDataset, 'basicirstd/train', 800, '60840075447f'),
        (IRSTD1kDataset, 'basicirstd/test', 201, None),
        (IRSTD1kDataset, 'irsam/test', 200, None),
    ],
)
def test_splits_find_their_files(cls, split, num, sha256, real_data):
    dataset = cls(data_root=real_data / cls.NAME, split=split)
    assert len(dataset) == dataset.split_info['num'] == num
    assert sha256 in (None, dataset.split_info['sha256'])


@pytest.mark.parametrize('source', ['idx_427', 'idx_320'])
@pytest.mark.parametrize('part', ['train', 'val', 'test', 'trainval'])
def test_lists_that_come_with_the_files(source, part, real_data):
    own = read_ids(real_data / 'NUAA-SIRST' / source / f'{part}.txt')
    assert load_published('NUAA-SIRST', f'{source}/{part}') == (f'{source}/{part}', own)


def test_misc_111(real_data):
    dataset = NUAASIRSTDataset(data_root=real_data / 'NUAA-SIRST', split='basicirstd/test', pipeline=LOADING)
    (sample,) = (s for s in map(dataset.get_data_info, range(len(dataset))) if s['mask_resize'])
    assert sample['img_id'] == 'Misc_111'
    for transform in LOADING:
        sample = transform(sample)
    img, mask = sample['img'][..., 0].astype(float), sample['gt_seg_map'] == 1
    assert mask.shape == (220, 325)
    # the mask lies on the target: it is brighter than what surrounds it
    around = ndimage.binary_dilation(mask, iterations=8) & ~ndimage.binary_dilation(mask, iterations=3)
    assert img[mask].mean() > img[around].mean() + 3 * img[around].std()
    plain = FolderDataset(data_root=real_data / 'NUAA-SIRST', mask_suffix='_pixels0')
    with pytest.raises(ValueError, match=r'Misc_111\.png is 325x220, .*Misc_111_pixels0\.png is 592x400'):
        plain.check()


@pytest.mark.parametrize('cls', FACTS)
def test_training_transforms(cls, real_data):
    np.random.seed(0)
    inner = cls(data_root=real_data / cls.NAME, split='basicirstd/val', pipeline=LOADING)
    with DefaultScope.overwrite_default_scope('mmseg'):
        augment = [
            dict(type='mmirstd.AlignedResize', scale_factor=0.8),
            dict(type='mmirstd.TargetAwareCrop', crop_size=96, target_prob=1),
            dict(type='mmirstd.CopyPasteTargets', prob=1, max_num=3),
        ]
        joined = dict(type='ConcatDataset', datasets=[inner])
        dataset = DATASETS.build(dict(type='MultiImageMixDataset', dataset=joined, pipeline=augment))
    pasted = 0
    for i in range(20):
        sample = dataset[i]
        plain = inner[i]
        assert sample['img'].shape == (96, 96, 3)
        assert sample['img'].dtype == np.uint8
        targets = ndimage.label(sample['gt_seg_map'] == 1, np.ones((3, 3)))[1]
        assert targets >= 1
        pasted += targets > ndimage.label(plain['gt_seg_map'], np.ones((3, 3)))[1]
    assert pasted >= 10


@pytest.mark.parametrize('cls', FACTS)
def test_no_file_is_bad(cls, real_data):
    dataset = cls(data_root=real_data / cls.NAME, on_bad='skip')
    assert dataset.skipped == {}
    assert len(dataset) == FACTS[cls][0]


def test_sirst_v2(sirst_v2):
    dataset = SIRSTv2Dataset(data_root=sirst_v2, on_bad='skip', pipeline=LOADING, test_mode=True)
    assert dataset.skipped == {}
    assert dataset.check() == {
        'num': 1024,
        'min_size': (135, 96),
        'max_size': (1918, 1080),
        'modes': {'L': 604, 'RGB': 400, 'RGBA': 15, 'P': 5},
    }
    empty = [sample['img_id'] for sample in dataset if not sample['gt_seg_map'].any()]
    assert len(empty) == 510
    nums = [sum(i in empty for i in load_published('SIRST-v2', f'full/{part}')[1]) for part in ('trainval', 'test')]
    assert nums == [379, 131]
    for source in ('v1', 'v1fullv2target'):
        assert not set(empty) & set(load_published('SIRST-v2', f'{source}/trainval')[1])


def test_nuaa_sirst_is_in_sirst_v2(real_data, sirst_v2):
    old = NUAASIRSTDataset(data_root=real_data / 'NUAA-SIRST', pipeline=LOADING, test_mode=True)
    new = SIRSTv2Dataset(data_root=sirst_v2, pipeline=LOADING, test_mode=True)
    ids = new.img_ids
    assert sorted(i for i in ids if i.startswith('Misc_')) == sorted(old.img_ids)
    for sample in old:
        other = new[ids.index(sample['img_id'])]
        np.testing.assert_array_equal(sample['img'], other['img'])
        if sample['img_id'] != 'Misc_111':  # there with a mask of the right size
            np.testing.assert_array_equal(sample['gt_seg_map'], other['gt_seg_map'])
