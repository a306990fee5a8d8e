"""Split files as people have them."""

import hashlib
import os

import pytest

from mmirstd.io.ids import SplitFileError, decode_text, digest, find_line, parse_ids, read_ids, resolve_entries

IDS = ['Misc_1', 'ä 2', '红外']


@pytest.mark.parametrize(
    'encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'BOM utf-16-le', 'BOM utf-16-be']
)
@pytest.mark.parametrize('newline', ['\n', '\r\n'])
def test_unicode_of_any_kind(tmp_path, encoding, newline):
    path = tmp_path / 'train.txt'
    text = '\ufeff' * encoding.startswith('BOM') + newline.join(IDS) + newline
    path.write_bytes(text.encode(encoding.removeprefix('BOM ')))
    assert read_ids(path) == IDS
    assert find_line(path, '红外') == 3
    assert find_line(path, 'no') is None


@pytest.mark.parametrize(
    'content', ['a\nb\n\ngr\xfcn\n'.encode('latin-1'), 'a\nb\n\n红外'.encode('gbk'), b'a\n\r\nb\nx\0y\n']
)
def test_another_encoding_is_an_error_that_names_the_line(content, tmp_path):
    (tmp_path / 'train.txt').write_bytes(content)
    with pytest.raises(ValueError, match=r'train\.txt, line 4: no text in UTF-8 or UTF-16; save the file in UTF-8'):
        read_ids(tmp_path / 'train.txt')


def test_what_is_no_file_and_what_is_empty(tmp_path):
    os.mkfifo(tmp_path / 'pipe.txt')
    for name, what in (('pipe.txt', 'is no regular file'), ('none.txt', 'does not exist'), ('', 'is no regular file')):
        with pytest.raises(FileNotFoundError, match=rf'split file .*{name}.* {what}'):
            read_ids(tmp_path / name)
    assert decode_text(b'', 'x') == ''
    for text in ('', ' \n\r\n'):
        with pytest.raises(ValueError, match='x: the split is empty; one image id a line is expected'):
            parse_ids(text, 'x')


FOUND = ['a', 'b c', 'seq1/1', 'seq2/1', 'seq2/2', '7']


@pytest.mark.parametrize(
    ('entry', 'img_id'),
    [
        ('images/a.png', 'a'),
        ('./a', 'a'),
        ('C:\\data\\images\\a.png', 'a'),
        ('a_pixels0.png', 'a'),
        ('masks/a_gt', 'a'),
        ('images/a.png masks/a_pixels0.png', 'a'),
        ('a.png\t1', 'a'),
        ('"a.png","masks/a_gt.png"', 'a'),
        ('a.png;a_gt.png', 'a'),
        ('b c.png', 'b c'),
        ('images/b c', 'b c'),
        ('images/seq2/1.bmp', 'seq2/1'),
        ('2', 'seq2/2'),
        ('set/2.png', 'set/2'),  # in another folder than the image
        ('nowhere', 'nowhere'),
        ('a7', 'a7'),
    ],
)
def test_entries_with_folders_suffixes_and_columns(entry, img_id):
    (given,) = parse_ids(entry, 'x')
    assert resolve_entries([given], FOUND, 'x', ['', '_pixels0', '_gt.png']) == [img_id]


@pytest.mark.parametrize(
    ('entry', 'meant'),
    [
        ('1', 'seq1/1, seq2/1'),
        ('7 a', '7, a'),
        ('images/7.png masks/a.png', '7, a'),  # the mask of another image
        ('a.png,7_gt.png', '7, a'),
    ],
)
def test_an_entry_of_several_meanings(entry, meant):
    with pytest.raises(SplitFileError, match=f'x: the entry {entry!r} means {meant}; one image id a line is expected'):
        resolve_entries(parse_ids(entry, 'x'), FOUND, 'x', ['_gt'])


def test_a_name_that_is_no_text_has_a_digest():
    name = os.fsdecode(b'\xe4')
    assert digest([name, 'a']) == hashlib.sha256(b'a\n\xe4').hexdigest()[:12]


def test_two_entries_of_one_image():
    with pytest.raises(ValueError, match='x: 1 duplicate ids: a'):
        resolve_entries(['a', 'images/a'], FOUND, 'x')
