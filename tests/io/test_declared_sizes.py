"""What a file declares is compared with its size before memory is taken."""

import struct
import zipfile
import zlib
from io import BytesIO

import numpy as np
import pytest
import tifffile
from scipy.io import savemat

from mmirstd.evaluation.analysis.predictions import read_prediction
from mmirstd.io import images, tiff
from mmirstd.io.images import decode_image, parse_header, refuse_expansion


def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def png_of(width, height, bits, color):
    header = struct.pack('>IIBBBBB', width, height, bits, color, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', b'x' * 1000) + chunk(b'IEND', b'')


def test_a_png_of_a_gigabyte():
    assert parse_header(png_of(11585, 11585, 8, 0)).width == 11585  # 134 MB, as the number of pixels allows
    with pytest.raises(ValueError, match=r'11585x11585x4 uint16 takes 1073697800 bytes, from a file of \d+'):
        decode_image(png_of(11585, 11585, 16, 6), 'a.png')


def test_what_a_large_file_may_hold():
    refuse_expansion(2**28, 10, 'an image')
    refuse_expansion(2**30, 2**27, 'an image')
    with pytest.raises(ValueError, match='an image takes'):
        refuse_expansion(2**28 + 1, 10, 'an image')


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(images, 'MAX_BYTES', 10_000)
    monkeypatch.setattr(images, 'MAX_EXPANSION', 1)


@pytest.mark.parametrize('kind', ['npz', 'npy', 'mat', 'single.mat'])
def test_predictions(kind, tmp_path, small, monkeypatch):
    path = tmp_path / f'a.{kind}'
    zeros = np.zeros((100, 100), np.float32 if kind == 'single.mat' else np.float64)
    if kind == 'npz':
        np.savez_compressed(path, zeros)
    elif kind == 'npy':
        np.save(path, zeros)
        path.write_bytes(path.read_bytes()[:1000])
    else:
        savemat(path, {'T': zeros}, do_compression=True)
    with pytest.raises(ValueError, match=rf'a\.{kind}: 100x100 .* takes {zeros.nbytes} bytes, from a file of \d+'):
        read_prediction(path)
    monkeypatch.setattr(images, 'MAX_BYTES', 10**6)
    if kind != 'npy':
        assert not read_prediction(path).any()


def test_an_npz_whose_header_says_gigabytes(tmp_path):
    header = BytesIO()
    np.lib.format.write_array_header_1_0(header, {'descr': '<f8', 'fortran_order': False, 'shape': (30000, 30000)})
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('probability.npy', header.getvalue() + bytes(10**6))
    with pytest.raises(ValueError, match=r'a\.npz: 30000x30000 float64 takes 7200000000 bytes'):
        read_prediction(tmp_path / 'a.npz')


@pytest.mark.parametrize('compression', ['zlib', 'lzma'])
def test_a_tiff_whose_part_inflates_to_more_than_the_image(compression, monkeypatch):
    monkeypatch.setattr(tiff, '_SMALL', 1000)
    content = BytesIO()
    tifffile.imwrite(content, np.zeros((500, 400), np.uint8), compression=compression, rowsperstrip=500)
    assert decode_image(content.getvalue(), 'a.tif').shape == (500, 400)
    with tifffile.TiffFile(BytesIO(content.getvalue())) as file:
        tags = file.pages[0].tags
        places = [(tags[name].valueoffset, tags[name].dtype) for name in ('ImageLength', 'RowsPerStrip')]
    changed = bytearray(content.getvalue())
    for offset, dtype in places:
        struct.pack_into('<H' if dtype == 3 else '<I', changed, offset, 5)
    with pytest.raises(ValueError, match=r'a\.tif: .* a part that inflates to more than its 2000 bytes'):
        decode_image(bytes(changed), 'a.tif')
