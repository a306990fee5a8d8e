import sys
from io import BytesIO
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mmengine.registry import DefaultScope
from PIL import Image

from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask
from mmirstd.datasets.transforms.loading import to_channels
from mmirstd.registry import TRANSFORMS

sys.path.insert(0, str(Path(__file__).parents[1] / 'io'))
from image_writers import tiff

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (11, 15), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (11, 15, 3), dtype=np.uint8)


def load(image, tmp_path, channels=3, name='x.png', **options):
    path = tmp_path / name
    image.save(path, **options)
    results = LoadIRImage(channels)({'img_path': str(path)})
    assert results['img'].dtype == np.uint8
    assert results['img_shape'] == results['ori_shape'] == results['img'].shape[:2]
    assert results['img'].shape[2] == channels
    return results['img']


def gray_image(mode):
    image = Image.fromarray(GRAY)
    if mode == 'LA':
        image.putalpha(Image.fromarray(255 - GRAY))
    elif mode == 'RGBA':
        image = image.convert('RGB')
        image.putalpha(Image.fromarray(255 - GRAY))
    elif mode == 'P':
        # a palette that is not the identity
        image = Image.fromarray(255 - GRAY)
        image = Image.frombytes('P', image.size, image.tobytes())
        image.putpalette([v for i in range(256) for v in (255 - i,) * 3])
    else:
        image = image.convert(mode)
    return image


@pytest.mark.parametrize(
    ('name', 'mode'),
    [(f'x.{ext}', mode) for ext in ('png', 'bmp', 'tif') for mode in ('L', 'RGB', 'P')]
    + [('x.png', 'RGBA'), ('x.bmp', 'RGBA'), ('x.png', 'LA')],
)
@pytest.mark.parametrize('channels', [1, 3])
def test_grey_values_survive_every_mode(mode, name, channels, tmp_path):
    img = load(gray_image(mode), tmp_path, channels, name)
    np.testing.assert_array_equal(img, np.repeat(GRAY[..., None], channels, axis=2))


def test_transparent_palette_and_one_bit(tmp_path):
    np.testing.assert_array_equal(load(gray_image('P'), tmp_path, 1, transparency=3)[..., 0], GRAY)
    img = load(Image.fromarray(GRAY > 99), tmp_path, 1)
    np.testing.assert_array_equal(img[..., 0], np.where(GRAY > 99, 255, 0))


def test_colors_are_bgr_and_pillow_agrees(tmp_path):
    np.testing.assert_array_equal(load(Image.fromarray(COLOR), tmp_path), COLOR[..., ::-1])
    gray = np.array(Image.fromarray(COLOR).convert('L'), int)
    assert np.abs(load(Image.fromarray(COLOR), tmp_path, 1)[..., 0] - gray).max() <= 1
    smooth = cv2.GaussianBlur(np.kron(COLOR, np.ones((8, 8, 1), np.uint8)), (0, 0), 4)
    img = load(Image.fromarray(smooth), tmp_path, name='x.jpg', quality=95)
    assert np.abs(img[..., ::-1].astype(int) - smooth).max() < 20
    with Image.open(tmp_path / 'x.jpg') as image:
        assert np.abs(img[..., ::-1] - np.array(image, int)).max() <= 2


def test_tiff_with_transparency_keeps_its_colors(tmp_path):
    opaque = Image.fromarray(COLOR).convert('RGBA')
    np.testing.assert_array_equal(load(opaque, tmp_path, name='x.tif'), COLOR[..., ::-1])
    opaque.putalpha(Image.fromarray(GRAY))
    np.testing.assert_array_equal(load(opaque, tmp_path, name='x.tif'), COLOR[..., ::-1])
    np.testing.assert_array_equal(load(gray_image('LA'), tmp_path, 1, name='x.tif')[..., 0], GRAY)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(
    ('extension', 'mode'),
    [(extension, mode) for extension in ('png', 'bmp', 'tif', 'jpg') for mode in ('1', 'L', 'RGB')]
    + [(extension, mode) for extension in ('png', 'bmp', 'tif') for mode in ('P', 'RGBA')]
    + [('jpg', 'CMYK')],
)
def test_8_bit_files_load_as_through_mmcv(extension, mode, channels, tmp_path):
    path = tmp_path / f'x.{extension}'
    Image.fromarray(COLOR).convert(mode).save(path)
    img = mmcv.imfrombytes(path.read_bytes(), flag='unchanged', backend='cv2')
    if img.ndim == 2:
        expected = img[..., None] if channels == 1 else cv2.cvtColor(img, cv2.COLOR_GRAY2BGR)
    else:
        expected = img[..., :3] if channels == 3 else cv2.cvtColor(img[..., :3], cv2.COLOR_BGR2GRAY)[..., None]
    for transform in (LoadIRImage(channels), LoadIRImage(channels, normalize='fixed', limits=(0, 1), dtype='float32')):
        result = transform({'img_path': str(path)})
        assert result['img'].dtype == transform.dtype
        np.testing.assert_array_equal(result['img'], expected)


def test_exif_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load(Image.fromarray(COLOR), tmp_path, name='x.jpg', exif=exif).shape == COLOR.shape


@pytest.mark.parametrize('content', [b'', b'no image', 'truncated'])
def test_unreadable_files_are_named(tmp_path, content):
    path = tmp_path / 'bad.png'
    if content == 'truncated':
        buffer = BytesIO()
        Image.fromarray(GRAY).save(buffer, 'PNG')
        content = buffer.getvalue()[:90]
    path.write_bytes(content)
    for transform in (LoadIRImage(), LoadTargetMask()):
        with pytest.raises(ValueError, match=r'bad\.png: not a readable image'):
            transform({'img_path': str(path), 'seg_map_path': str(path), 'ori_shape': (1, 1)})
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'bad\.png'):
        LoadIRImage()({'img_path': str(path)})


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'channels': 2}, 'channels must be 1 or 3, got 2'),
        ({'normalize': 'minmax'}, "normalize must be 'range', 'percentile' or 'fixed', got 'minmax'"),
        ({'normalize': None}, "normalize must be 'range', 'percentile' or 'fixed', got None"),
        ({'percentiles': (99, 1)}, r'percentiles must rise within 0\.\.100, got \(99, 1\)'),
        ({'percentiles': (0, 101)}, 'percentiles must rise'),
        ({'percentiles': (0, 50, 100)}, 'percentiles must rise'),
        ({'normalize': 'fixed'}, "limits go with normalize='fixed', got None with 'fixed'"),
        ({'limits': (0, 1)}, r"limits go with normalize='fixed', got \(0, 1\) with 'range'"),
        ({'normalize': 'fixed', 'limits': (1, 1)}, r'limits must be two rising numbers, got \(1, 1\)'),
        ({'normalize': 'fixed', 'limits': (0, float('inf'))}, 'limits must be two rising numbers'),
        ({'normalize': 'fixed', 'limits': (0, float('nan'))}, 'limits must be two rising numbers'),
        ({'dtype': 'float64'}, "dtype must be 'uint8' or 'float32', got 'float64'"),
    ],
)
def test_bad_image_arguments(arguments, message):
    with pytest.raises(ValueError, match=f'^LoadIRImage: {message}'):
        LoadIRImage(**arguments)


def test_bad_mask_arguments():
    with pytest.raises(ValueError, match='threshold must not be negative, got -1'):
        LoadTargetMask(threshold=-1)


def load_mask(image, tmp_path, threshold=127, **options):
    path = tmp_path / 'mask.png'
    image.save(path, **options)
    results = {'img_path': 'image.png', 'seg_map_path': str(path), 'ori_shape': image.size[::-1], 'seg_fields': []}
    results = LoadTargetMask(threshold)(results)
    assert results['seg_fields'] == ['gt_seg_map']
    assert results['gt_seg_map'].dtype == np.uint8
    return results['gt_seg_map']


@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA', 'P', '1', 'LA', 'I;16'])
def test_masks_of_every_mode(mode, tmp_path):
    target = GRAY > 200
    if mode == 'I;16':
        image = Image.fromarray(np.where(target, 65535, 0).astype(np.uint16))
    elif mode == '1':
        image = Image.fromarray(target)
    else:
        image = Image.fromarray(np.where(target, 255, 0).astype(np.uint8)).convert(mode)
    np.testing.assert_array_equal(load_mask(image, tmp_path), target)


def test_color_masks_count_by_their_largest_channel(tmp_path):
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[0, 0, :3] = 200, 0, 0
    pixels[1, 1, :3] = 0, 128, 0
    pixels[2, 2, :3] = 0, 0, 127
    expected = np.zeros((4, 6))
    expected[0, 0] = expected[1, 1] = 1
    np.testing.assert_array_equal(load_mask(Image.fromarray(pixels), tmp_path), expected)


def test_palette_masks_are_read_by_color(tmp_path):
    # white is index 0, as color reduction may leave it
    image = Image.fromarray(np.where(GRAY > 200, 0, 1).astype(np.uint8))
    image = Image.frombytes('P', image.size, image.tobytes())
    image.putpalette([255, 255, 255, 0, 0, 0])
    np.testing.assert_array_equal(load_mask(image, tmp_path), GRAY > 200)


def test_labels_zero_and_one_are_taken_as_they_are(tmp_path):
    target = (GRAY > 200).astype(np.uint8)
    np.testing.assert_array_equal(load_mask(Image.fromarray(target), tmp_path), target)
    assert load_mask(Image.fromarray(target * 0), tmp_path).sum() == 0
    np.testing.assert_array_equal(load_mask(Image.fromarray(target * 0 + 1), tmp_path), target * 0 + 1)


def test_values_in_between_are_cut(tmp_path):
    mask = np.array([[0, 1, 64, 127, 128, 255]], np.uint8)
    assert load_mask(Image.fromarray(mask), tmp_path).tolist() == [[0, 0, 0, 0, 1, 1]]
    assert load_mask(Image.fromarray(mask), tmp_path, threshold=0).tolist() == [[0, 1, 1, 1, 1, 1]]


def test_masks_that_would_lose_all_targets_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r'mask\.png: values up to 64, none above the threshold of 127'):
        load_mask(Image.fromarray(np.array([[0, 64]], np.uint8)), tmp_path)


@pytest.mark.parametrize('dtype', ['u1', 'u2', 'u4', 'i2', 'i4', 'f2', 'f4', 'f8'])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
@pytest.mark.parametrize('high', [1, 128, 255, 'largest'])
def test_masks_of_every_type(dtype, channels, high, tmp_path):
    dtype = np.dtype(dtype)
    info = np.finfo(dtype) if dtype.kind == 'f' else np.iinfo(dtype)
    target = GRAY > 200
    pixels = np.zeros((*target.shape, channels), dtype)
    pixels[target] = info.max if high == 'largest' else high
    if channels in (2, 4):
        pixels[..., -1] = RNG.integers(0, 2, target.shape) * min(info.max, 60000)  # alpha counts for nothing
    path = tmp_path / 'mask.tif'
    path.write_bytes(tiff(pixels))
    results = {'img_path': 'image.png', 'seg_map_path': str(path), 'ori_shape': target.shape}
    np.testing.assert_array_equal(LoadTargetMask()(results)['gt_seg_map'], target)


def test_thresholds_are_in_the_units_of_the_file(tmp_path):
    path = tmp_path / 'mask.tif'
    results = {'img_path': 'image.png', 'seg_map_path': str(path), 'ori_shape': (1, 5)}
    path.write_bytes(tiff(np.array([[0, 100, 200, 40000, 65535]], np.uint16)))
    assert LoadTargetMask()(dict(results))['gt_seg_map'].tolist() == [[0, 0, 1, 1, 1]]
    assert LoadTargetMask(32767)(dict(results))['gt_seg_map'].tolist() == [[0, 0, 0, 1, 1]]
    path.write_bytes(tiff(np.array([[0, 0.25, 0.5, 0.75, 1]], np.float32)))
    assert LoadTargetMask(0.5)(dict(results))['gt_seg_map'].tolist() == [[0, 0, 0, 1, 1]]
    with pytest.raises(ValueError, match=r'mask\.tif: values up to 1\.0, none above the threshold of 127'):
        LoadTargetMask()(dict(results))


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))),
    st.sampled_from([np.uint8, np.float32]),
)
def test_to_channels(img, dtype):
    img = (img[..., 0] if img.shape[2] == 1 else img).astype(dtype)
    one, three = to_channels(img, 1), to_channels(img, 3)
    assert one.dtype == three.dtype == dtype
    img = img[..., 0] if img.shape[2:] == (2,) else img
    assert one.shape == (*img.shape[:2], 1)
    assert three.flags.c_contiguous
    if img.ndim == 2:
        assert (three == img[..., None]).all()
        assert (to_channels(three, 1) == one).all()
        assert (one[..., 0] == img).all()
    else:
        assert (three == img[..., :3]).all()
        assert np.abs(one[..., 0] - img[..., :3] @ [0.114, 0.587, 0.299]).max() <= 0.51


def test_resize_only_where_the_dataset_says_so(tmp_path):
    path = tmp_path / 'mask.png'
    mask = np.where(RNG.random((40, 59)) > 0.5, 255, 0).astype(np.uint8)
    Image.fromarray(mask).save(path)
    results = {'img_path': 'image.png', 'seg_map_path': str(path), 'ori_shape': (22, 32)}
    with pytest.raises(ValueError, match=r'sizes differ: image\.png is 32x22, .*mask\.png is 59x40'):
        LoadTargetMask()(dict(results))
    resized = LoadTargetMask()(results | {'mask_resize': True})['gt_seg_map']
    np.testing.assert_array_equal(resized, np.array(Image.fromarray(mask).resize((32, 22), Image.NEAREST)) > 127)
    with pytest.raises(KeyError, match='load the image before its mask'):
        LoadTargetMask()({'seg_map_path': str(path)})


def test_registered_names_and_repr():
    with DefaultScope.overwrite_default_scope('mmseg'):
        image = TRANSFORMS.build({'type': 'mmirstd.LoadIRImage', 'channels': 1})
        mask = TRANSFORMS.build({'type': 'mmirstd.LoadTargetMask', 'threshold': 5})
    assert repr(image) == (
        "LoadIRImage(channels=1, normalize='range', percentiles=(0.1, 100.0), limits=None, normalize_8bit=False, "
        "dtype='uint8', backend_args=None)"
    )
    assert repr(mask) == 'LoadTargetMask(threshold=5, backend_args=None)'
