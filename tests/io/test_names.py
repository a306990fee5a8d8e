"""Names of the files made for images: safe, unique, and equal to the ids wherever that is possible."""

import os

import pytest

from mmirstd.io.names import file_names, flat_name, image_id, sample_names


def test_ids_stay_as_they_are():
    ids = ['Misc_1', '41/1(297)', 'XDU1', 'S2021 a', 'a.b', 'ä', 'a[1],+@=~#%&!', "it's", '红外 😀']
    assert file_names(ids) == ids
    assert flat_name('41/1(297)') == '41_1(297)'


def test_unsafe_characters_and_folders_above():
    assert file_names(['a\nb', 'a*<b>', 'ten\x7f', os.fsdecode(b'\xff')]) == ['a_b', 'a_b_', 'ten_', '_']
    assert file_names(['../../etc/x', '/a', 'y:?', 'a\\b', '..', '']) == [
        'etc/x',
        'a',
        'y_',
        'a/b',
        '000004__',
        '000005__',
    ]


@pytest.mark.parametrize(
    'ids', [['a', 'b', 'a'], ['a/b', 'a_b', 'a:b', 'a?b'], ['a', 'a', '000000_a', '000001_a'], [''] * 3]
)
def test_no_name_twice(ids):
    names = file_names(ids)
    assert len(set(names)) == len(ids)
    assert all(name.strip('./') == name != '' for name in names)


def test_image_id_cuts_image_extensions_alone():
    cases = {'f/a.png': 'a', 'a.TIF': 'a', 'a.b.jpg': 'a.b', 'Misc_1.5': 'Misc_1.5', '.png': '.png', 'f\\a.bmp': 'a'}
    assert {path: image_id(path) for path in cases} == cases


class Samples(list):
    """What is asked of a dataset."""

    get_data_info = list.__getitem__


def test_samples_are_named_by_id_then_by_file():
    samples = Samples([{'img_path': 'x/1.png', 'img_id': '41/1'}, {'img_path': 'x/2.png'}, {'img_path': 'y/2.png'}])
    assert sample_names(samples) == {'x/1.png': '41/1', 'x/2.png': '000001_2', 'y/2.png': '000002_2'}


def test_long_names_fit_into_file_systems_and_stay_apart(tmp_path):
    longest = 'n' * 251
    assert file_names([longest]) == [longest]
    ids = [longest + 'a', longest + 'b', 'ü' * 200, f'{longest}/x', longest, longest]
    names = file_names(ids)
    assert len(set(names)) == len(ids)
    for name in names:
        path = tmp_path / f'{name}.png'
        path.parent.mkdir(exist_ok=True)
        path.touch()
        (tmp_path / f'val_{flat_name(name)}_1000000.png').touch()
