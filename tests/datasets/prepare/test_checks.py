import cv2
import numpy as np
import pytest
from PIL import Image
from prepare_sets import SIZE, picture, save, target

from mmirstd.datasets.prepare.checks import KINDS, FileFinding, examine, hash_pixels, list_values
from mmirstd.datasets.prepare.layouts import SourcePair
from mmirstd.datasets.prepare.sets import SETS
from mmirstd.datasets.prepare.splits import draw_lists, find_duplicates, find_leaks, find_missing, published_ids


def look(tmp_path, image=None, mask=None, known_mismatch=False, **kwargs):
    """Findings about a pair, as a dict of kinds and details; arrays and PIL images are written first."""
    paths = {}
    for kind, content, default in (('images', image, picture('a')), ('masks', mask, target())):
        path = tmp_path / kind / 'a.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        content = default if content is None else content
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, Image.Image):
            content.save(path)
        else:
            extension = '.tiff' if content.dtype.kind == 'f' else '.png'
            path = save(path.with_suffix(extension), content)
        paths[kind] = path
    pair = SourcePair('a', paths['images'], paths['masks'], 'images/a.png', 'masks/a.png')
    facts = examine(pair, known_mismatch=known_mismatch, **kwargs)
    assert all(f.kind in KINDS and f.file in ('images/a.png', 'masks/a.png') for f in facts.findings)
    return facts, {f.kind: f.detail for f in facts.findings}


def test_nothing_to_say(tmp_path):
    facts, found = look(tmp_path)
    assert found == {}
    assert facts == ([], SIZE[::-1], 'L', 'L', 4, hash_pixels(picture('a')))
    assert facts.usable


MASKS = {
    'empty': (np.zeros(SIZE, np.uint8), {'empty-mask': ''}, 0),
    'labels': (target(value=1), {'labels-01': 'values 0, 1'}, 4),
    'gray': (np.where(target() > 0, 200, 64).astype(np.uint8), {'not-binary': 'values 64, 200'}, 4),
    'all': (np.full(SIZE, 255, np.uint8), {'all-target': ''}, 80),
    'all labels': (np.ones(SIZE, np.uint8), {'labels-01': 'values 1', 'all-target': ''}, 80),
    'inverted': (255 - target(), {'mostly-target': '95.0 % target'}, 76),
    'dark': (
        target(value=100),
        {'bad-mask': 'values up to 100, none above the threshold of 127'},
        0,
    ),
    'colors': (np.dstack([target()] * 3), {'mask-channels': '3'}, 4),
    'deep': (target().astype(np.uint16) * 257, {'not-binary': 'values 0, 65535'}, 4),
    'nan': (np.full(SIZE, np.nan, np.float32), {'bad-mask': '80 of 80 values are NaN or infinite'}, 0),
    'alpha': (np.dstack([target()] * 3 + [np.full(SIZE, 9, np.uint8)]), {'mask-channels': '4'}, 4),
}


@pytest.mark.parametrize('name', MASKS)
def test_masks(tmp_path, name):
    mask, expected, num = MASKS[name]
    facts, found = look(tmp_path, mask=mask)
    assert found == expected
    if facts.usable:
        assert facts.target_pixels == num
    assert facts.usable == ('bad-mask' not in expected)


def test_threshold(tmp_path):
    facts, found = look(tmp_path, mask=target(value=100), threshold=50)
    assert found == {'not-binary': 'values 0, 100'}
    assert facts.target_pixels == 4


def test_images(tmp_path):
    gray = picture('a')
    deep = gray.astype(np.uint16) * 200
    assert look(tmp_path, deep)[1] == {'deep': f'uint16, {deep.min()} to {deep.max()}'}
    opaque = np.dstack([gray] * 3 + [np.full(SIZE, 255, np.uint8)])
    assert look(tmp_path, opaque)[1] == {'alpha': 'opaque'}
    opaque[0, 0, 3] = 7
    assert look(tmp_path, opaque)[1] == {'alpha': '7 to 255'}
    facts, found = look(tmp_path, Image.fromarray(np.dstack([gray, gray // 2, gray])).quantize(16))
    assert (facts.mode, found) == ('P', {'palette': ''})
    real = np.where(target() > 0, np.nan, gray).astype(np.float32)
    facts, found = look(tmp_path, real)
    assert found == {'unreadable': '4 values are NaN or infinite'}
    assert not facts.usable


@pytest.mark.parametrize('kind', ['image', 'mask'])
def test_unreadable(tmp_path, kind):
    whole = cv2.imencode('.png', picture('a', (40, 40)))[1].tobytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255
    for content in (b'', b'no image', whole[: len(whole) // 2], whole[:-12], bytes(damaged)):
        facts, found = look(tmp_path, **{kind: content})
        assert found.keys() == {'unreadable'}
        assert found['unreadable'].startswith('not a readable image')
        assert facts.findings[0].file == f'{kind}s/a.png'
        assert not facts.usable


def test_sizes(tmp_path):
    facts, found = look(tmp_path, mask=target((9, 10)))
    assert found == {'size-mismatch': '10x9, its image 10x8'}
    assert not facts.usable
    facts, found = look(tmp_path, mask=target((9, 10)), known_mismatch=True)
    assert found == {'known-mismatch': '10x9, its image 10x8'}
    assert facts.usable


def test_hash_is_of_what_is_seen():
    gray = picture('a')
    color = np.dstack([gray] * 3)
    opaque = np.dstack([color, np.full(SIZE, 255, np.uint8)])
    assert hash_pixels(gray) == hash_pixels(color) == hash_pixels(opaque)
    opaque[0, 0, 3] = 0
    others = [gray.T, gray.reshape(4, 20), gray.astype(np.uint16), opaque, picture('b')]
    hashes = {hash_pixels(image) for image in [gray, *others]}
    assert len(hashes) == 6


def test_list_values():
    assert list_values(np.array([0, 64, 255])) == '0, 64, 255'
    assert list_values(np.arange(20)) == '0, 1, 2, 3, 4, 5, 6, ..., 19 (20)'
    assert list_values(np.array([0, 0.5])) == '0, 0.5'


def test_missing_leaks_and_duplicates():
    splits = {
        'a/train': ['1', '2', '7/x'],
        'a/test': ['3', '9'],
        'b/train': ['3'],
        'b/test': ['1', '7/'],
        'b/val': ['9'],
    }
    assert find_missing(splits, ['1', '2', '3', '7/x']) == [FileFinding('not-listed-file', '9', 'in a/test, b/val')]
    pixels = {'1': 'A', '2': 'B', '3': 'A', '7/x': 'C'}
    assert find_leaks(splits, pixels) == [
        FileFinding('test-in-training', '3', 'same as 1 in a/test'),
        FileFinding('test-in-training', '1', 'same as 3 in b/test'),
    ]
    files = {i: f'images/{i}.png' for i in pixels}
    assert find_duplicates(pixels, files) == [FileFinding('duplicate', 'images/3.png', 'same as images/1.png')]
    for train in ('train', 'trainval'):
        lists = {f'x/{train}_all.txt': ['1'], 'x/test_all.txt': ['2', '3']}
        assert find_leaks(lists, pixels) == [FileFinding('test-in-training', '3', 'same as 1 in x/test_all.txt')]
    assert find_leaks({'train.txt': ['1'], 'test.txt': ['1', '3']}, pixels)[0].file == '3'
    assert find_leaks({'x/train.txt': ['1'], 'test.txt': ['3']}, pixels) == []


def test_published_ids():
    ids = ['training/000000', 'training/000001', 'test/00000']
    assert published_ids(SETS['mdfa'].dataset, ids) == {'official/train': ids[:2], 'official/test': ids[2:]}
    assert len(published_ids(SETS['nuaa-sirst'].dataset, [])['idx_427/test']) == 86
    assert published_ids(SETS['folder'].dataset, ids) == {}


@pytest.mark.parametrize('ratios', [(0.7, 0.1, 0.2), (0.5, 0, 0.5), (1, 0, 0), (0.98, 0.01, 0.01)])
@pytest.mark.parametrize('num', [3, 10, 97])
def test_drawn_lists(ratios, num):
    pixels = {f'{i:03d}': str(i) for i in range(num)}
    lists = draw_lists(pixels, ratios, 3)
    assert [part for part in ('train', 'val', 'test') if part in lists] == [
        part for part, ratio in zip(('train', 'val', 'test'), ratios, strict=True) if ratio
    ]
    assert sorted(i for listed in lists.values() for i in listed) == sorted(pixels)
    assert all(listed for listed in lists.values())
    if num >= 10:
        for part, ratio in zip(('train', 'val', 'test'), ratios, strict=True):
            assert abs(len(lists.get(part, [])) - ratio * num) <= 2
    assert lists == draw_lists(dict(reversed(pixels.items())), ratios, 3)
    if num > 10 and ratios[0] < 1:
        assert lists != draw_lists(pixels, ratios, 4)


def test_drawn_lists_keep_equal_images_together():
    pixels = {f'{i:03d}': str(i // 4) for i in range(120)}
    lists = draw_lists(pixels, (0.6, 0.2, 0.2), 0)
    seen = [{pixels[i] for i in listed} for listed in lists.values()]
    assert sum(map(len, seen)) == len(set().union(*seen)) == 30
    assert [len(listed) for listed in lists.values()] == [72, 24, 24]
    with pytest.raises(ValueError, match='2 different images cannot be divided into 3 splits'):
        draw_lists({'a': '1', 'b': '1', 'c': '2'}, (0.6, 0.2, 0.2), 0)
