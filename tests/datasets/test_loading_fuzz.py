"""Image files of every kind, intact, cut off, damaged and made up, through the loaders.

A few by default, 10,000 with MMIRSTD_ALL_TESTS=1; with -s the cases are counted in the output.
"""

import os
import sys
from collections import Counter
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask
from mmirstd.io.images import decode_image, read_header

sys.path.insert(0, str(Path(__file__).parents[1] / 'io'))
from image_writers import COMPRESSIONS, bmp, png, tiff

EXAMPLES = 220 if os.environ.get('MMIRSTD_ALL_TESTS', '') not in ('', '0') else 12
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=timedelta(seconds=20),  # nothing may hang
    suppress_health_check=list(HealthCheck),
)
CASES = Counter()


@pytest.fixture(scope='module', autouse=True)
def quiet_and_counted():
    # OpenCV, libtiff and libpng report every damaged file on stderr.
    log = getattr(cv2, 'setLogLevel', None) or cv2.utils.logging.setLogLevel
    before = log(0)
    yield
    log(before)
    print(f'\n{sum(CASES.values())} cases: ' + ', '.join(f'{n} {name}' for name, n in sorted(CASES.items())))


@st.composite
def arrays(draw, dtypes, channels, side=70):
    """Noise, or few levels, in which there is something to compress."""
    dtype, shape = np.dtype(draw(dtypes)), (draw(st.integers(1, side)), draw(st.integers(1, side)))
    depth = draw(channels)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape += (depth,) if depth > 1 else ()
    if dtype.kind == 'f':
        pixels = rng.normal(0, 100, shape).astype(dtype)
    else:
        info = np.iinfo(dtype)
        pixels = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
    if draw(st.booleans()):
        pixels = np.kron(pixels[::5, ::5], np.ones((5, 5, 1)[: pixels.ndim], dtype))[: shape[0], : shape[1]]
    return np.ascontiguousarray(pixels.astype(dtype))


def bgr(pixels):
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]] if pixels.ndim == 3 and pixels.shape[2] > 2 else pixels


def palettes(draw, bits):
    return np.random.default_rng(draw(st.integers(0, 2**32))).integers(0, 256, (2**bits, 3), dtype=np.uint8)


@st.composite
def png_files(draw):
    pixels = draw(arrays(st.sampled_from(['u1', 'u2']), st.integers(1, 4)))
    options = {
        'filters': draw(st.sampled_from([(0,), (1,), (2,), (4,), (0, 1, 2, 3, 4)])),
        'interlace': draw(st.booleans()),
        'split': draw(st.sampled_from([50, 8192])),
    }
    if pixels.ndim == 2 and pixels.dtype == np.uint8 and draw(st.booleans()):
        bits = draw(st.sampled_from([1, 2, 4, 8]))
        pixels >>= 8 - bits
        if draw(st.booleans()):
            palette = palettes(draw, bits)
            return png(pixels, bits, palette=palette, **options), palette[pixels][..., ::-1]
        return png(pixels, bits, **options), pixels * (255 // (2**bits - 1))
    return png(pixels, **options), bgr(pixels)


@st.composite
def bmp_files(draw):
    pixels = draw(arrays(st.just('u1'), st.sampled_from([1, 3, 4])))
    if pixels.ndim == 3:
        return bmp(pixels, 8 * pixels.shape[2], top_down=draw(st.booleans())), pixels[..., 2::-1]
    bits = draw(st.sampled_from([1, 4, 8]))
    pixels >>= 8 - bits
    palette = palettes(draw, bits)
    if gray := draw(st.booleans()):
        palette[:, 1:] = palette[:, :1]
    rle = bits == 8 and draw(st.booleans())
    content = bmp(pixels, bits, palette, rle=rle, core=gray and not rle and draw(st.booleans()))
    colors = palette[pixels][..., ::-1]
    return content, colors if (palette[:, :1] != palette).any() else colors[..., 0]


@st.composite
def tiff_files(draw):
    pixels = draw(arrays(st.sampled_from(['u1', 'u2', 'u4', 'i1', 'i2', 'i4', 'f2', 'f4', 'f8']), st.integers(1, 4)))
    options = {
        'order': draw(st.sampled_from('<>')),
        'compression': draw(st.sampled_from(sorted(COMPRESSIONS))),
        'tile': draw(st.sampled_from([None, None, 16, 32])),
        'rows': draw(st.integers(1, 80)),
        'big': draw(st.booleans()),
        'first': draw(st.booleans()),
    }
    if pixels.ndim == 2 and pixels.dtype == np.uint8 and draw(st.booleans()):
        bits = draw(st.sampled_from([1, 2, 4, 8]))
        pixels >>= 8 - bits
        kind = draw(st.sampled_from(['palette', 'white is zero', 'black is zero']))
        if kind == 'palette':
            palette = palettes(draw, bits)
            return tiff(pixels, bits=bits, palette=palette, **options), palette[pixels][..., ::-1]
        gray = pixels * (255 // (2**bits - 1))
        if kind == 'white is zero':
            return tiff(pixels, bits=bits, photometric=0, **options), 255 - gray
        return tiff(pixels, bits=bits, **options), gray
    predictor = draw(st.sampled_from([1, 2, 3] if pixels.dtype.kind == 'f' else [1, 2]))
    return tiff(pixels, predictor=predictor, planar=draw(st.booleans()), **options), bgr(pixels)


@st.composite
def jpeg_files(draw):
    """Decoded by Pillow: of gray, libjpeg leaves one result; colors may differ by rounding."""
    pixels = draw(arrays(st.just('u1'), st.sampled_from([1, 3])))
    buffer = BytesIO()
    Image.fromarray(pixels).save(
        buffer,
        'JPEG',
        quality=draw(st.integers(1, 100)),
        subsampling=draw(st.integers(0, 2)),
        progressive=draw(st.booleans()),
        optimize=draw(st.booleans()),
    )
    with Image.open(buffer) as image:
        return buffer.getvalue(), bgr(np.array(image))


FILES = {'PNG': png_files(), 'BMP': bmp_files(), 'TIFF': tiff_files(), 'JPEG': jpeg_files()}


def normalized(pixels):
    """What LoadIRImage makes of deep pixels with one channel, in float64."""
    if pixels.ndim == 3:
        pixels = pixels[..., :1] if pixels.shape[2] == 2 else pixels[..., :3]
    pixels = pixels.astype(np.float64)
    low, high = pixels.min(), pixels.max()
    pixels = (pixels - low) / (high - low) * 255 if high > low else pixels * 0
    if pixels.ndim == 3:
        pixels = pixels @ [0.114, 0.587, 0.299] if pixels.shape[2] == 3 else pixels[..., 0]
    return pixels[..., None]


def use(path):
    """Whatever of the loaders' results there is; only a ValueError that names the file is let pass."""
    found = {}
    steps = {
        'array': lambda: decode_image(path.read_bytes(), str(path)),
        'header': lambda: read_header(path),
        'verified': lambda: read_header(path, verify=True),
        'image': lambda: LoadIRImage(1, dtype='float32')({'img_path': str(path)})['img'],
        'mask': lambda: LoadTargetMask(0)(
            {'img_path': 'image', 'seg_map_path': str(path), 'ori_shape': found['array'].shape[:2]}
        )['gt_seg_map'],
    }
    for name, step in steps.items():
        if name == 'mask' and 'array' not in found:
            continue
        try:
            found[name] = step()
        except ValueError as error:
            if not str(error).startswith(f'{path}: '):
                raise
    return found


def same(array, expected, form):
    assert array.dtype == expected.dtype
    assert array.shape == expected.shape
    if form == 'JPEG' and expected.ndim == 3:
        return np.abs(array - expected.astype(int)).max() <= 4
    return np.array_equal(array, expected)


def agree(found):
    """A header that can be read says what is decoded."""
    array = found['array']
    channels = array.shape[2] if array.ndim == 3 else 1
    assert found['header'][:4] == (array.shape[1], array.shape[0], channels, array.dtype)


@pytest.mark.parametrize('form', FILES)
def test_intact_files(form, tmp_path):
    path = tmp_path / 'x'

    @FUZZ
    @given(FILES[form])
    def property(file):
        CASES['intact'] += 1
        content, expected = file
        path.write_bytes(content)
        found = use(path)
        assert same(found['array'], expected, form)
        agree(found)
        assert found['verified'] == found['header']
        image = found['image']
        assert image.shape == (*expected.shape[:2], 1)
        if expected.dtype != np.uint8:
            np.testing.assert_allclose(image, normalized(expected), rtol=1e-5, atol=1e-4)
        elif expected.ndim == 2 or expected.shape[2] == 2:
            gray = expected if expected.ndim == 2 else expected[..., 0]
            assert np.abs(image[..., 0] - gray).max() == 0
        else:
            tolerance = 0.51 + 4 * (form == 'JPEG')
            assert np.abs(image[..., 0] - expected[..., :3] @ [0.114, 0.587, 0.299]).max() <= tolerance
        values = expected if expected.ndim == 2 else expected[..., : 3 if expected.shape[2] > 2 else 1].max(axis=2)
        if (values > 0).any():
            if form != 'JPEG':
                np.testing.assert_array_equal(found['mask'], values > 0)
        elif (values < 0).any():
            assert 'mask' not in found

    property()


@pytest.mark.parametrize('form', FILES)
def test_truncated_files(form, tmp_path):
    """No file of these writers has a byte to spare, so every cut must be noticed, by each of the loaders."""
    path = tmp_path / 'x'

    @FUZZ
    @given(FILES[form], st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=8), st.integers(1, 24))
    def property(file, places, end):
        content, _ = file
        for length in {int(place * len(content)) for place in places} | {max(len(content) - end, 0)}:
            CASES['truncated'] += 1
            path.write_bytes(content[:length])
            assert set(use(path)) <= {'header'}, (length, len(content))

    property()


@pytest.mark.parametrize('form', FILES)
def test_damaged_files(form, tmp_path):
    """Checksums find the damage in PNG; elsewhere the pixels may change, but never their number or type."""
    path = tmp_path / 'x'

    @FUZZ
    @given(FILES[form], st.data())
    def property(file, data):
        content, expected = file
        for _ in range(data.draw(st.integers(1, 6))):
            CASES['damaged'] += 1
            damaged = bytearray(content)
            # the first bytes and the last hold most of what is not pixels
            places = st.integers(0, len(content) - 1) | st.integers(0, min(64, len(content)) - 1)
            places |= st.integers(max(len(content) - 250, 0), len(content) - 1)
            for place in data.draw(st.lists(places, min_size=1, max_size=4)):
                damaged[place] = data.draw(st.integers(0, 255))
            path.write_bytes(damaged)
            found = use(path)
            if 'array' in found:
                agree(found)
                if form == 'PNG':
                    assert same(found['array'], expected, form)

    property()


@pytest.mark.parametrize('form', FILES)
def test_made_up_files(form, tmp_path):
    """The start of a file, and anything after it."""
    path = tmp_path / 'x'

    @FUZZ
    @given(FILES[form], st.floats(0, 1), st.binary(max_size=300), st.booleans())
    def property(file, place, tail, start_only):
        CASES['made up'] += 1
        content, _ = file
        path.write_bytes(content[: 8 if start_only else int(place * len(content))] + tail)
        found = use(path)
        if 'array' in found:
            agree(found)

    property()


def refused(content):
    """Whether the content is refused with the name of its file."""
    with pytest.raises(ValueError, match=r'^x: not a readable image \('):
        decode_image(content, 'x')
    return True


def small_files():
    pixels = np.arange(35, dtype=np.uint16).reshape(5, 7) * 1000
    gray = (pixels >> 8).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(gray).save(buffer, 'JPEG')
    yield 'PNG', png(pixels)
    yield 'JPEG', buffer.getvalue()
    yield 'BMP', bmp(np.repeat(gray[..., None], 3, axis=2), 24)
    yield 'BMP RLE', bmp(gray, 8, np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1), rle=True)
    for compression in COMPRESSIONS:
        yield f'TIFF {compression}', tiff(pixels, compression=compression)
        yield f'TIFF {compression}, directory first', tiff(pixels, compression=compression, first=True)


@pytest.mark.parametrize('content', [pytest.param(content, id=form) for form, content in small_files()])
def test_every_cut_of_a_small_file(content):
    decode_image(content, 'x')
    CASES['truncated'] += len(content)
    assert all(refused(content[:length]) for length in range(len(content)))


def test_every_bit_of_a_small_png():
    content = dict(small_files())['PNG']
    expected, unharmed = decode_image(content, 'x'), 0
    for bit in range(8 * len(content)):
        CASES['damaged'] += 1
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            img = decode_image(bytes(damaged), 'x')
        except ValueError:
            assert refused(bytes(damaged))
        else:
            np.testing.assert_array_equal(img, expected)
            unharmed += 1
    assert unharmed <= 32  # the checksum of the end, which holds nothing
