"""What was verified is not verified again, unless it changed."""

import json
import os

import cv2
import numpy as np
import pytest

from mmirstd.datasets import FolderDataset
from mmirstd.io import check_cache
from mmirstd.io.check_cache import VerifiedFiles, cache_folder


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    folder = tmp_path / 'cache'
    monkeypatch.setenv('MMIRSTD_CACHE', str(folder))
    return folder


@pytest.fixture
def verified(monkeypatch):
    """Files that are verified, in any order."""
    from mmirstd.datasets import pair_checks

    paths = []
    original = pair_checks.read_verified

    def read_verified(path, backend_args=None):
        paths.append(os.path.relpath(path, os.path.dirname(os.path.dirname(path))))
        return original(path, backend_args)

    monkeypatch.setattr(pair_checks, 'read_verified', read_verified)
    return paths


def check(root, **kwargs):
    return FolderDataset(data_root=str(root), pipeline=[], **kwargs).check()


ALL = sorted(f'{kind}/{i}.png' for kind in ('images', 'masks') for i in range(5))


def test_only_what_changed_is_verified_again(tiny_data, verified, own_cache):
    first = check(tiny_data)
    assert sorted(verified) == ALL
    verified.clear()
    assert check(tiny_data) == first
    assert verified == []
    # Another time, another size.
    os.utime(tiny_data / 'images/2.png', ns=(1, 1))
    cv2.imwrite(str(tiny_data / 'masks/4.png'), np.zeros((32, 32), np.uint8))
    check(tiny_data)
    assert sorted(verified) == ['images/2.png', 'masks/4.png']
    assert len(list(own_cache.iterdir())) == 1


def test_a_file_that_broke_is_found(tiny_data, verified):
    check(tiny_data)
    path = tiny_data / 'masks/3.png'
    path.write_bytes(path.read_bytes()[:40])
    for _ in range(2):  # what is bad is never taken for verified
        with pytest.raises(ValueError, match=r'masks/3\.png: not a readable image'):
            check(tiny_data)


def test_bad_pairs_that_are_skipped_are_looked_at_each_time(tiny_data, verified):
    path = tiny_data / 'masks/3.png'
    path.write_bytes(path.read_bytes()[:40])
    assert check(tiny_data, on_bad='skip')['num'] == 4
    verified.clear()
    assert check(tiny_data, on_bad='skip')['num'] == 4
    assert sorted(verified) == ['images/3.png', 'masks/3.png']


@pytest.mark.parametrize(
    'content', ['', '[1]', '{"version": 1}', '{"files"', json.dumps({'version': '0', 'files': {}})]
)
def test_a_cache_of_another_kind_or_version_counts_for_nothing(tiny_data, verified, own_cache, content):
    check(tiny_data)
    (file,) = own_cache.iterdir()
    file.write_text(content)
    verified.clear()
    check(tiny_data)
    assert sorted(verified) == ALL


def test_another_version_verifies_again(tiny_data, verified, monkeypatch):
    check(tiny_data)
    verified.clear()
    monkeypatch.setattr(check_cache, '__version__', 'next')
    check(tiny_data)
    assert sorted(verified) == ALL


def test_turned_off_or_not_writable(tiny_data, verified, monkeypatch, tmp_path):
    (tmp_path / 'file').touch()
    for place in ('', str(tmp_path / 'file')):
        monkeypatch.setenv('MMIRSTD_CACHE', place)
        for _ in range(2):
            verified.clear()
            check(tiny_data)
            assert sorted(verified) == ALL


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.delenv('MMIRSTD_CACHE')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert cache_folder() == tmp_path / 'xdg/mmirstd'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert cache_folder() == tmp_path / '.cache/mmirstd'


def test_a_file_that_changes_while_it_is_verified(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(b'1')
    known = VerifiedFiles([str(path)])
    path.write_bytes(b'22')
    known.add({str(path): {}})
    assert str(path) not in VerifiedFiles([str(path)])


def test_splits_of_a_folder_share_a_file_and_links_count_as_their_files(tmp_path, own_cache):
    for name in ('a', 'b'):
        (tmp_path / name).touch()
    (tmp_path / 'link').symlink_to(tmp_path / 'a')
    VerifiedFiles([str(tmp_path / 'a')]).add({str(tmp_path / 'a'): {}})
    other = VerifiedFiles([str(tmp_path / 'b')])
    other.add({str(tmp_path / 'b'): {}})
    assert len(list(own_cache.iterdir())) == 1
    known = VerifiedFiles([str(tmp_path / 'link'), str(tmp_path / 'b')])
    assert str(tmp_path / 'link') in known
    assert str(tmp_path / 'b') in known
    assert str(tmp_path / 'missing') not in VerifiedFiles([str(tmp_path / 'missing')])
