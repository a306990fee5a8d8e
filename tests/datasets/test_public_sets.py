"""The public sets in the layouts in which they are published, with the traps that lie in them."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image
from small_sets import IDS, make, published, write, write_published

from mmirstd.datasets import (
    IRDSTDataset,
    IRSTD1kDataset,
    MDFADataset,
    NUDTSIRSTSeaDataset,
    SIRSTAugDataset,
    SIRSTv2Dataset,
)
from mmirstd.datasets.published_splits import choose_val
from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask
from mmirstd.io.ids import digest
from mmirstd.registry import DATASETS

CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
LOADING = [LoadIRImage(), LoadTargetMask()]


@pytest.mark.parametrize(
    ('cls', 'layout', 'extension', 'first'),
    [
        (SIRSTAugDataset, 0, '.png', ('test/images/000000.png', 'test/masks/000000.png')),
        (MDFADataset, 0, '.png', ('test_org/00000.png', 'test_gt/00000.png')),
        (MDFADataset, 1, '.png', ('test_single_frame/00000.png', 'test_single_frame_gt/00000.png')),
        (IRDSTDataset, 0, '.bmp', ('images/1/1(1).bmp', 'masks/1/1(1).bmp')),
        (IRDSTDataset, 0, '.png', ('images/1/1(1).png', 'masks/1/1(1).png')),
        (IRDSTDataset, 1, '.bmp', ('real/images/1/1(1).bmp', 'real/masks/1/1(1).bmp')),
        (SIRSTv2Dataset, 0, '.png', ('mixed/S20210527_S4_0.png', 'annotations/masks/S20210527_S4_0_pixels0.png')),
        (SIRSTv2Dataset, 1, '.png', ('images/S20210527_S4_0.png', 'masks/S20210527_S4_0_pixels0.png')),
        (NUDTSIRSTSeaDataset, 0, '.png', ('images/01-01-01.png', 'masks/01-01-01.png')),
    ],
)
def test_layouts(cls, layout, extension, first, tmp_path, log):
    write_published(cls, tmp_path, IDS[cls.NAME], layout, extension)
    dataset = cls(data_root=tmp_path, pipeline=LOADING)
    assert dataset.img_ids == sorted(IDS[cls.NAME])
    info = dataset.get_data_info(0)
    assert (info['img_path'], info['seg_map_path']) == tuple(str(tmp_path / name) for name in first)
    num = len(IDS[cls.NAME])
    split = {'dataset': cls.NAME, 'name': 'all', 'num': num, 'sha256': digest(IDS[cls.NAME])}
    assert dataset.split_info == split
    assert f'{cls.NAME} all: {num} images, sha256 of the ids {split["sha256"]}' in log
    assert dataset.check() == {'num': num, 'min_size': (12, 10), 'max_size': (12, 10), 'modes': {'L': num}}
    assert all(sample['gt_seg_map'].sum() == 4 for sample in dataset)


@pytest.mark.parametrize('cls', [SIRSTAugDataset, MDFADataset])
def test_folders_that_are_splits(cls, tmp_path):
    write_published(cls, tmp_path, IDS[cls.NAME])
    parts = {p: cls(data_root=tmp_path, split=f'official/{p}').img_ids for p in ('train', 'val', 'subtrain', 'test')}
    train, test = (sorted(i for i in IDS[cls.NAME] if i.startswith(cls.OFFICIAL_PARTS[p])) for p in ('train', 'test'))
    assert parts == {
        'train': train,
        'test': test,
        'val': choose_val(train),
        'subtrain': [i for i in train if i not in choose_val(train)],
    }
    assert len(parts['val']) == 2
    assert cls(data_root=tmp_path, split='official/val').split_info['name'] == 'official/val'
    message = (
        r"unknown split 'official/dev' of .*; known: official/subtrain, official/test, official/train, official/val"
    )
    with pytest.raises(ValueError, match=message):
        cls(data_root=tmp_path, split='official/dev')


def test_a_part_may_be_absent_but_not_by_half(tmp_path, log):
    write_published(SIRSTAugDataset, tmp_path, ['test/000001', 'test/000000'])
    dataset = SIRSTAugDataset(data_root=tmp_path)
    assert dataset.img_ids == ['test/000000', 'test/000001']
    assert [line for line in log if 'does not hold' in line] == [
        f'SIRST-Aug all: {tmp_path} does not hold trainval/images; only the rest is read'
    ]
    with pytest.raises(ValueError, match=r"official/train: the split is empty, no ids that begin with 'trainval/' in "):
        SIRSTAugDataset(data_root=tmp_path, split='official/train')
    (tmp_path / 'trainval/images').mkdir(parents=True)
    with pytest.raises(
        FileNotFoundError, match=r'hold the folders trainval/images and .* with test/images and test/masks, or'
    ):
        SIRSTAugDataset(data_root=tmp_path)


def test_sirst_aug_warns_of_its_origin_and_reads_flat_copies(tmp_path, log):
    write_published(SIRSTAugDataset, tmp_path / 'parts', IDS['SIRST-Aug'])
    assert SIRSTAugDataset(data_root=tmp_path / 'parts', split='official/val').img_ids
    assert any('made from one of NUAA-SIRST' in line for line in log)
    make(tmp_path / 'flat', ['1.png', '2.png', '3.png'])
    (tmp_path / 'flat/train.txt').write_text('3\n1\n')
    flat = {'data_root': tmp_path / 'flat'}
    assert SIRSTAugDataset(ann_file='train.txt', **flat).img_ids == ['3', '1']
    with pytest.raises(ValueError, match="no ids that begin with 'trainval/'"):
        SIRSTAugDataset(split='official/train', **flat)
    assert SIRSTAugDataset(data_root=tmp_path / 'parts/test', img_dir='images').img_ids[:1] == ['000000']


def test_mdfa_leaves_its_damaged_pairs_out(tmp_path, log):
    numbers = [*range(236, 247), 9999]
    write_published(MDFADataset, tmp_path, [f'training/{i:06d}' for i in numbers] + ['test/00239'])
    training = tmp_path / 'training'
    (training / '000239_1.png').write_bytes(b'damaged')
    (training / '000245_2.png').unlink()  # some copies lack them
    good = [f'training/{i:06d}' for i in numbers if i not in (239, 245)]
    left_out = 'MDFA {}: 2 pairs, damaged as published, are left out'
    assert MDFADataset(data_root=tmp_path).img_ids == ['test/00239', *good]
    assert left_out.format('all') in log
    dataset = MDFADataset(data_root=tmp_path, split='official/train')
    assert dataset.check()['num'] == len(dataset) == 10
    assert dataset.img_ids == good
    assert left_out.format('official/train') in log
    # A list that someone else made may name them.
    (tmp_path / 'own.txt').write_text('training/000239\ntraining/000240\ntraining/000245')
    assert MDFADataset(data_root=tmp_path, ann_file='own.txt').img_ids == ['training/000240']
    assert left_out.format('own.txt') in log
    (tmp_path / 'own.txt').write_text('000240')  # one image has that name
    assert MDFADataset(data_root=tmp_path, ann_file='own.txt').img_ids == ['training/000240']
    (tmp_path / 'own.txt').write_text('123456')
    with pytest.raises(FileNotFoundError, match=r"own\.txt: ids begin with 'training/' or 'test/', unlike 123456"):
        MDFADataset(data_root=tmp_path, ann_file='own.txt')
    log.clear()
    assert MDFADataset(data_root=tmp_path, split='official/test').img_ids == ['test/00239']
    assert not any('damaged' in line for line in log)


def test_mdfa_copies_without_the_damaged_pairs_are_used_whole():
    dataset = MDFADataset(data_root='nowhere', lazy_init=True)
    assert len(MDFADataset.CORRUPT_IDS) == 22
    renumbered = [f'training/{i:06d}' for i in range(9978)]
    assert not dataset.corrupt_ids([*renumbered, 'test/00000'])
    assert set(dataset.corrupt_ids([f'training/{i:06d}' for i in range(10_000)])) == MDFADataset.CORRUPT_IDS
    assert set(dataset.corrupt_ids(renumbered[:-1])) == MDFADataset.CORRUPT_IDS


def test_irdst_lists_by_frame_and_by_sequence(tmp_path, monkeypatch, log):
    write_published(IRDSTDataset, tmp_path, IDS['IRDST'], extension='.bmp')
    (tmp_path / 'frames.txt').write_bytes(b'/41/1(2)\r\n/2/1(10)')  # as published: a slash before, no newline after
    assert IRDSTDataset(data_root=tmp_path, ann_file='frames.txt').img_ids == ['41/1(2)', '2/1(10)']
    (tmp_path / 'sequences.txt').write_text('41/\n1/\n')
    dataset = IRDSTDataset(data_root=tmp_path, ann_file='sequences.txt', pipeline=LOADING)
    assert dataset.img_ids == [f'{s}/1({i})' for s in (41, 1) for i in (1, 10, 11, 12, *range(2, 10))]
    assert dataset[0]['img'].shape == (10, 12, 3)
    assert not any('85 sequences' in line for line in log)
    published(monkeypatch, IRDSTDataset, train=['2/1(1)'])
    monkeypatch.setattr(IRDSTDataset, 'SPLIT_NOTES', {'small': IRDSTDataset.SPLIT_NOTES['basicirstd']})
    assert IRDSTDataset(data_root=tmp_path, split='small/train').img_ids == ['2/1(1)']
    assert sum('share all 85 sequences' in line for line in log) == 1


def test_irdst_two_files_of_one_nested_id(tmp_path):
    write_published(IRDSTDataset, tmp_path, ['41/1(1)', '4/1(1)'])
    write(tmp_path / 'images/41/1(1).bmp')
    with pytest.raises(ValueError, match=r"41/1\(1\)\.\w+ and 41/1\(1\)\.\w+ both belong to id '41/1\(1\)'"):
        IRDSTDataset(data_root=tmp_path)


def test_sirst_v2_modes_sizes_and_empty_masks(tmp_path, monkeypatch):
    sizes = {'L': (96, 135), 'RGB': (640, 512), 'RGBA': (1280, 1024), 'P': (1918, 1080)}
    for mode, size in sizes.items():
        write(tmp_path / f'mixed/{mode}.png', size, 0 if mode == 'L' else 200, mode)
        write(tmp_path / f'annotations/masks/{mode}_pixels0.png', size, 0 if mode in ('L', 'P') else 255)
        (tmp_path / f'annotations/masks/{mode}.xml').write_text('<annotation/>')  # beside the masks
    published(monkeypatch, SIRSTv2Dataset, train=[*sizes])
    dataset = SIRSTv2Dataset(data_root=tmp_path, split='small/train', pipeline=LOADING)
    assert dataset.check() == {
        'num': 4,
        'min_size': (96, 135),
        'max_size': (1918, 1080),
        'modes': {'L': 1, 'RGB': 1, 'RGBA': 1, 'P': 1},
    }
    for sample, (mode, (width, height)) in zip(dataset, sizes.items(), strict=True):
        assert sample['img'].shape == (height, width, 3)
        assert sample['gt_seg_map'].sum() == (0 if mode in ('L', 'P') else 4)
        expected = np.array(Image.open(tmp_path / f'mixed/{mode}.png').convert('RGB'))
        np.testing.assert_array_equal(sample['img'][..., ::-1], expected)
    # Targets are pasted into images without one, and crops of such images are any.
    np.random.seed(0)  # noqa: NPY002
    with DefaultScope.overwrite_default_scope('mmseg'):
        inner = dict(type='mmirstd.SIRSTv2Dataset', data_root=tmp_path, split='small/train', pipeline=LOADING)
        augment = [
            dict(type='mmirstd.TargetAwareCrop', crop_size=64, target_prob=1),
            dict(type='mmirstd.CopyPasteTargets', prob=1, halo=1),
        ]
        dataset = DATASETS.build(dict(type='MultiImageMixDataset', dataset=inner, pipeline=augment))
    pasted = [dataset[0]['gt_seg_map'] for _ in range(10)]
    assert all(mask.shape == (64, 64) for mask in pasted)
    assert any((mask == 1).any() for mask in pasted)


def test_irstd1k_masks_are_cut_at_the_threshold(tmp_path):
    make(tmp_path, ['XDU0.png'], img_dir='IRSTD1k_Img', mask_dir='IRSTD1k_Label')
    values = np.array([[0, 1, 64, 127], [128, 191, 254, 255]], np.uint8)
    for folder in ('IRSTD1k_Img', 'IRSTD1k_Label'):
        Image.fromarray(values).save(tmp_path / folder / 'XDU0.png')
    dataset = IRSTD1kDataset(data_root=tmp_path, pipeline=LOADING)
    np.testing.assert_array_equal(dataset[0]['gt_seg_map'], [[0, 0, 0, 0], [1, 1, 1, 1]])


SETS = {
    'nuaa': ('NUAA-SIRST', 'basicirstd/subtrain', 8),
    'nudt': ('NUDT-SIRST', 'basicirstd/subtrain', 8),
    'irstd1k': ('IRSTD-1k', 'basicirstd/subtrain', 8),
    'sirst_aug': ('SIRST-Aug', 'official/subtrain', 8),
    'mdfa': ('MDFA', 'official/subtrain', 32),
    'irdst': ('IRDST', 'basicirstd/subtrain', 8),
    'sirst_v2': ('SIRST-v2', 'full/train', 8),
    'nudt_sea': ('NUDT-SIRST-Sea', 'basicirstd/subtrain', 8),
}


@pytest.mark.parametrize('name', SETS)
def test_base_configs_load_batches(name, tmp_path, monkeypatch):
    dataset, train_split, batch_size = SETS[name]
    config = Config.fromfile(CONFIGS / f'{name}.py')
    cls = DATASETS.get(config.dataset_type)
    write_published(cls, tmp_path, IDS[dataset], size=(43, 40))
    asked = []

    def load(of, split, others):
        asked.append((of, split))
        return split, IDS[dataset][: 3 if split.endswith('val') else None]

    monkeypatch.setattr('mmirstd.datasets.base.load_published', load)
    assert dataset == cls.NAME
    assert config.data_root == f'data/{dataset}'
    assert config.val_evaluator.type == config.test_evaluator.type == 'mmirstd.IRSTDMetric'
    assert config.train_dataloader.dataset.dataset.split == train_split
    config.train_dataloader.dataset.pipeline = Config.fromfile(CONFIGS.parent / 'pipelines/crop128.py').train_pipeline
    with DefaultScope.overwrite_default_scope('mmseg'):
        for part in ('train', 'val', 'test'):
            loader = config[f'{part}_dataloader']
            dataset_config = loader.dataset.dataset if part == 'train' else loader.dataset
            assert dataset_config.data_root == config.data_root
            assert dataset_config.get('test_mode', False) == (part != 'train')
            split = dataset_config.split
            loader.update(num_workers=0, persistent_workers=False)
            dataset_config.data_root = str(tmp_path)
            loader = Runner.build_dataloader(loader, seed=0)
            assert getattr(loader.dataset, 'dataset', loader.dataset).split_info['name'] == split
            assert cls.OFFICIAL_PARTS or asked.pop() == (dataset, split)
            batch = next(iter(loader))
            shape = (128, 128) if part == 'train' else (40, 43)
            assert len(batch['inputs']) == (batch_size if part == 'train' else 1)
            for image, sample in zip(batch['inputs'], batch['data_samples'], strict=True):
                assert tuple(image.shape) == (3, *shape)
                assert tuple(sample.gt_sem_seg.data.shape) == (1, *shape)
                assert set(sample.gt_sem_seg.data.unique().tolist()) <= {0, 1, 255}
                assert sample.img_id in IDS[dataset]
