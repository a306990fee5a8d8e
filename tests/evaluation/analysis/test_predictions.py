"""Prediction files: values there and back, names, and what does not fit."""

import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy.io import savemat

from mmirstd.apis.evaluate import load_split
from mmirstd.datasets.published_splits import load_published
from mmirstd.evaluation.analysis import predictions as P
from mmirstd.evaluation.analysis.pairing import file_id, pair_files

RNG = np.random.default_rng(0)
NEAR_HALF = np.array(
    [[0, 0.5, np.nextafter(np.float32(0.5), np.float32(1)), np.nextafter(np.float32(0.5), np.float32(0))],
     [0.5019, 0.498, 127.4 / 255, 127.6 / 255], [1, 0.001, 0.50196, 128 / 255], [0.25, 0.75, 0.999, 1e-30]],
    np.float32,
)  # fmt: skip


def png(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def square(size=16, at=4):
    values = np.zeros((size, size), np.uint8)
    values[at : at + 3, at : at + 3] = 255
    return values


@given(hnp.arrays(np.float32, (7, 5), elements=st.floats(0, 1, width=32)))
@settings(max_examples=200, deadline=None)
def test_rounding_keeps_what_is_positive(values):
    for rounded, positive in ((P.to_uint8(values) / 255, P.to_uint8(values) >= 128), (P.to_half(values), None)):
        np.testing.assert_array_equal(rounded > 0.5, values > 0.5)
        if positive is not None:
            np.testing.assert_array_equal(positive, values > 0.5)
    assert np.abs(P.to_uint8(values) / 255 - values).max() <= 0.5 / 255 + 1e-7
    assert np.abs(P.to_half(values).astype(np.float64) - values).max() <= 2**-11 + 1e-7


def test_rounding_next_to_the_threshold():
    np.testing.assert_array_equal(P.to_uint8(NEAR_HALF) >= 128, NEAR_HALF > 0.5)
    np.testing.assert_array_equal(P.to_half(NEAR_HALF) > 0.5, NEAR_HALF > 0.5)
    assert P.to_uint8(NEAR_HALF)[0].tolist() == [0, 127, 128, 127]
    assert P.to_uint8(NEAR_HALF.astype(np.float64)).tolist() == P.to_uint8(NEAR_HALF).tolist()


@pytest.mark.parametrize(('name', 'dtype'), [('a.png', 'float32'), ('b.npz', 'float32'), ('c.npz', 'float16')])
def test_written_files_are_read_as_they_were(tmp_path, name, dtype):
    path = tmp_path / 'deep' / name
    P.write_prediction(path, NEAR_HALF, dtype)
    assert [p.name for p in path.parent.iterdir()] == [name]
    read = P.read_prediction(path)
    assert read.dtype == np.float32
    assert P.prediction_shape(path) == (4, 4)
    np.testing.assert_array_equal(read > 0.5, NEAR_HALF > 0.5)
    if dtype == 'float32' and name.endswith('npz'):
        np.testing.assert_array_equal(read, NEAR_HALF)
    else:
        np.testing.assert_allclose(read, NEAR_HALF, atol=0.5 / 255 if name.endswith('png') else 2**-11)


@pytest.mark.parametrize('value', [np.nan, np.inf, -0.1, 1.1])
@pytest.mark.parametrize('name', ['a.png', 'a.npz'])
def test_what_is_no_probability_is_not_written(tmp_path, name, value):
    with pytest.raises(ValueError, match=name):
        P.write_prediction(tmp_path / name, np.full((2, 2), value, np.float32))
    with pytest.raises(ValueError, match=r'a\.jpg: probabilities are written as \.png or \.npz'):
        P.write_prediction(tmp_path / 'a.jpg', NEAR_HALF)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('mmirstd.io.files.replace_durably', full)
    with pytest.raises(OSError, match='No space'):
        P.write_prediction(tmp_path / 'a.png', NEAR_HALF)
    assert not list(tmp_path.iterdir())


def test_images_are_positive_from_128_on(tmp_path):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    read = P.read_prediction(png(tmp_path / 'a.png', values))
    np.testing.assert_array_equal(read > 0.5, values >= 128)
    np.testing.assert_array_equal(read, values.astype(np.float32) / 255)
    assert P.read_prediction(png(tmp_path / 'rgb.png', np.stack([values] * 3, 2))).tolist() == read.tolist()
    deep = np.array([[0, 32767, 32768, 65535]], np.uint16)
    assert (P.read_prediction(png(tmp_path / 'deep.png', deep)) > 0.5).tolist() == [[False, False, True, True]]
    cv2.imwrite(str(tmp_path / 'float.tiff'), NEAR_HALF)
    np.testing.assert_array_equal(P.read_prediction(tmp_path / 'float.tiff'), NEAR_HALF)


@pytest.mark.parametrize(
    ('save', 'values', 'expected'),
    [
        ('npy', NEAR_HALF, NEAR_HALF),
        ('npy', NEAR_HALF[None, :, :, None], NEAR_HALF),
        ('npy', NEAR_HALF.astype(np.float64), NEAR_HALF.astype(np.float64)),
        ('npy', NEAR_HALF > 0.5, NEAR_HALF > 0.5),
        ('npy', (NEAR_HALF > 0.5).astype(np.uint8), NEAR_HALF > 0.5),
        ('npy', (NEAR_HALF > 0.5).astype(np.uint8) * 200, (NEAR_HALF > 0.5) * np.float32(200) / np.float32(255)),
        ('npy', np.full((1, 4), 0.5, np.float32), np.full((1, 4), 0.5)),
        ('npz', {'whatever': NEAR_HALF}, NEAR_HALF),
        ('npz', {'other': square(), 'prob': NEAR_HALF}, NEAR_HALF),
        ('mat', {'T': NEAR_HALF}, NEAR_HALF),
        ('mat', {'T': NEAR_HALF, 'b': np.zeros(3)}, NEAR_HALF),
    ],
)
def test_array_files(tmp_path, save, values, expected):
    path = tmp_path / f'a.{save}'
    {'npy': np.save, 'npz': lambda p, v: np.savez(p, **v), 'mat': savemat}[save](path, values)
    read = P.read_prediction(path)
    assert read.dtype == (
        np.float64 if np.asarray(expected).dtype == values_dtype(values) == np.float64 else np.float32
    )
    np.testing.assert_array_equal(read, expected)
    assert P.prediction_shape(path) == expected.shape


def values_dtype(values):
    return values.dtype if isinstance(values, np.ndarray) else np.float32


def bad_file(tmp_path, kind):
    path = tmp_path / f'bad_{kind}.{kind.split("_")[0]}'
    arrays = {
        'npy_logits': np.array([[-3.0, 4.0]]),
        'npy_nan': np.array([[0.5, np.nan]]),
        'npy_channels': np.zeros((2, 4, 4)),
        'npy_empty': np.zeros((0, 4)),
        'npy_int': np.zeros((4, 4), np.int64),
        'npy_pickle': np.array([[object()]], dtype=object),
    }
    if kind in arrays:
        np.save(path, arrays[kind], allow_pickle=True)
    elif kind == 'npz_names':
        np.savez(path, a=NEAR_HALF, b=NEAR_HALF)
    elif kind == 'png_color':
        png(path, np.dstack([square(), square(at=6), square()]))
    else:
        path.write_bytes(b'\x89PNG or what?')
    return path


@pytest.mark.parametrize(
    ('kind', 'message'),
    [
        ('npy_logits', r'probabilities must lie in \[0, 1\], got \[-3.0, 4.0\]; are these logits\?'),
        ('npy_nan', '1 values that are not finite'),
        ('npy_channels', r'one map \(H, W\) is needed, got an array of shape \(2, 4, 4\)'),
        ('npy_empty', 'one map'),
        ('npy_int', 'probabilities, uint8, uint16 or bool are needed, not int64'),
        ('npy_pickle', 'pickle'),
        ('npy_text', 'bad_npy_text'),
        ('npz_names', 'holds a, b; say which with --key'),
        ('npz_text', 'bad_npz_text'),
        ('mat_text', 'bad_mat_text'),
        ('png_color', 'a picture in colors'),
        ('png_text', 'bad_png_text'),
    ],
)
def test_bad_files_are_named(tmp_path, kind, message):
    path = bad_file(tmp_path, kind)
    with pytest.raises(ValueError, match=message) as error:
        P.read_prediction(path)
    assert path.name in str(error.value)


def test_keys(tmp_path):
    np.savez(tmp_path / 'a.npz', a=NEAR_HALF, b=NEAR_HALF / 2)
    np.testing.assert_array_equal(P.read_prediction(tmp_path / 'a.npz', key='b'), NEAR_HALF / 2)
    with pytest.raises(ValueError, match='holds a, b; no c'):
        P.read_prediction(tmp_path / 'a.npz', key='c')
    with zipfile.ZipFile(tmp_path / 'none.npz', 'w'):
        pass
    with pytest.raises(ValueError, match='holds nothing'):
        P.read_prediction(tmp_path / 'none.npz')


def test_labels_are_told_by_the_folder(tmp_path):
    none, ones, faint = np.zeros((8, 8), np.uint8), square(8) // 255, square(8) // 255
    a, b = png(tmp_path / 'a.png', none), png(tmp_path / 'b.png', ones)
    assert P.hold_labels([a, b])
    assert not P.hold_labels([a])
    assert not P.hold_labels([a, png(tmp_path / 'c.png', square(8)), png(tmp_path / 'd.png', faint)])
    assert not P.hold_labels([tmp_path / 'a.npz'])
    assert P.read_prediction(b, labels=True).max() == 1
    assert P.read_prediction(b).max() == np.float32(1) / 255
    assert P.read_prediction(a, labels=True).max() == 0


@pytest.mark.parametrize(
    ('stem', 'suffix', 'expected'),
    [
        ('Misc_1', None, 'Misc_1'),
        ('Misc_1_pixels0', None, 'Misc_1'),
        ('Misc_1_Pred', None, 'Misc_1'),
        ('000001-mask', None, '000001'),
        ('41/1(297)_gt', None, '41/1(297)'),
        ('_pred', None, '_pred'),
        ('000001_1', '_1', '000001'),
        ('000001_2', '_1', None),
        ('Misc_1_pred', '', 'Misc_1_pred'),
        ('_1', '_1', None),
    ],
)
def test_ids(stem, suffix, expected):
    assert file_id(stem, suffix) == expected


def folders(tmp_path, predictions, masks, size=16):
    for folder, names in (('pred', predictions), ('mask', masks)):
        for name in names:
            png(tmp_path / folder / name, square(size))
    return tmp_path / 'pred', tmp_path / 'mask'


def test_pairs_by_stem(tmp_path):
    pred, mask = folders(tmp_path, ['Misc_2_pred.png', 'Misc_1_pred.png', '.hidden.png'], ['Misc_1_pixels0.png'])
    np.savez(pred / 'Misc_3.npz', np.zeros((5, 6)))
    png(mask / 'Misc_3_pixels0.png', square())
    (mask / 'readme.txt').write_text('no mask')
    pairing = pair_files(pred, mask)
    assert [(p.img_id, p.prediction.name, p.mask.name) for p in pairing.pairs] == [
        ('Misc_1', 'Misc_1_pred.png', 'Misc_1_pixels0.png'),
        ('Misc_3', 'Misc_3.npz', 'Misc_3_pixels0.png'),
    ]
    assert pairing.extra == ['Misc_2_pred.png']
    assert pairing.missing == []
    assert pairing.sizes == {'Misc_3': 'Misc_3.npz is 6x5, Misc_3_pixels0.png is 16x16'}
    assert pairing.pairs[1].prediction_shape == (5, 6)


def test_a_split_says_what_is_evaluated_and_in_which_order(tmp_path):
    pred, mask = folders(tmp_path, ['a.png', 'b.png', 'x.png'], ['a_gt.png', 'b_gt.png', 'c_gt.png'])
    images = tmp_path / 'images'
    for name in 'abc':
        png(images / f'{name}.bmp', square())
    pairing = pair_files(pred, mask, ids=['c', 'b_gt'], img_dir=images)
    assert [(p.img_id, p.prediction and p.prediction.name, p.image.name) for p in pairing.pairs] == [
        ('c', None, 'c.bmp'),
        ('b', 'b.png', 'b.bmp'),
    ]
    assert (pairing.missing, pairing.extra, pairing.unlisted) == (['c'], ['x.png'], 1)
    with pytest.raises(FileNotFoundError, match=r'1 of 2 ids have no mask in .*mask: d'):
        pair_files(pred, mask, ids=['a', 'd'])
    (images / 'b.bmp').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 3 ids have no image in .*images: b'):
        pair_files(pred, mask, img_dir=images)


def test_one_folder_for_both(tmp_path):
    both = tmp_path / 'pred'
    folders(tmp_path, ['a_1.png', 'a_2.png', 'b_1.png', 'b_2.png'], [])
    with pytest.raises(ValueError, match='is the folder of the masks, too: give --pred-suffix and --mask-suffix'):
        pair_files(both, both)
    pairing = pair_files(both, both, pred_suffix='_2', mask_suffix='_1')
    assert [(p.prediction.name, p.mask.name) for p in pairing.pairs] == [('a_2.png', 'a_1.png'), ('b_2.png', 'b_1.png')]
    assert (pairing.missing, pairing.extra, pairing.sizes) == ([], [], {})


def test_nested_folders(tmp_path):
    pred, mask = folders(tmp_path, ['41/a.png', '42/a.png'], ['41/a_gt.png', '42/a_gt.png'])
    with pytest.raises(FileNotFoundError, match='folders below are searched with --nested'):
        pair_files(pred, mask)
    pairs = pair_files(pred, mask, nested=True).pairs
    assert [p.img_id for p in pairs] == ['41/a', '42/a']
    assert [p.prediction for p in pairs] == [pred / '41/a.png', pred / '42/a.png']
    assert [p.img_id for p in pair_files(pred, mask, nested=True, ids=['42/']).pairs] == ['42/a']


def test_mistakes(tmp_path):
    pred, mask = folders(tmp_path, ['a.png', 'a_pred.png'], ['a.png'])
    with pytest.raises(
        ValueError, match=r"a.png and a_pred.png both belong to id 'a'; tell them apart with --pred-suf"
    ):
        pair_files(pred, mask)
    assert pair_files(pred, mask, pred_suffix='_pred').pairs[0].prediction.name == 'a_pred.png'
    with pytest.raises(FileNotFoundError, match="whose names end in '_no'"):
        pair_files(pred, mask, pred_suffix='_no')
    with pytest.raises(FileNotFoundError, match='there is no folder'):
        pair_files(tmp_path / 'none', mask)
    (pred / 'a_pred.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r'a_pred\.png'):
        pair_files(pred, mask, pred_suffix='_pred')


def test_splits(tmp_path):
    (tmp_path / 'mine.txt').write_text('b.png\na\n')
    assert load_split(str(tmp_path / 'mine.txt')) == ('mine.txt', ['b', 'a'])
    name, ids = load_split('NUAA-SIRST dnanet/test')
    assert name == 'NUAA-SIRST basicirstd/test'
    assert ids == load_published('NUAA-SIRST', 'basicirstd/test')[1]
    with pytest.raises(ValueError, match="unknown split 'nope/test' of NUAA-SIRST"):
        load_split('NUAA-SIRST nope/test')
    for wrong in ('nope.txt', 'NoSet basicirstd/test'):
        with pytest.raises(FileNotFoundError, match=r'give a text file, or the name of a published one .*NUDT-SIRST'):
            load_split(wrong)


def test_one_temporary_file_per_process(tmp_path, monkeypatch):
    seen = []

    def look(temporary, path):
        seen.append(temporary.name)
        os.replace(temporary, path)

    monkeypatch.setattr('mmirstd.io.files.replace_durably', look)
    P.write_prediction(tmp_path / 'a.png', NEAR_HALF)
    assert seen == [f'.a.png.{os.getpid()}.tmp']
    assert Path(tmp_path / 'a.png').is_file()
