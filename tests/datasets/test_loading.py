from io import BytesIO

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mmengine.registry import DefaultScope
from PIL import Image

from mmirstd.datasets.transforms import LoadIRImage, LoadTargetMask
from mmirstd.datasets.transforms.loading import binarize_mask, to_channels
from mmirstd.registry import TRANSFORMS

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (11, 15), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (11, 15, 3), dtype=np.uint8)


def load(image, tmp_path, channels=3, name='x.png', **options):
    path = tmp_path / name
    image.save(path, **options)
    results = LoadIRImage(channels)({'img_path': str(path)})
    assert results['img'].dtype == np.uint8
    assert results['img_shape'] == results['ori_shape'] == results['img'].shape[:2]
    assert results['img'].shape[2] == channels
    return results['img']


def grey_image(mode):
    image = Image.fromarray(GREY)
    if mode == 'LA':
        image.putalpha(Image.fromarray(255 - GREY))
    elif mode == 'RGBA':
        image = image.convert('RGB')
        image.putalpha(Image.fromarray(255 - GREY))
    elif mode == 'P':
        # a palette that is not the identity
        image = Image.fromarray(255 - GREY)
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
    img = load(grey_image(mode), tmp_path, channels, name)
    np.testing.assert_array_equal(img, np.repeat(GREY[..., None], channels, axis=2))


def test_transparent_palette_and_one_bit(tmp_path):
    np.testing.assert_array_equal(load(grey_image('P'), tmp_path, 1, transparency=3)[..., 0], GREY)
    img = load(Image.fromarray(GREY > 99), tmp_path, 1)
    np.testing.assert_array_equal(img[..., 0], np.where(GREY > 99, 255, 0))


def test_colours_are_bgr_and_pillow_agrees(tmp_path):
    np.testing.assert_array_equal(load(Image.fromarray(COLOUR), tmp_path), COLOUR[..., ::-1])
    grey = np.array(Image.fromarray(COLOUR).convert('L'), int)
    assert np.abs(load(Image.fromarray(COLOUR), tmp_path, 1)[..., 0] - grey).max() <= 1
    smooth = cv2.GaussianBlur(np.kron(COLOUR, np.ones((8, 8, 1), np.uint8)), (0, 0), 4)
    img = load(Image.fromarray(smooth), tmp_path, name='x.jpg', quality=95)
    assert np.abs(img[..., ::-1].astype(int) - smooth).max() < 20
    with Image.open(tmp_path / 'x.jpg') as image:
        assert np.abs(img[..., ::-1] - np.array(image, int)).max() <= 2


def test_tiff_with_transparency_is_refused(tmp_path):
    opaque = Image.fromarray(COLOUR).convert('RGBA')
    np.testing.assert_array_equal(load(opaque, tmp_path, name='x.tif'), COLOUR[..., ::-1])
    grey_image('RGBA').save(tmp_path / 'x.tif')
    results = {key: str(tmp_path / 'x.tif') for key in ('img_path', 'seg_map_path')}
    for transform in (LoadIRImage(), LoadTargetMask()):
        with pytest.raises(ValueError, match=r'x\.tif: a TIFF with transparency'):
            transform(results)


def test_exif_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert load(Image.fromarray(COLOUR), tmp_path, name='x.jpg', exif=exif).shape == COLOUR.shape


@pytest.mark.parametrize('dtype', [np.uint16, np.float32])
def test_deep_images_are_refused(tmp_path, dtype):
    path = tmp_path / 'deep.tif'
    Image.fromarray(GREY.astype(dtype)).save(path)
    with pytest.raises(ValueError, match=rf'deep\.tif: pixels are {np.dtype(dtype)}; LoadIRImage takes 8-bit'):
        LoadIRImage()({'img_path': str(path)})


@pytest.mark.parametrize('content', [b'', b'no image', 'truncated'])
def test_unreadable_files_are_named(tmp_path, content):
    path = tmp_path / 'bad.png'
    if content == 'truncated':
        buffer = BytesIO()
        Image.fromarray(GREY).save(buffer, 'PNG')
        content = buffer.getvalue()[:90]
    path.write_bytes(content)
    for transform in (LoadIRImage(), LoadTargetMask()):
        with pytest.raises(ValueError, match=r'bad\.png: not a readable image'):
            transform({'img_path': str(path), 'seg_map_path': str(path), 'ori_shape': (1, 1)})
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r'bad\.png'):
        LoadIRImage()({'img_path': str(path)})


def test_bad_arguments():
    with pytest.raises(ValueError, match='channels must be 1 or 3, got 2'):
        LoadIRImage(channels=2)
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
    target = GREY > 200
    if mode == 'I;16':
        image = Image.fromarray(np.where(target, 65535, 0).astype(np.uint16))
    elif mode == '1':
        image = Image.fromarray(target)
    else:
        image = Image.fromarray(np.where(target, 255, 0).astype(np.uint8)).convert(mode)
    np.testing.assert_array_equal(load_mask(image, tmp_path), target)


def test_colour_masks_count_by_their_largest_channel(tmp_path):
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[0, 0, :3] = 200, 0, 0
    pixels[1, 1, :3] = 0, 128, 0
    pixels[2, 2, :3] = 0, 0, 127
    expected = np.zeros((4, 6))
    expected[0, 0] = expected[1, 1] = 1
    np.testing.assert_array_equal(load_mask(Image.fromarray(pixels), tmp_path), expected)


def test_palette_masks_are_read_by_colour(tmp_path):
    # white is index 0, as colour reduction may leave it
    image = Image.fromarray(np.where(GREY > 200, 0, 1).astype(np.uint8))
    image = Image.frombytes('P', image.size, image.tobytes())
    image.putpalette([255, 255, 255, 0, 0, 0])
    np.testing.assert_array_equal(load_mask(image, tmp_path), GREY > 200)


def test_labels_zero_and_one_are_taken_as_they_are(tmp_path):
    target = (GREY > 200).astype(np.uint8)
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


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32, np.bool_]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        fill=st.nothing(),
    ),
    st.sampled_from([0, 1, 127, 200]),
)
def test_binarize_against_a_plain_loop(mask, threshold):
    values = set(np.unique(mask[~np.isnan(mask)]).tolist())
    if not np.isnan(mask).any() and values <= {0, 1}:
        expected = [[int(v == 1) for v in row] for row in mask.tolist()]
    else:
        expected = [[int(v > threshold) for v in row] for row in mask.tolist()]
        if not np.any(expected):
            with pytest.raises(ValueError, match='none above the threshold'):
                binarize_mask(mask, threshold)
            return
    result = binarize_mask(mask, threshold)
    assert result.dtype == np.uint8
    assert result.tolist() == expected


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]))))
def test_to_channels(img):
    img = img[..., 0] if img.shape[2] == 1 else img
    one, three = to_channels(img, 1), to_channels(img, 3)
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
    assert repr(image) == 'LoadIRImage(channels=1, backend_args=None)'
    assert repr(mask) == 'LoadTargetMask(threshold=5, backend_args=None)'
