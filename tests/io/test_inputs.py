"""Images as a user names them."""

import glob
import os

import numpy as np
import pytest

from mmirstd.io.inputs import is_single, list_images


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ('0.png', 'b.TIF', 'notes.txt', '.1.png.tmp.png', 'seq/1.png', 'seq/deep/1.png', 'odd[1]/a.bmp'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b'')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(inputs):
    return [sample['img_id'] for sample in list_images(inputs)]


def test_files_folders_patterns_and_arrays(folder):
    assert names('0.png') == ['0']
    assert names(folder) == names(str(folder)) == names('.') == ['0', 'b']
    assert names('*.png') == ['0']
    assert names('seq/*.png') == ['1']
    assert names('seq/**/*.png') == ['1', 'deep/1']
    assert names('**/*.png') == ['0', 'seq/1', 'seq/deep/1']
    assert names(glob.escape('odd[1]') + '/*') == ['odd[1]/a']
    assert names('odd[1]') == names('odd[1]/a.bmp') == ['a']
    array = np.zeros((2, 2))
    (sample,) = list_images(array)
    assert sample['img'] is array
    assert sample['img_id'] == 'image'


def test_names_are_unique(folder):
    mixed = ['.', 'seq/1.png', folder / '0.png', np.zeros((2, 2)), np.zeros((2, 2))]
    assert names(mixed) == ['000000_0', 'b', '1', '000003_0', '000004_image', '000005_image']


def test_links(folder):
    (folder / 'seq/loop.png').symlink_to('loop.png')
    (folder / 'seq/gone.png').symlink_to('nowhere.png')
    (folder / 'seq/same.png').symlink_to('1.png')
    assert names('seq') == ['1', 'gone', 'loop', 'same']  # the reader says what is wrong with them
    (folder / 'seq/deep/up').symlink_to('..')
    (folder / 'other').symlink_to('seq')
    assert names('seq/**/*.png') == ['1', 'deep/1', 'gone', 'loop', 'same']
    assert names('*/1.png') == ['other/1', 'seq/1']


def test_folders_and_pipes_are_no_images(folder):
    (folder / 'seq/folder.png').mkdir()
    os.mkfifo(folder / 'seq/pipe.png')
    assert names('seq') == names('seq/*') == ['1']


def test_what_is_one_image(folder):
    assert [is_single(i) for i in ('0.png', 'nowhere.png', 'odd[1]/a.bmp', folder / '0.png', np.zeros(3))] == [True] * 5
    assert [is_single(i) for i in ('.', folder, '*.png', ['0.png'], ())] == [False] * 5


@pytest.mark.parametrize(
    ('inputs', 'error', 'message'),
    [
        ('nowhere.png', FileNotFoundError, 'there is no image nowhere.png'),
        ('seq/deep', None, ''),
        ('x*', FileNotFoundError, r'the pattern x\* holds no images'),
        ([], FileNotFoundError, 'no images are given'),
        ([3], TypeError, 'an image is a path or an array, not int'),
    ],
)
def test_mistakes(folder, inputs, error, message):
    if error is None:
        (folder / inputs / '1.png').unlink()
        error, message = FileNotFoundError, 'the folder seq/deep holds no images'
    with pytest.raises(error, match=message):
        list_images(inputs)
