import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmirstd.ops.resizing import nearest_indices, resize_nearest, resize_prediction

LIBRARIES = {
    'pillow-nearest': lambda a, h, w: np.asarray(Image.fromarray(a).resize((w, h), Image.Resampling.NEAREST)),
    'opencv-nearest': lambda a, h, w: cv2.resize(a, (w, h), interpolation=cv2.INTER_NEAREST),
    'opencv-linear': lambda a, h, w: cv2.resize(a, (w, h), interpolation=cv2.INTER_LINEAR),
    'pillow-bilinear': lambda a, h, w: np.asarray(Image.fromarray(a).resize((w, h), Image.Resampling.BILINEAR)),
}
NEAREST = [name for name in LIBRARIES if 'nearest' in name]


@pytest.mark.parametrize('way', NEAREST)
@pytest.mark.parametrize('size', [1, 33, 96, 128, 217, 220, 256, 325, 512])
def test_nearest_takes_the_pixels_the_library_takes(way, size):
    for source in [*range(1, 200), *range(200, 1301, 7), 400, 512, 592, 640]:
        positions = np.arange(source, dtype=np.float32)[None]
        np.testing.assert_array_equal(
            nearest_indices(source, size, way), LIBRARIES[way](positions, 1, size)[0], err_msg=f'{source} to {size}'
        )


@pytest.mark.parametrize('way', NEAREST)
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_nearest_in_both_directions(way, dtype):
    rng = np.random.default_rng(0)
    for _ in range(20):
        (h, w), (hh, ww) = rng.integers(1, 60, (2, 2)).tolist()
        array = rng.integers(0, 256, (h, w)).astype(dtype)
        np.testing.assert_array_equal(resize_nearest(array, (hh, ww), way), LIBRARIES[way](array, hh, ww))
        np.testing.assert_array_equal(resize_prediction(array > 9, (hh, ww), way), LIBRARIES[way](array, hh, ww) > 9)


@pytest.mark.parametrize('way', ['opencv-linear', 'pillow-bilinear'])
def test_linear_is_the_library_and_stays_in_range(way):
    rng = np.random.default_rng(1)
    for _ in range(20):
        (h, w), (hh, ww) = rng.integers(1, 60, (2, 2)).tolist()
        array = rng.random((h, w)).astype(np.float32)
        resized = resize_prediction(array, (hh, ww), way)
        np.testing.assert_array_equal(resized, LIBRARIES[way](array, hh, ww))
        assert resized.shape == (hh, ww)
        assert resized.dtype == np.float32
        assert resized.min() >= 0
        assert resized.max() <= 1
        np.testing.assert_array_equal(
            resize_prediction(array[::-1], (hh, ww), way), LIBRARIES[way](array[::-1].copy(), hh, ww)
        )


def test_opencv_linear_is_torch_bilinear():
    rng = np.random.default_rng(2)
    for _ in range(20):
        (h, w), (hh, ww) = rng.integers(2, 60, (2, 2)).tolist()
        array = rng.random((h, w))
        expected = torch.nn.functional.interpolate(
            torch.from_numpy(array)[None, None], (hh, ww), mode='bilinear', align_corners=False
        )[0, 0]
        # OpenCV computes the weights in float32, whatever the array
        np.testing.assert_allclose(resize_prediction(array, (hh, ww), 'opencv-linear'), expected, atol=1e-5)


@pytest.mark.parametrize('way', ['opencv-linear', 'pillow-bilinear'])
@pytest.mark.parametrize('dtype', [bool, np.float16, np.float32, np.float64])
def test_types(way, dtype):
    array = np.random.default_rng(3).random((9, 14)).round(1).astype(dtype)
    resized = resize_prediction(array, (20, 8), way)
    expected = resize_prediction(array.astype(np.float32), (20, 8), way)
    assert resized.dtype == (np.float64 if dtype is np.float64 and way == 'opencv-linear' else np.float32)
    np.testing.assert_allclose(resized, expected, atol=1e-6)


@pytest.mark.parametrize('way', LIBRARIES)
def test_the_same_size_is_the_same_array(way):
    array = np.random.default_rng(4).random((9, 14))
    assert resize_prediction(array, (9, 14), way) is array
    assert 'nearest' not in way or resize_nearest(array, (9, 14), way) is array


def test_unknown_interpolation_is_refused():
    with pytest.raises(ValueError, match="no interpolation of masks called 'bilinear'"):
        resize_nearest(np.zeros((2, 2)), (3, 3), 'bilinear')


def test_pillow_and_opencv_take_other_pixels():
    assert nearest_indices(8, 4, 'pillow-nearest').tolist() == [1, 3, 5, 7]
    assert nearest_indices(8, 4, 'opencv-nearest').tolist() == [0, 2, 4, 6]
    assert nearest_indices(186, 128, 'opencv-nearest').tolist() != [i * 186 // 128 for i in range(128)]
