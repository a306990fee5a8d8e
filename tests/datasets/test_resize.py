import cv2
import numpy as np
import pytest
from mmcv.transforms import RandomResize
from mmengine.registry import DefaultScope
from PIL import Image

from mmirstd.datasets.transforms import AlignedResize


def sample(height=31, width=45, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    img = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    mask = (rng.random((height, width)) > 0.7).astype(np.uint8)
    return {'img': img, 'gt_seg_map': mask, 'seg_fields': ['gt_seg_map']}


@pytest.mark.parametrize('size', [(45, 31), (17, 60), (5, 3), (90, 62), (1, 1)])
@pytest.mark.parametrize('channels', [1, 3])
def test_masks_are_sampled_at_pixel_centres(size, channels):
    before = sample(channels=channels)
    after = AlignedResize(scale=size)(dict(before))
    assert after['img'].shape == (size[1], size[0], channels)
    assert after['img_shape'] == after['gt_seg_map'].shape == size[::-1]
    assert after['scale_factor'] == (size[0] / 45, size[1] / 31)
    reference = np.array(Image.fromarray(before['gt_seg_map']).resize(size, Image.NEAREST))
    np.testing.assert_array_equal(after['gt_seg_map'], reference)


def test_image_and_mask_stay_in_one_place():
    rng = np.random.default_rng(1)
    for _ in range(20):
        height, width = rng.integers(60, 140, 2)
        y, x = (rng.integers(12, extent - 12) for extent in (height, width))
        img = np.zeros((height, width, 1), np.uint8)
        img[y - 4 : y + 5, x - 4 : x + 5] = 255
        results = {'img': img, 'gt_seg_map': (img[..., 0] > 0).astype(np.uint8), 'seg_fields': ['gt_seg_map']}
        results = AlignedResize(scale_factor=float(rng.uniform(0.3, 2)))(results)
        weights = results['img'][..., 0] / 255
        bright = np.array([(grid * weights).sum() / weights.sum() for grid in np.indices(weights.shape)])
        center = np.argwhere(results['gt_seg_map']).mean(axis=0)
        assert np.abs(bright - center).max() < 0.51
        union = np.maximum(weights, results['gt_seg_map']).sum()
        assert np.minimum(weights, results['gt_seg_map']).sum() / union > 0.55


def test_single_pixels_survive_shrinking_in_the_image():
    img = np.zeros((64, 64, 3), np.uint8)
    img[np.arange(5, 64, 16), np.arange(5, 64, 16)] = 255
    shrunk = AlignedResize(scale_factor=0.25)({'img': img})['img']
    assert (shrunk[..., 0] > 0).sum() == 4
    np.testing.assert_allclose(shrunk.mean(), img.mean(), atol=0.1)
    reference = img.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - reference).max() <= 0.5


def test_an_axis_that_shrinks_is_averaged_beside_one_that_grows():
    """A column of 1,000 brought to 256 holds its light wherever it is, and a row that grows is a bilinear one."""
    for column in range(400, 420):
        img = np.zeros((200, 1000, 1), np.uint8)
        img[:, column] = 200
        resized = AlignedResize(scale=(256, 256))({'img': img})['img'][..., 0].astype(float)
        np.testing.assert_allclose(resized.sum(1), 200 * 256 / 1000, atol=1.5)
    img = np.zeros((100, 300, 1), np.uint8)
    img[50] = 200
    resized = AlignedResize(scale=(256, 256))({'img': img})['img'][..., 0]
    np.testing.assert_array_equal(resized[:, 0], cv2.resize(img[:, 0], (1, 256), interpolation=cv2.INTER_LINEAR)[:, 0])


def test_enlarging_is_bilinear():
    before = sample()
    after = AlignedResize(scale=(100, 80))(dict(before))['img']
    np.testing.assert_array_equal(after, cv2.resize(before['img'], (100, 80), interpolation=cv2.INTER_LINEAR))


def test_random_resize_keeps_the_ratio():
    with DefaultScope.overwrite_default_scope('mmseg'):
        jitter = RandomResize(
            scale=(64, 64), ratio_range=(0.1, 2.0), resize_type='mmirstd.AlignedResize', keep_ratio=True
        )
    sides = []
    for _ in range(50):
        results = jitter(sample(40, 80, 1))
        height, width = results['img_shape']
        assert results['gt_seg_map'].shape == results['img'].shape[:2] == (height, width)
        assert abs(height - width / 2) <= 1
        sides.append(width)
    assert 6 <= min(sides) < 40
    assert 90 < max(sides) <= 128
    assert AlignedResize(scale=(8, 8), keep_ratio=True)(sample(1, 30))['img_shape'] == (1, 8)
