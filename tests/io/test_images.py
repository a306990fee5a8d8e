import itertools
import os
import struct
import subprocess
import sys
import zlib
from io import BytesIO

import cv2
import numpy as np
import pytest
from image_writers import COMPRESSIONS, bmp, chunk, png, tiff
from PIL import Image

from mmirstd.apis.measuring import resident_growth
from mmirstd.io.bands import ImageBands
from mmirstd.io.images import Header, decode_image, parse_header, read_header, read_image

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (11, 15), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (11, 15, 3), dtype=np.uint8)


def bgr(pixels):
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.ndim == 3 and pixels.shape[2] > 2 else pixels


def random(dtype, shape):
    if np.dtype(dtype).kind == 'f':
        return RNG.normal(0, 1000, shape).astype(dtype)
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype, endpoint=True)


def check(content, expected, tmp_path=None):
    img = decode_image(content, 'x')
    assert img.dtype == expected.dtype
    assert img.dtype.isnative
    assert img.flags.c_contiguous
    np.testing.assert_array_equal(img, expected)
    header = parse_header(content)
    channels = expected.shape[2] if expected.ndim == 3 else 1
    assert header[:4] == (expected.shape[1], expected.shape[0], channels, expected.dtype)
    if tmp_path:
        (tmp_path / 'x').write_bytes(content)
        assert read_header(tmp_path / 'x') == read_header(str(tmp_path / 'x'), verify=True) == header
        bands = ImageBands(tmp_path / 'x')
        assert (bands.shape, bands.dtype) == (expected.shape[:2], expected.dtype)
        for step in (1, 4, 7, len(img)):
            rows = [bands.rows(top, min(top + step, len(img))) for top in range(0, len(img), step)]
            np.testing.assert_array_equal(np.concatenate(rows), expected, strict=True)
    return header.mode


def saved(image, form, **options):
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize('interlace', [False, True])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('shape', [(31, 45), (1, 1, 2), (7, 2, 2), (5, 9, 3), (1, 1, 3), (33, 21, 4), (40, 1)])
def test_png(shape, dtype, interlace, tmp_path):
    pixels = random(dtype, shape)
    mode = check(png(pixels, filters=(0, 1, 2, 3, 4), interlace=interlace, split=100), bgr(pixels), tmp_path)
    name = 'L' if len(shape) == 2 else {2: 'LA', 3: 'RGB', 4: 'RGBA'}[shape[2]]
    assert mode == (name if dtype == np.uint8 else 'I;16' if name == 'L' else f'{name};uint16')


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_few_bits_and_palettes(bits, tmp_path):
    indices = RNG.integers(0, 2**bits, (13, 17), dtype=np.uint8)
    palette = RNG.integers(0, 256, (2**bits, 3), dtype=np.uint8)
    gray, colors = indices * (255 // (2**bits - 1)), palette[indices][..., ::-1]
    assert check(png(indices, bits), gray, tmp_path) == ('1' if bits == 1 else 'L')
    assert check(tiff(indices, bits=bits), gray, tmp_path) == ('1' if bits == 1 else 'L')
    assert check(tiff(indices, bits=bits, photometric=0), 255 - gray, tmp_path) == ('1' if bits == 1 else 'L')
    for content in (png(indices, bits, palette=palette), tiff(indices, bits=bits, palette=palette)):
        assert check(content, colors, tmp_path) == 'P'
    if bits != 2:
        assert check(bmp(indices, bits, palette), colors, tmp_path) == 'P'
        palette[:, 1:] = palette[:, :1]
        for core in (False, True):
            mode = check(bmp(indices, bits, palette, core=core), palette[indices][..., 0], tmp_path)
            assert mode == ('1' if bits == 1 else 'L')


@pytest.mark.parametrize('top_down', [False, True])
def test_bmp(top_down, tmp_path):
    pixels = random(np.uint8, (9, 13, 4))
    assert check(bmp(pixels[..., :3], 24, top_down=top_down), pixels[..., 2::-1], tmp_path) == 'RGB'
    # what the fourth byte of 32 bits means is not stated
    assert check(bmp(pixels, 32, top_down=top_down), pixels[..., 2::-1], tmp_path) == 'RGB'


def test_run_lengths(tmp_path):
    palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    indices = RNG.integers(0, 2, (9, 300), dtype=np.uint8)
    indices[3] = 7
    check(bmp(indices, 8, palette, rle=True), palette[indices][..., ::-1], tmp_path)


# Every type by itself and compressed once, every compression with whole numbers and floats; all pairs in the long run.
PAIRS = [
    (t, c) if c in (1, 8) or t in ('u1', 'f4') else pytest.param(t, c, marks=pytest.mark.exhaustive)
    for t in ('u1', 'u2', 'u4', 'i1', 'i2', 'i4', 'f2', 'f4', 'f8')
    for c in COMPRESSIONS
]


@pytest.mark.parametrize(('dtype', 'compression'), PAIRS)
def test_tiff(dtype, compression, tmp_path):
    dtype = np.dtype(dtype)
    layouts = [
        {}, {'order': '>', 'tile': 16}, {'planar': True, 'order': '>'}, {'big': True, 'first': True},
        {'planar': True, 'tile': 16, 'rows': 3, 'first': True}, {'big': True, 'order': '>'},
    ]  # fmt: skip
    for number, layout in enumerate(layouts):
        for shape in ((21, 19), (21, 19, 2), (1, 33, 3), (21, 19, 4)):
            for predictor in (1, 2, 3) if dtype.kind == 'f' else (1, 2):
                pixels = random(dtype, shape)
                content = tiff(pixels, compression=compression, predictor=predictor, **layout)
                mode = check(content, bgr(pixels), tmp_path if number == 0 else None)
                gray = {'u1': 'L', 'u2': 'I;16', 'i4': 'I', 'f4': 'F'}.get(dtype.str[1:])
                if gray and len(shape) == 2:
                    assert mode == gray


@pytest.mark.parametrize('bits', [10, 12, 14])
@pytest.mark.parametrize('shape', [(9, 13), (9, 13, 3)])
def test_packed_samples_of_a_sensor(bits, shape, tmp_path):
    pixels = RNG.integers(0, 2**bits, shape, dtype=np.uint16)
    check(tiff(pixels, bits=bits, compression=5), bgr(pixels), tmp_path)
    if len(shape) == 2:
        check(tiff(pixels, bits=bits, photometric=0), 2**bits - 1 - pixels, tmp_path)


def test_reversed_bits():
    reversed_bits = np.packbits(np.unpackbits(GRAY[..., None], axis=2, bitorder='little'), axis=2)[..., 0]
    check(tiff(reversed_bits, tags=[(266, 3, [2])]), GRAY)


def test_cmyk_jpeg_in_tiff():
    image = Image.fromarray(np.kron(COLOR, np.ones((9, 9, 1), np.uint8))).convert('CMYK')
    content = saved(image, 'TIFF', compression='jpeg')
    with Image.open(BytesIO(content)) as reference:
        check(content, bgr(np.array(reference.convert('RGB'))))


def test_white_is_zero_and_previews(tmp_path):
    deep = random(np.uint16, (5, 7))
    check(tiff(deep, photometric=0), 65535 - deep, tmp_path)
    with pytest.raises(ValueError, match='white as zero'):
        decode_image(tiff(deep.astype(np.float32), photometric=0), 'x')
    check(tiff(deep, tags=[(254, 4, [1])], pages=3), deep, tmp_path)
    with pytest.raises(ValueError, match=r'x: not a readable image \(TIFF of several pages; save the one'):
        decode_image(tiff(deep, pages=2), 'x')


def test_old_palettes_of_8_bits():
    palette = RNG.integers(1, 256, (256, 3), dtype=np.uint8)
    table = palette.T.reshape(-1).astype('<u2')
    content = tiff(GRAY, palette=palette)
    content = content.replace((table * 257).tobytes(), table.tobytes())
    check(content, palette[GRAY][..., ::-1])


@pytest.mark.parametrize(
    ('mode', 'compression'),
    [(m, c) for m in ('L', 'RGB', 'LA', 'RGBA') for c in ('tiff_lzw', 'packbits', 'tiff_adobe_deflate', 'zstd', 'lzma')]
    + [('1', 'group3'), ('1', 'group4'), ('1', 'tiff_ccitt'), ('L', 'jpeg'), ('RGB', 'jpeg'), ('I;16', 'tiff_lzw')],
)
def test_tiff_of_libtiff(mode, compression, tmp_path):
    image = Image.fromarray(np.kron(GRAY, np.ones((5, 5), np.uint8)).astype(np.uint16 if mode == 'I;16' else np.uint8))
    image = image if mode == 'I;16' else image.convert(mode)
    content = saved(image, 'TIFF', compression=compression)
    with Image.open(BytesIO(content)) as reference:
        expected = np.array(reference)
    assert check(content, bgr(expected * np.uint8(255) if mode == '1' else expected), tmp_path) == mode


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'TIFF', 'TIFF jpeg', 'TIFF group4'])
def test_orientation_is_ignored(form):
    exif = Image.Exif()
    exif[0x0112] = 6
    form, *compression = form.split()
    options = {'compression': compression[0]} if compression else {}
    image = Image.fromarray(COLOR).convert('1' if compression == ['group4'] else 'RGB')
    plain = decode_image(saved(image, form, **options), 'x')
    turned = decode_image(saved(image, form, exif=exif, **options), 'x')
    assert turned.shape[:2] == COLOR.shape[:2]
    np.testing.assert_array_equal(turned, plain)
    if form == 'TIFF' and not compression:
        for kind in (3, 4):
            for big in (False, True):
                check(tiff(COLOR, tags=[(274, kind, [8])], big=big, order='>'), bgr(COLOR))


@pytest.mark.parametrize('mode', ['L', 'RGB', 'CMYK'])
@pytest.mark.parametrize('options', [{}, {'progressive': True}, {'quality': 40, 'restart_marker_rows': 1}])
def test_jpeg(mode, options):
    content = saved(Image.fromarray(np.kron(COLOR, np.ones((9, 9, 1), np.uint8))).convert(mode), 'JPEG', **options)
    img = decode_image(content, 'x')
    with Image.open(BytesIO(content)) as image:
        expected = bgr(np.array(image.convert('RGB') if mode == 'CMYK' else image))
    assert np.abs(img - expected.astype(int)).max() <= (0 if mode == 'L' else 4)
    assert parse_header(content) == Header(135, 99, 1 if mode == 'L' else 3, np.dtype(np.uint8), mode)


def test_what_follows_a_jpeg_is_not_read():
    image = Image.fromarray(GRAY)
    content = saved(image, 'MPO', save_all=True, append_images=[Image.fromarray(255 - GRAY)])
    first = content[: content.index(b'\xff\xd9') + 2]
    expected = decode_image(saved(image, 'JPEG'), 'x')
    for more in (content, content[:-9], first):
        np.testing.assert_array_equal(decode_image(more, 'x'), expected)
    with pytest.raises(ValueError, match=r'x: not a readable image \(truncated JPEG'):
        decode_image(first[:-1], 'x')


def test_an_end_marker_in_a_preview_is_not_the_end():
    exif = Image.Exif()
    content = saved(Image.fromarray(GRAY), 'JPEG', exif=exif.tobytes() + saved(Image.fromarray(GRAY), 'JPEG'))
    assert content.count(b'\xff\xd9') == 2
    decode_image(content, 'x')
    with pytest.raises(ValueError, match='truncated JPEG'):
        decode_image(content[: content.rindex(b'\xff\xda') + 30], 'x')


def test_a_transparent_color_counts_for_nothing():
    for pixels, value in ((GRAY, b'\0\3'), (COLOR, b'\0\1\0\2\0\3')):
        check(png(pixels, extra=chunk(b'tRNS', value)), bgr(pixels))
    palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    check(png(GRAY, palette=palette, extra=chunk(b'tRNS', bytes(range(256)))), palette[GRAY][..., ::-1])


def jpeg_header(width, height):
    content = saved(Image.fromarray(GRAY), 'JPEG')
    at = content.index(b'\xff\xc0') + 5
    return content[:at] + struct.pack('>HH', height, width) + content[at + 4 :]


def png_header(width, height):
    content = png(GRAY)
    return content[:8] + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)) + content[33:]


def bmp_header(width, height):
    content = bytearray(bmp(COLOR, 24))
    content[18:26] = struct.pack('<ii', width, height)
    return bytes(content)


def tiff_header(width, height, **options):
    content = bytearray(tiff(GRAY, first=True, **options))
    content[18:22] = struct.pack('<I', width)
    content[30:34] = struct.pack('<I', height)
    return bytes(content)


PREDICTOR_1, PREDICTOR_2 = (struct.pack('<HHIH', 317, 3, 1, value) for value in (1, 2))
TILE_0 = struct.pack('<HHII', 322, 4, 1, 0)
HEADERS = [jpeg_header, png_header, bmp_header, tiff_header]


@pytest.mark.parametrize('write', HEADERS)
@pytest.mark.parametrize('size', [(100000, 100000), (65000, 65000), (60000, 1000), (1000, 60000), (0, 9), (9, 0)])
def test_headers_that_promise_too_much(write, size, tmp_path):
    if max(size) > 65535 and write is jpeg_header:
        size = (65535, 65535)
    content = write(*size)
    np.testing.assert_array_equal(parse_header(write(15, 11))[:2], (15, 11))
    path = tmp_path / 'bomb'
    path.write_bytes(content)

    def read():
        with pytest.raises(ValueError, match='x: not a readable image'):
            decode_image(content, 'x')
        with pytest.raises(ValueError, match='bomb: not a readable image'):
            read_header(path, verify=True)

    assert resident_growth(read, 0) < 1 << 26


def test_compressed_bombs():
    content = tiff(np.zeros((1, 1), np.uint8), compression=8, rows=1)
    bomb = tiff(np.zeros((500, 500), np.uint8), compression=8, rows=500)
    np.testing.assert_array_equal(decode_image(content, 'x'), 0)
    # A strip that inflates to more than its rows: what is too much is never written out.
    at = bomb.index(struct.pack('<HHII', 257, 4, 1, 500))
    small = bomb[:at] + struct.pack('<HHII', 257, 4, 1, 2) + bomb[at + 12 :]
    with pytest.raises(ValueError, match='INSUFFICIENT_SPACE'):
        decode_image(small, 'x')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'empty file'),
        (b'GIF89a', 'neither PNG, BMP, JPEG nor TIFF'),
        (b'BM', 'truncated'),
        (b'II*\0', 'truncated'),
        (b'\xff\xd8\xff', 'truncated'),
        (b'\xff\xd8\xff\xd9', 'truncated JPEG header'),
        (b'\xff\xd8\xff\xe0\0\2\0', 'truncated JPEG header'),
        (png(GRAY)[:40], 'truncated PNG'),
        (png(GRAY)[:-12], 'truncated PNG'),
        (png(GRAY)[:12] + b'JUNK' + png(GRAY)[16:], 'damaged or truncated PNG header'),
        (png(GRAY).replace(b'IDAT', b'IDAT'[::-1]), 'truncated PNG header'),
        (png(GRAY)[:60] + b'!' + png(GRAY)[61:], 'damaged PNG'),
        (png(GRAY, extra=chunk(b'acTL', bytes(8))), 'animated PNG'),
        (bmp(COLOR, 24)[:-1], 'truncated BMP'),
        (bmp(GRAY, 8, RNG.integers(0, 256, (256, 3), dtype=np.uint8))[:99], 'truncated BMP'),
        (bmp(GRAY, 8, RNG.integers(0, 256, (256, 3), dtype=np.uint8), core=True), 'OS/2 BMP'),
        (bmp(COLOR, 24, core=True), 'OS/2 BMP of colors'),
        (
            bmp(COLOR, 24).replace(struct.pack('<HHI', 1, 24, 0), struct.pack('<HHI', 1, 24, 4)),
            r'Unsupported BMP compression \(4\)',
        ),
        (saved(Image.fromarray(COLOR).convert('LAB'), 'TIFF'), 'photometric interpretation 8'),
        (saved(Image.fromarray(COLOR).convert('CMYK'), 'TIFF'), 'photometric interpretation 5'),
        (tiff(GRAY, predictor=7, compression=8), '7 is not a known PREDICTOR'),
        (tiff(GRAY & 1, bits=1, compression=8).replace(PREDICTOR_1, PREDICTOR_2), '1 bits with predictor 2'),
        (
            tiff(GRAY).replace(struct.pack('<HHII', 259, 3, 1, 1), struct.pack('<HHII', 259, 3, 1, 99)),
            '99> not supported',
        ),
        (tiff(COLOR).replace(struct.pack('<HHH', 8, 8, 8), struct.pack('<HHH', 8, 8, 9)), 'channels differ in type'),
        (tiff(GRAY).replace(struct.pack('<HHII', 258, 3, 1, 8), struct.pack('<HHII', 258, 3, 1, 5)), '5 bits'),
        (tiff(GRAY).replace(struct.pack('<HHI', 262, 3, 1), struct.pack('<HHI', 999, 3, 1)), r'without the tags \[262'),
        (tiff(GRAY, rows=99)[:100], 'truncated'),
        (tiff(GRAY, first=True)[:-1], 'truncated: '),
        (tiff(GRAY, rows=0, tile=16).replace(struct.pack('<HHII', 322, 4, 1, 16), TILE_0), 'damaged or not supported'),
        (
            tiff(GRAY).replace(struct.pack('<HHII', 278, 4, 1, 7), struct.pack('<HHII', 278, 4, 1, 1)),
            r'StripByteCounts count \(2 != 11\)',
        ),
        (tiff(GRAY, palette=np.zeros((9, 3), np.uint8)), 'palette of 27 values'),
        (tiff(GRAY, compression=8, first=True)[:-4] + bytes(4), 'damaged'),
        (tiff(GRAY, compression=5, first=True)[:-40] + b'\xff' * 40, 'damaged'),
    ],
)
def test_errors_say_what_is_wrong(content, message):
    with pytest.raises(ValueError, match=rf'^x: not a readable image \(.*{message}'):
        decode_image(content, 'x')


@pytest.mark.parametrize('tag', [256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 339])
def test_tags_of_another_type(tag):
    """A tag that is no whole number, several or none: the file is refused, or what comes out is what it says."""
    for kind, number in itertools.product([0, 2, 5, 7, 12, 16], [0, 1, 2, 9]):
        content = bytearray(tiff(GRAY, first=True))
        at = next(at for at in range(10, 200, 12) if content[at : at + 2] == struct.pack('<H', tag))
        struct.pack_into('<HI', content, at + 2, kind, number)
        found = outcome(bytes(content))
        if isinstance(found, str):
            assert found.startswith('x: not a readable image (')
        else:
            assert found.shape[:2] == parse_header(bytes(content))[1::-1]


def outcome(content):
    try:
        return decode_image(content, 'x')
    except ValueError as error:
        return str(error)


def test_directories_that_do_not_end():
    content = tiff(GRAY, tags=[(254, 4, [1])], first=True)
    (count,) = struct.unpack_from('<H', content, 8)
    at = 10 + 12 * count
    with pytest.raises(ValueError, match='circular reference'):
        decode_image(content[:at] + struct.pack('<I', 8) + content[at + 4 :], 'x')


def test_old_tiff_without_sizes():
    content = tiff(GRAY, rows=99, first=True)
    assert content.count(struct.pack('<HH', 279, 4)) == 1
    check(content.replace(struct.pack('<HH', 279, 4), struct.pack('<HH', 65001, 4)), GRAY)


def test_a_damaged_png_passes_the_header_and_not_verification(tmp_path):
    path = tmp_path / 'x.png'
    content = bytearray(png(GRAY))
    content[60] ^= 1
    path.write_bytes(content)
    assert read_header(path) == (15, 11, 1, np.uint8, 'L')
    with pytest.raises(ValueError, match=r"x\.png: not a readable image \(damaged PNG: checksum of b'IDAT'\)"):
        read_header(path, verify=True)
    path.write_bytes(b'')
    with pytest.raises(ValueError, match=r'x\.png: not a readable image \(empty file\)'):
        read_header(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'x\.png'):
        read_header(path)


def test_through_a_file_backend(tmp_path):
    (tmp_path / 'x.tif').write_bytes(tiff(GRAY))
    arguments = {'backend': 'local'}
    assert read_header(f'{tmp_path}/x.tif', arguments, verify=True) == (15, 11, 1, np.uint8, 'L')


WITHOUT_IMAGECODECS = """
import sys
from pathlib import Path

sys.modules['imagecodecs'] = None
from mmirstd.io.images import decode_image

for path in map(Path, sys.argv[1:]):
    try:
        print(path.name, decode_image(path.read_bytes(), path.name).shape)
    except ValueError as error:
        print(error)
"""


def test_compressions_without_imagecodecs(tmp_path):
    """What Python and NumPy can decompress is read; for the rest, the error names the extra."""
    gray = Image.fromarray(GRAY)
    plain = {f'tiff-{c}': tiff(GRAY, compression=c, predictor=2) for c in COMPRESSIONS if c != 5}
    plain |= {'tiff-1-bit': tiff(GRAY & 1, bits=1), 'tiff-lzma': saved(gray, 'TIFF', compression='lzma')}
    extra = {'tiff-lzw': tiff(GRAY, compression=5), 'tiff-2-bits': tiff(GRAY & 3, bits=2)}
    extra |= {
        'tiff-12-bits': tiff(GRAY.astype(np.uint16), bits=12),
        'tiff-jpeg': saved(gray, 'TIFF', compression='jpeg'),
    }
    extra['tiff-float'] = tiff(GRAY.astype(np.float32), compression=8, predictor=3)
    for compression in ('group3', 'group4', 'tiff_ccitt'):
        plain[f'tiff-{compression}'] = saved(gray.convert('1'), 'TIFF', compression=compression)
    if sys.version_info < (3, 14):  # has Zstandard
        extra['tiff-zstd'] = saved(gray, 'TIFF', compression='zstd')
    for name, content in (plain | extra).items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, '-c', WITHOUT_IMAGECODECS, *(str(tmp_path / name) for name in plain | extra)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[: len(plain)] == [f'{name} (11, 15)' for name in plain]
    for name, line in zip(extra, lines[len(plain) :], strict=True):
        assert line.startswith(f'{name}: not a readable image (')
        assert "pip install 'mmirstd[tiff]'" in line


@pytest.mark.filterwarnings('error')
def test_headers_of_large_images_are_read_without_a_warning(tmp_path):
    """Pillow warns from 89 million pixels on."""
    small = cv2.imencode('.png', np.zeros((2, 2), np.uint8))[1].tobytes()

    def write(width, height):
        size = small[12:16] + struct.pack('>II', width, height) + small[24:29]
        path = tmp_path / 'large.png'
        path.write_bytes(small[:12] + size + struct.pack('>I', zlib.crc32(size)) + small[33:])
        return path

    for width in (9600, 11_585):
        assert read_header(write(width, 11_585))[:2] == (width, 11_585)
    with pytest.raises(ValueError, match=r'large\.png.*11586x11585 is more than the 134217728 pixels that are allowed'):
        read_header(write(11_586, 11_585))


@pytest.mark.parametrize('kind', ['pipe', 'device'])
def test_special_files_are_refused(kind, tmp_path):
    path = tmp_path / 'a.png'
    if kind == 'pipe':
        os.mkfifo(path)
    else:
        path.symlink_to('/dev/zero')
    for read in (read_header, read_image):
        with pytest.raises(ValueError, match=r'a\.png: not a readable image \(no regular file\)'):
            read(path)
