"""Uploaded files: what is taken, under which name, and what is said of the others."""

import os
import re

import cv2
import numpy as np
import pytest
import tifffile

from mmirstd.app.uploads import UploadLimits, take_uploads
from mmirstd.io.video import video_writer
from mmirstd.utils.errors import ArgumentError

LIMITS = UploadLimits(files=5, file_bytes=20_000, pixels=64 * 64, frames=3)
IMAGE = np.random.default_rng(0).integers(0, 255, (32, 48), dtype=np.uint8)
PNG = cv2.imencode('.png', IMAGE)[1].tobytes()


@pytest.fixture
def place(tmp_path):
    """Where the server puts uploads, and where they go."""
    for name in ('uploaded', 'window'):
        (tmp_path / name).mkdir()
    return tmp_path / 'uploaded', tmp_path / 'window'


@pytest.fixture
def upload(place):
    """Put files where the server does, each in a folder of its own, and take them."""

    def run(*files, limits=LIMITS):
        paths = []
        for number, (name, content) in enumerate(files):
            path = place[0] / str(number) / name
            path.parent.mkdir()
            path.write_bytes(content)
            paths.append(path)
        return take_uploads(paths, *place, limits)

    return run


def left(folder):
    return sorted(path.name for path in folder.rglob('*') if path.is_file())


def test_images_and_sequences_are_taken(upload, place, tmp_path):
    with video_writer(tmp_path / 'clip.mp4', 10) as write:
        write(np.repeat(IMAGE[..., None], 3, 2))
    tifffile.imwrite(tmp_path / 'stack.tif', np.stack([IMAGE] * 2), photometric='minisblack')
    tifffile.imwrite(tmp_path / 'one.tif', IMAGE.astype(np.uint16))
    named = [(name, (tmp_path / name).read_bytes()) for name in ('clip.mp4', 'stack.tif', 'one.tif')]
    taken, problems = upload(('a.PNG', PNG), *named)
    assert problems == {}
    assert [(item.name, item.is_sequence) for item in taken] == [
        ('a.PNG', False), ('clip.mp4', True), ('stack.tif', True), ('one.tif', False)
    ]  # fmt: skip
    assert left(place[0]) == []
    assert left(place[1]) == ['a.PNG', 'clip.mp4', 'one.tif', 'stack.tif']


def test_names_are_cleaned_and_unique(upload, place):
    taken, problems = upload(('a<b>|?*.png', PNG), ('c.png', PNG), ('c.png', PNG), ('\x01\x7f.png', PNG))
    assert problems == {}
    names = [item.name for item in taken]
    assert names == ['a_b_.png', '000001_c.png', '000002_c.png', '_.png']
    assert all(os.path.dirname(item.path) == str(place[1]) for item in taken)


def test_names_that_lead_elsewhere_stay_here(upload, place):
    (item,), problems = upload(('..\\..\\etc\\x.png', PNG))
    assert (problems, item.name) == ({}, 'etc/x.png'.replace('/', '_'))
    assert os.path.realpath(item.path).startswith(str(place[1]))


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('big.png', PNG + bytes(20_000), r'0 MB are more than 0 MB'),
        ('notes.txt', b'text', r'neither an image \(\.png, .*\) nor a video'),
        ('noname', PNG, r'neither an image'),
        ('empty.png', b'', r'not a readable image \(empty file\)'),
        ('half.bmp', b'BM' + bytes(9), r'not a readable image \(damaged or truncated BMP header'),
        (
            'wide.png',
            cv2.imencode('.png', np.zeros((64, 65), np.uint8))[1].tobytes(),
            '65 x 64 is more than 4096 pixels',
        ),
        ('list.mp4', b'#EXTM3U\nfile:///etc/passwd\n', r'not a readable video \(its content is none\)'),
        ('list.avi', b'ffconcat version 1.0\nfile /etc/passwd\n', r'not a readable video'),
        ('page.png', b'<svg onload="alert(1)">', r'not a readable image \(neither PNG, BMP, JPEG nor TIFF\)'),
    ],
)
def test_other_files_are_refused_in_words_and_deleted(upload, place, name, content, message):
    taken, problems = upload((name, content), ('good.png', PNG))
    assert [item.name for item in taken] == ['good.png']
    assert problems.keys() == {name}
    assert re.match(message, problems[name]), problems
    assert str(place[0].parent) not in problems[name]
    assert left(place[0]) == []
    assert left(place[1]) == ['good.png']


def test_too_many_files(upload, place):
    taken, problems = upload(*[(f'{i}.png', PNG) for i in range(7)])
    assert len(taken) == 5
    assert problems == dict.fromkeys(('5.png', '6.png'), 'more than 5 files at once')
    assert left(place[0]) == []


def test_paths_of_other_files_are_refused_and_these_are_left_alone(place, tmp_path):
    secret = tmp_path / 'secret.png'
    secret.write_bytes(PNG)
    (place[0] / 'link.png').symlink_to(secret)
    (place[0] / 'folder.png').mkdir()
    (place[0] / 'away').symlink_to(tmp_path, target_is_directory=True)
    paths = [
        str(secret), f'{place[0]}/../secret.png', f'{place[0]}/link.png', f'{place[0]}/away/secret.png',
        'http://127.0.0.1/x.png', f'{place[0]}/gone.png',
    ]  # fmt: skip
    taken, problems = take_uploads(paths, *place, UploadLimits())
    assert taken == []
    assert len(problems) == len(paths)
    assert secret.read_bytes() == PNG
    (folder,) = take_uploads([place[0] / 'folder.png'], *place, UploadLimits())[1].values()
    assert folder == 'no regular file'
    assert left(place[1]) == []


def test_limits_that_leave_nothing():
    with pytest.raises(ArgumentError, match='a limit of 0 frames leaves nothing'):
        UploadLimits(frames=0)
