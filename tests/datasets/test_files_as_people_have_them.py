"""Folders with what should not be in them, and splits that name files in their own way."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from mmirstd.datasets import FolderDataset


def save(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((8, 10), value, np.uint8)
    pixels[2, 3] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path):
    for name in ('day/1', 'day/2', 'night/1'):
        save(tmp_path / f'images/{name}.png')
        save(tmp_path / f'masks/{name}_gt.png')
    return tmp_path


def ids(root, **options):
    return FolderDataset(data_root=root, mask_suffix='_gt', **options).img_ids


def test_sub_folders_belong_to_the_ids(root):
    assert ids(root) == ['day/1', 'day/2', 'night/1']
    (root / 'train.txt').write_text('images/night/1.png masks/night/1_gt.png\r\n2\r\n')
    assert ids(root, ann_file='train.txt') == ['night/1', 'day/2']
    (root / 'train.txt').write_text('night/\n')
    assert ids(root, ann_file='train.txt') == ['night/1']
    (root / 'train.txt').write_text('day/2\n1\n')
    with pytest.raises(ValueError, match=r"train\.txt: the entry '1' means day/1, night/1; one image id a line"):
        ids(root, ann_file='train.txt')


def test_a_folder_inside_the_other(tmp_path):
    for name in ('a', 'b'):
        save(tmp_path / f'{name}.png')
        save(tmp_path / f'masks/{name}.png')
    assert FolderDataset(data_root=tmp_path, img_dir='.').img_ids == ['a', 'b']
    assert FolderDataset(data_root=tmp_path, img_dir='masks', mask_dir='.').img_ids == ['a', 'b']


def test_a_missing_image_is_named_with_its_line(root):
    (root / 'train.txt').write_text('day/1\n\nday/9\n')
    message = r'1 of 2 ids have no image in .*images: day/9 \(line 3 of .*train\.txt\); expected names ending in \('
    with pytest.raises(FileNotFoundError, match=message):
        ids(root, ann_file='train.txt')
    (root / 'train.txt').write_bytes('day/1\nm\xe4rz/1\n'.encode('latin-1'))
    with pytest.raises(ValueError, match=r'train\.txt, line 2: no text in UTF-8'):
        ids(root, ann_file='train.txt')


def test_circles_of_links(root):
    (root / 'images/day/up').symlink_to(root / 'images')
    (root / 'images/self').symlink_to('self')
    (root / 'masks/all').symlink_to(root)
    assert ids(root) == ['day/1', 'day/2', 'night/1']
    (root / 'masks/all').unlink()
    for kind, name in (('images', '3'), ('masks', '3_gt')):
        save(root / f'elsewhere/{kind}/{name}.png')
        (root / kind / 'far').symlink_to(root / 'elsewhere' / kind)
    assert ids(root) == ['day/1', 'day/2', 'far/3', 'night/1']


@pytest.mark.parametrize('kind', ['pipe', 'device', 'circle', 'dangling'])
def test_special_files_are_named_and_hang_nothing(root, kind):
    path = root / 'images/day/1.png'
    path.unlink()
    if kind == 'pipe':
        os.mkfifo(path)
    else:
        path.symlink_to({'device': '/dev/zero', 'circle': path, 'dangling': root / 'gone.png'}[kind])
    reason = 'no regular file' if kind in ('pipe', 'device') else 'No such file|Too many levels'
    dataset = FolderDataset(data_root=root, mask_suffix='_gt')
    with pytest.raises((ValueError, OSError)) as error:
        dataset.check()
    assert re.search(rf'({reason}).*1\.png|1\.png.*({reason})', str(error.value))
    assert ids(root, on_bad='skip') == ['day/2', 'night/1']


def test_long_names(tmp_path):
    name = 'n' * 251
    save(tmp_path / f'images/{name}.png')
    save(tmp_path / f'masks/{name}.png')
    dataset = FolderDataset(data_root=tmp_path)
    assert dataset.img_ids == [name]
    assert dataset.check()['num'] == 1
