import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from mmirstd.io.files import (
    encode_png,
    figure_pixels,
    refuse_no_folder,
    refuse_overwriting,
    whole_file,
    write_atomically,
    write_png,
)
from mmirstd.io.images import decode_image


def test_refuse_overwriting_names_what_is_there(tmp_path):
    files = [tmp_path / f'{i}.csv' for i in range(9)]
    refuse_overwriting(files)
    refuse_overwriting(str(files[0]))
    files[3].write_text('x')
    with pytest.raises(FileExistsError, match=r'3\.csv exists: .*--overwrite'):
        refuse_overwriting(files)
    with pytest.raises(FileExistsError, match=r'3\.csv'):
        refuse_overwriting(str(files[3]))
    for file in files:
        file.write_text('x')
    with pytest.raises(FileExistsError, match=r'0\.csv, .*4\.csv, \.\.\. exist:'):
        refuse_overwriting(files)
    refuse_overwriting(files, overwrite=True)


def test_refuse_overwriting_takes_empty_folders_only(tmp_path):
    refuse_overwriting(tmp_path)
    (tmp_path / 'a').mkdir()
    with pytest.raises(FileExistsError, match='exists'):
        refuse_overwriting(tmp_path)
    (tmp_path / 'link').symlink_to(tmp_path / 'missing')
    with pytest.raises(FileExistsError, match='link exists'):
        refuse_overwriting([tmp_path / 'link'])


def test_refuse_overwriting_sees_that_the_place_can_be_written(tmp_path):
    (tmp_path / 'notes').touch()
    for overwrite in (False, True):
        with pytest.raises(NotADirectoryError, match='notes is no folder to write to'):
            refuse_overwriting([tmp_path / 'a.csv', tmp_path / 'notes/benchmark.json'], overwrite)


def test_a_place_that_is_no_folder(tmp_path, monkeypatch):
    refuse_no_folder(tmp_path)
    refuse_no_folder(tmp_path / 'a/b')
    monkeypatch.chdir(tmp_path)
    refuse_no_folder('')
    assert not os.listdir(tmp_path)
    Path('file').touch()
    for path in ('file', 'file/a/b'):
        with pytest.raises(NotADirectoryError, match='file is no folder'):
            refuse_no_folder(path)
    Path('gone').symlink_to('nowhere')
    with pytest.raises(NotADirectoryError, match='gone is no folder'):
        refuse_no_folder('gone/a')
    monkeypatch.setattr('os.access', lambda *_: False)  # for root, everything is writable
    with pytest.raises(PermissionError, match='no permission'):
        refuse_no_folder('a')


def interrupt(path, error):
    with whole_file(path) as temporary:
        temporary.write_bytes(b'half')
        raise error


def test_whole_file_keeps_the_old_content_when_writing_fails(tmp_path):
    path = tmp_path / 'new/folder/a.txt'
    write_atomically(path, 'grün')
    assert path.read_text(encoding='utf-8') == 'grün'
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            interrupt(path, error)
        assert path.read_text(encoding='utf-8') == 'grün'
    with pytest.raises(FileNotFoundError), whole_file(path):
        pass  # nothing written
    assert os.listdir(path.parent) == ['a.txt']


@pytest.mark.parametrize('name', ['x' * 251 + '.png', '红' * 83 + '.png', os.fsdecode(b'\xff' * 251) + '.png'])
def test_names_may_be_as_long_as_the_file_system_allows(tmp_path, name):
    write_atomically(tmp_path / name, b'1')
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('shape', [(3, 5), (3, 5, 1), (3, 5, 3), (3, 5, 4)])
def test_png_round_trip(tmp_path, shape, dtype):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    bgr = image[..., [2, 1, 0, 3][: shape[2]]] if len(shape) == 3 and shape[2] > 1 else image
    for order, expected in (('bgr', image), ('rgb', bgr)):
        write_png(tmp_path / 'a.png', image, order)
        found = decode_image((tmp_path / 'a.png').read_bytes(), 'a.png')
        assert found.dtype == dtype
        assert np.array_equal(found, expected.reshape(found.shape))


def test_png_of_bool_is_0_and_255(tmp_path):
    mask = np.eye(4, dtype=bool)
    write_png(str(tmp_path / 'a.PNG'), mask)
    assert np.array_equal(cv2.imread(str(tmp_path / 'a.PNG'), cv2.IMREAD_UNCHANGED), mask * 255)


@pytest.mark.parametrize(
    ('image', 'order', 'message'),
    [
        (np.zeros((4, 4), np.float32), None, 'uint8, uint16 or bool, not float32'),
        (np.zeros((4, 4, 3), np.uint8), None, "'rgb' or 'bgr', not None"),
        (np.zeros((4, 4, 2), np.uint8), 'rgb', r'not \(4, 4, 2\)'),
        (np.zeros(4, np.uint8), None, r'not \(4,\)'),
        (np.zeros((0, 4), np.uint8), None, r'not \(0, 4\)'),
    ],
)
def test_png_refuses_what_is_no_image(tmp_path, image, order, message):
    with pytest.raises(ValueError, match=message):
        encode_png(image, order)
    with pytest.raises(ValueError, match=r'b\.png: .*' + message):
        write_png(tmp_path / 'b.png', image, order)
    assert not os.listdir(tmp_path)


def test_png_needs_its_suffix(tmp_path):
    with pytest.raises(ValueError, match=r'a\.jpg: .*\.png'):
        write_png(Path(tmp_path / 'a.jpg'), np.zeros((2, 2), np.uint8))


def test_pixels_of_a_figure():
    pixels = figure_pixels(Figure(figsize=(2, 1), dpi=50, facecolor=(1, 0, 0)))
    assert pixels.shape == (50, 100, 3)
    assert pixels.dtype == np.uint8
    assert pixels[25, 50].tolist() == [255, 0, 0]


def test_what_is_read_is_never_replaced(tmp_path):
    source, other = tmp_path / 'a.pth', tmp_path / 'b.pth'
    for path in (source, other):
        path.write_text('x')
    (tmp_path / 'link').symlink_to(source)
    for out in (source, tmp_path / 'link'):
        for overwrite in (False, True):
            with pytest.raises(FileExistsError, match='would replace what is read here; choose another place'):
                refuse_overwriting(out, overwrite, inputs=[source, 'https://example.org/a.pth'])
    refuse_overwriting(other, True, inputs=[source, tmp_path / 'none'])
    refuse_overwriting(tmp_path / 'none', inputs=[tmp_path / 'none'])
