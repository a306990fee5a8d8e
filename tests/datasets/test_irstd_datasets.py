from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from mmengine.registry import DefaultScope
from PIL import Image
from small_sets import make, published, write

from mmirstd.datasets import (
    FolderDataset,
    IRSTD1kDataset,
    IRSTDDataset,
    NUAASIRSTDataset,
    NUDTSIRSTDataset,
)
from mmirstd.datasets.published_splits import SplitNotFoundError, load_published
from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask
from mmirstd.io.ids import digest
from mmirstd.registry import DATASETS


@pytest.mark.parametrize(
    ('cls', 'img_dir', 'mask_dir', 'masks'),
    [
        (NUAASIRSTDataset, 'images', 'masks', '{}_pixels0.png'),
        (NUAASIRSTDataset, 'images', 'masks', '{}.png'),
        (NUDTSIRSTDataset, 'images', 'masks', '{}.png'),
        (IRSTD1kDataset, 'IRSTD1k_Img', 'IRSTD1k_Label', '{}.png'),
        (IRSTD1kDataset, 'images', 'masks', '{}.png'),
    ],
)
def test_published_layouts(tmp_path, monkeypatch, log, cls, img_dir, mask_dir, masks):
    ids = ['X2', 'X1', 'X0']
    make(tmp_path, [f'{i}.png' for i in ids], [masks.format(i) for i in ids], img_dir, mask_dir)
    (tmp_path / img_dir / 'Thumbs.db').write_text('')
    published(monkeypatch, cls, train=ids[:2])
    dataset = cls(data_root=tmp_path, split='small/train')
    assert len(dataset) == 2
    info = dataset.get_data_info(0)
    assert info == {
        'img_path': str(tmp_path / img_dir / 'X2.png'),
        'seg_map_path': str(tmp_path / mask_dir / masks.format('X2')),
        'img_id': 'X2',
        'mask_resize': False,
        'label_map': None,
        'reduce_zero_label': False,
        'seg_fields': [],
        'sample_idx': 0,
    }
    split = {'dataset': cls.NAME, 'name': 'small/train', 'num': 2, 'sha256': digest(ids[:2])}
    assert dataset.split_info == split
    assert dataset.metainfo['classes'] == ('background', 'target')
    dataset.full_init()
    assert log == [f'{cls.NAME} small/train: 2 images, sha256 of the ids {digest(ids[:2])}']


def test_alias_is_reported_by_its_canonical_name(tmp_path):
    ids = load_published('NUAA-SIRST', 'basicirstd/val')[1]
    make(tmp_path, [f'{i}.png' for i in ids])
    dataset = NUAASIRSTDataset(data_root=tmp_path, split='dnanet/val')
    assert dataset.split_info['name'] == 'basicirstd/val'
    assert [dataset.get_data_info(i)['img_id'] for i in range(len(dataset))] == ids


def test_folder_takes_mixed_files(tmp_path):
    images = ['a.png', 'b.BMP', 'c.jpg', 'd.jpeg', 'e.e.tif']
    make(tmp_path, images, ['a.bmp', 'b.png', 'c.png', 'd.PNG', 'e.e.png'])
    (tmp_path / 'images' / 'below').mkdir()
    dataset = FolderDataset(data_root=tmp_path, pipeline=[LoadIRImage(), LoadTargetMask()])
    assert [sample['img_id'] for sample in dataset] == ['a', 'b', 'c', 'd', 'e.e']
    assert all(sample['gt_seg_map'].sum() == 4 for sample in dataset)
    assert dataset.split_info == {
        'dataset': tmp_path.name,
        'name': 'all',
        'num': 5,
        'sha256': digest(['a', 'b', 'c', 'd', 'e.e']),
    }


def test_own_folders_suffixes_and_list(tmp_path):
    make(tmp_path, ['a_1.png', 'b_1.png', 'c_1.png'], ['a_gt.png', 'b_gt.png', 'c_gt.png'], 'thermal', 'labels')
    (tmp_path / 'train.txt').write_bytes(b'b.png\r\na.png')
    arguments = {'data_root': tmp_path, 'img_dir': 'thermal', 'img_suffix': '_1.png', 'mask_suffix': '_gt'}
    dataset = FolderDataset(mask_dir=str(tmp_path / 'labels'), ann_file='train.txt', **arguments)
    assert [dataset.get_data_info(i)['img_id'] for i in range(2)] == ['b', 'a']
    assert dataset.split_info['name'] == 'train.txt'
    assert dataset.get_data_info(1)['seg_map_path'] == str(tmp_path / 'labels' / 'a_gt.png')
    with pytest.raises(FileNotFoundError, match=r'does not hold the folders thermal and masks; give img_dir'):
        FolderDataset(**arguments)


def test_images_and_masks_in_one_folder(tmp_path):
    make(tmp_path, ['a.png', 'b.png', 'a_mask.png', 'b_mask.png'], [], 'all')
    dataset = FolderDataset(data_root=tmp_path, img_dir='all', mask_dir='all', mask_suffix='_mask')
    assert [Path(dataset.get_data_info(i)['img_path']).name for i in range(len(dataset))] == ['a.png', 'b.png']


def test_subset_is_what_is_reported(tmp_path):
    dataset = FolderDataset(data_root=make(tmp_path, ['a.png', 'b.png', 'c.png']), indices=2)
    assert dataset.split_info['num'] == 2
    assert dataset.split_info['sha256'] == digest(['a', 'b'])


def test_lazy_init_and_missing_root(tmp_path):
    dataset = NUDTSIRSTDataset(data_root=tmp_path / 'none', split='basicirstd/val', lazy_init=True)
    assert 'split' not in dataset.metainfo
    with pytest.raises(FileNotFoundError, match=r"NUDT-SIRST: the folder data_root='.*none' does not exist"):
        dataset.full_init()


def test_wrong_layout_names_what_is_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match='IRSTD1k_Img and IRSTD1k_Label, or images and masks'):
        IRSTD1kDataset(data_root=tmp_path)


def test_missing_files_are_named(tmp_path):
    make(tmp_path, ['000001.png', '000002.png'], ['000001.png'])
    (tmp_path / 'own.txt').write_text('000001\n000009\n')
    message = r'NUDT-SIRST own\.txt: 1 of 2 ids have no image in .*images: 000009 \(line 2 of .*own\.txt\); expected'
    with pytest.raises(FileNotFoundError, match=message):
        NUDTSIRSTDataset(data_root=tmp_path, ann_file='own.txt')
    with pytest.raises(FileNotFoundError, match=r'all: 1 of 2 ids have no mask in .*masks: 000002'):
        NUDTSIRSTDataset(data_root=tmp_path)
    with pytest.raises(FileNotFoundError, match=r'664 ids have no image in .*: 000541, .*, \.\.\.; expected'):
        NUDTSIRSTDataset(data_root=tmp_path, split='basicirstd/test')
    with pytest.raises(FileNotFoundError, match=r"split file '.*none\.txt' does not exist"):
        NUDTSIRSTDataset(data_root=tmp_path, ann_file='none.txt')
    with pytest.raises(FileNotFoundError, match=r'no images in .*images; expected names ending in _x\.png'):
        NUDTSIRSTDataset(data_root=tmp_path, img_suffix='_x.png')


def test_two_files_of_one_id(tmp_path):
    make(tmp_path, ['a.png', 'a.bmp'], ['a.png'])
    with pytest.raises(ValueError, match=r"images: a\.(png|bmp) and a\.(png|bmp) both belong to id 'a'"):
        FolderDataset(data_root=tmp_path)
    assert len(FolderDataset(data_root=tmp_path, img_suffix='.bmp')) == 1


def test_bad_arguments(tmp_path):
    make(tmp_path, ['a.png'])
    with pytest.raises(ValueError, match='needs data_root'):
        FolderDataset()
    with pytest.raises(ValueError, match='not both'):
        NUDTSIRSTDataset(data_root=tmp_path, split='basicirstd/val', ann_file='x.txt')
    with pytest.raises(
        SplitNotFoundError, match=r"unknown split 'basicirstd/dev' of NUDT-SIRST; known: basicirstd/subtrain"
    ):
        NUDTSIRSTDataset(data_root=tmp_path, split='basicirstd/dev')
    with pytest.raises(ValueError, match='known: none; give a text file of ids as ann_file'):
        FolderDataset(data_root=tmp_path, split='basicirstd/train')
    with pytest.raises(TypeError, match='takes img_dir and mask_dir, not data_prefix'):
        FolderDataset(data_root=tmp_path, data_prefix={'img_path': 'images'})
    for extra in ({'metainfo': {'classes': ('target', 'background')}}, {'reduce_zero_label': True}):
        with pytest.raises(ValueError, match='classes are fixed'):
            FolderDataset(data_root=tmp_path, **extra)


def misc_111(root, image_size=(13, 9), mask_size=(26, 18)):
    write(root / 'images' / 'Misc_111.png', image_size)
    write(root / 'masks' / 'Misc_111_pixels0.png', mask_size)
    write(root / 'images' / 'Misc_1.png')
    write(root / 'masks' / 'Misc_1_pixels0.png')
    return root


def test_mask_of_misc_111_is_resized_and_reported(tmp_path, log):
    dataset = NUAASIRSTDataset(data_root=misc_111(tmp_path), pipeline=[LoadIRImage(), LoadTargetMask()])
    assert [line for line in log if 'Misc_111' in line] == [
        'NUAA-SIRST all: the mask of Misc_111 is 26x18 and its image 13x9; it is resized to its image by nearest '
        'neighbor'
    ]
    sample = dataset[1]
    assert sample['img_id'] == 'Misc_111'
    assert sample['gt_seg_map'].shape == sample['img'].shape[:2] == (9, 13)
    reference = Image.open(tmp_path / 'masks' / 'Misc_111_pixels0.png').resize((13, 9), Image.NEAREST)
    np.testing.assert_array_equal(sample['gt_seg_map'], np.array(reference) > 127)
    assert dataset.check()['max_size'] == (13, 10)


def test_repaired_misc_111_is_left_alone(tmp_path, log):
    dataset = NUAASIRSTDataset(data_root=misc_111(tmp_path, mask_size=(13, 9)))
    assert not any('Misc_111' in line for line in log)
    assert dataset.check()['num'] == 2


def test_any_other_size_mismatch_is_an_error(tmp_path):
    misc_111(tmp_path)
    dataset = FolderDataset(data_root=tmp_path, mask_suffix='_pixels0', pipeline=[LoadIRImage(), LoadTargetMask()])
    message = r'sizes differ: .*Misc_111\.png is 13x9, .*Misc_111_pixels0\.png is 26x18'
    with pytest.raises(ValueError, match=message):
        dataset.check()
    with pytest.raises(ValueError, match=message):
        dataset[1]


def test_check_summarises(tmp_path):
    write(tmp_path / 'images' / 'a.png', (8, 30), mode='RGB')
    write(tmp_path / 'masks' / 'a.png', (8, 30), mode='1')
    write(tmp_path / 'images' / 'b.png', (20, 6), mode='P')
    write(tmp_path / 'masks' / 'b.png', (20, 6))
    summary = FolderDataset(data_root=tmp_path).check()
    assert summary == {'num': 2, 'min_size': (8, 6), 'max_size': (20, 30), 'modes': {'RGB': 1, 'P': 1}}


@pytest.mark.parametrize('kind', ['images', 'masks'])
@pytest.mark.parametrize('content', ['empty', 'text', 'truncated'])
def test_check_names_unreadable_files(tmp_path, kind, content):
    make(tmp_path, ['a.png', 'b.png'])
    path = tmp_path / kind / 'b.png'
    path.write_bytes({'empty': b'', 'text': b'not an image', 'truncated': path.read_bytes()[:-20]}[content])
    with pytest.raises(ValueError, match=rf'{kind}.b\.png: not a readable image'):
        FolderDataset(data_root=tmp_path).check()


def test_check_takes_deep_images_and_names_vanished_ones(tmp_path):
    make(tmp_path, [f'{i}.png' for i in 'abcdef'])
    deep = np.arange(120, dtype=np.uint16).reshape(10, 12) * 500
    Image.fromarray(deep).save(tmp_path / 'images' / 'a.png')
    (tmp_path / 'images' / 'b.png').unlink()
    Image.fromarray(deep.astype(np.float32)).save(tmp_path / 'images' / 'b.tif')
    for name, mode in (('c', 'LA'), ('d', 'RGB'), ('e', 'RGBA')):
        write(tmp_path / 'images' / f'{name}.png', mode=mode)
    dataset = FolderDataset(data_root=tmp_path)
    assert dataset.check() == {
        'num': 6,
        'min_size': (12, 10),
        'max_size': (12, 10),
        'modes': {'I;16': 1, 'F': 1, 'LA': 1, 'RGB': 1, 'RGBA': 1, 'L': 1},
    }
    (tmp_path / 'images' / 'a.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'a\.png'):
        dataset.check()


def test_registry_and_concatenation(tmp_path):
    parts = [
        {'type': 'mmirstd.FolderDataset', 'data_root': str(make(tmp_path / name, ['a.png', 'b.png'][:num]))}
        for name, num in (('one', 1), ('two', 2))
    ]
    with DefaultScope.overwrite_default_scope('mmseg'):
        both = ConcatDataset([DATASETS.build(part) for part in parts])
    assert len(both) == 3
    assert both[2]['img_path'] == both.datasets[1][1]['img_path']


class MemoryBackend:
    """What the dataset and the loaders need of a file backend, on a dict of paths."""

    def __init__(self, files):
        self.files = files

    def get(self, path):
        return self.files[str(path)]

    def get_text(self, path, encoding='utf-8'):
        return self.files[str(path)].decode(encoding)

    def isfile(self, path):
        return str(path) in self.files

    def isdir(self, path):
        return any(name.startswith(f'{path}/') for name in self.files)

    def list_dir_or_file(self, folder, *args):
        return (name.rsplit('/', 1)[1] for name in self.files if name.rsplit('/', 1)[0] == str(folder))

    def join_path(self, *parts):
        return '/'.join(parts)


def test_file_backends_are_respected(monkeypatch):
    buffer = BytesIO()
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(buffer, 'PNG')
    files = {f'mem://x/{kind}/{i}.png': buffer.getvalue() for kind in ('images', 'masks') for i in 'ab'}
    files['mem://x/list.txt'] = b'b\n'
    backend, seen = MemoryBackend(files), []

    def get_file_backend(uri=None, *, backend_args=None, **kwargs):
        seen.append(backend_args)
        return backend

    monkeypatch.setattr('mmengine.fileio.io.get_file_backend', get_file_backend)
    arguments = {'backend': 'mem', 'key': 1}
    dataset = FolderDataset(
        data_root='mem://x',
        ann_file='list.txt',
        backend_args=arguments,
        pipeline=[LoadIRImage(backend_args=arguments), LoadTargetMask(backend_args=arguments)],
    )
    assert dataset.check()['num'] == len(dataset) == 1
    assert dataset[0]['gt_seg_map'].trace() == 8
    # mmengine itself joins data_root with the list and two prefixes without the arguments
    assert seen[:3] == [None] * 3
    assert len(seen) > 10
    assert all(argument == arguments for argument in seen[3:])


def test_base_class_is_usable_as_it_is(tmp_path):
    assert IRSTDDataset(data_root=make(tmp_path, ['a.png'])).name == tmp_path.name
