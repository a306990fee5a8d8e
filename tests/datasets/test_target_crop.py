import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import DefaultScope
from scipy import ndimage

from mmirstd.datasets.transforms import TargetAwareCrop
from mmirstd.ops.components import label_components
from mmirstd.registry import TRANSFORMS

# ruff: noqa: NPY002 - the transforms draw from numpy's global generator


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


def sample(mask, channels=3):
    """An image whose pixels tell where they come from."""
    height, width = mask.shape
    img = (np.arange(height * width).reshape(height, width, 1) % 251).astype(np.uint8).repeat(channels, axis=2)
    return {'img': img, 'gt_seg_map': mask, 'seg_fields': ['gt_seg_map']}


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 0.5), st.integers(0, 2**31))
def test_targets_against_scipy(height, width, density, seed):
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 1, 255], np.uint8), (height, width), p=[0.9 - density, density, 0.1])
    targets = label_components(mask == 1)
    labels, boxes = targets.label_map(mask.shape), targets.boxes
    reference, num = ndimage.label(mask == 1, np.ones((3, 3)))
    assert len(boxes) == num
    assert labels.shape == mask.shape
    pairs = np.unique(np.stack([labels.ravel(), reference.ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))
    for k, (top, left, bottom, right) in enumerate(boxes, 1):
        assert ndimage.find_objects((labels == k).astype(int)) == [(slice(top, bottom), slice(left, right))]


def test_target_is_contained_whole_and_anywhere_in_the_crop():
    mask = np.zeros((60, 80), np.uint8)
    mask[30:33, 41:46] = 1
    crop = TargetAwareCrop((16, 20), target_prob=1)
    corners = []
    for _ in range(2000):
        results = crop(sample(mask))
        assert results['img'].shape == (16, 20, 3)
        assert results['img_shape'] == results['gt_seg_map'].shape == (16, 20)
        assert results['gt_seg_map'].sum() == 15
        corners.append(np.argwhere(results['gt_seg_map'])[0])
    corners = np.array(corners)
    for axis, positions in enumerate((14, 16)):
        counts = np.bincount(corners[:, axis], minlength=positions)
        assert len(counts) == positions
        # chi-square with 13 and 15 degrees of freedom: 40 is beyond the 0.1 % quantile
        assert ((counts - 2000 / positions) ** 2 / (2000 / positions)).sum() < 40


def test_targets_at_the_border_and_equal_chances():
    mask = np.zeros((50, 50), np.uint8)
    mask[0, 0] = 1
    mask[40:49, 47:50] = 1
    crop = TargetAwareCrop(12, target_prob=1)
    sums = [int(crop(sample(mask))['gt_seg_map'].sum()) for _ in range(1000)]
    assert set(sums) == {1, 27}
    assert 400 < sums.count(1) < 600


def test_target_larger_than_the_crop():
    ring = np.zeros((50, 60), np.uint8)
    ring[5:45, 5:55] = 1
    ring[7:43, 7:53] = 0
    wide = np.zeros((50, 60), np.uint8)
    wide[20:23, 5:55] = 1
    crop = TargetAwareCrop(10, target_prob=1)
    for _ in range(300):
        assert crop(sample(ring))['gt_seg_map'].any()
        assert crop(sample(wide))['gt_seg_map'].sum(axis=0).max() == 3


def test_probability_and_uniform_crops():
    mask = np.zeros((100, 100), np.uint8)
    mask[50, 50] = 1
    for prob, expected in ((0.0, 0.01), (0.5, 0.505), (1.0, 1.0)):
        crop = TargetAwareCrop(10, target_prob=prob)
        hits = np.mean([crop(sample(mask))['gt_seg_map'].any() for _ in range(1500)])
        assert abs(hits - expected) < 0.06
    corners = {int(TargetAwareCrop(99)(sample(mask * 0))['img'][0, 0, 0]) for _ in range(60)}
    assert corners == {0, 1, 100, 101}


def test_pixels_are_those_of_the_image():
    rng = np.random.default_rng(0)
    mask = (rng.random((40, 50)) > 0.97).astype(np.uint8)
    before = sample(mask) | {'img': rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)}
    before['gt_other'] = before['img'][..., 0]
    before['seg_fields'] = ['gt_seg_map', 'gt_other']
    for _ in range(20):
        results = TargetAwareCrop((17, 23), target_prob=1)(dict(before))
        windows = np.lib.stride_tricks.sliding_window_view(before['img'][..., 0], (17, 23))
        ((y, x),) = np.argwhere((windows == results['img'][..., 0]).all(axis=(2, 3)))
        np.testing.assert_array_equal(results['gt_seg_map'], mask[y : y + 17, x : x + 23])
        np.testing.assert_array_equal(results['gt_other'], results['img'][..., 0])


@pytest.mark.parametrize('shape', [(5, 7), (5, 40), (40, 7), (1, 1)])
@pytest.mark.parametrize('mode', ['constant', 'reflect'])
@pytest.mark.parametrize('channels', [1, 3])
def test_small_images_are_padded(shape, mode, channels):
    mask = np.zeros(shape, np.uint8)
    mask[-1, -1] = 1
    crop = TargetAwareCrop(16, target_prob=1, pad_mode=mode, pad_val=9)
    results = crop(sample(mask, channels))
    img, seg = results['img'], results['gt_seg_map']
    assert img.shape == (16, 16, channels)
    assert img.dtype == seg.dtype == np.uint8
    assert (seg == 1).sum() == 1
    height, width = min(shape[0], 16), min(shape[1], 16)
    assert (seg[height:] == 255).all()
    assert (seg[:, width:] == 255).all()
    assert (seg[:height, :width] < 2).all()
    if mode == 'constant':
        assert (img[height:] == 9).all()
        assert (img[:, width:] == 9).all()
    elif shape == (5, 7):
        reference = np.pad(sample(mask, channels)['img'], ((0, 11), (0, 9), (0, 0)), mode='reflect')
        np.testing.assert_array_equal(img, reference)


def test_ignored_pixels_are_no_targets():
    mask = np.full((30, 30), 255, np.uint8)
    mask[10:, 10:] = 0
    mask[20, 20] = 1
    for _ in range(50):
        assert (TargetAwareCrop(8, target_prob=1)(sample(mask))['gt_seg_map'] == 1).sum() == 1


def test_grey_image_without_channel_axis():
    results = sample(np.zeros((30, 8), np.uint8))
    results['img'] = results['img'][..., 0]
    assert TargetAwareCrop(16)(results)['img'].shape == (16, 16)


def test_bad_arguments_and_config():
    with pytest.raises(ValueError, match=r'target_prob must lie in \[0, 1\], got 2'):
        TargetAwareCrop(8, target_prob=2)
    with pytest.raises(ValueError, match="pad_mode must be 'constant' or 'reflect', got 'edge'"):
        TargetAwareCrop(8, pad_mode='edge')
    with DefaultScope.overwrite_default_scope('mmseg'):
        crop = TRANSFORMS.build({'type': 'mmirstd.TargetAwareCrop', 'crop_size': [8, 9], 'pad_val': 114})
    assert repr(crop) == (
        "TargetAwareCrop(crop_size=(8, 9), target_prob=0.5, overshoot=0, cut_targets='keep', pad_mode='constant', "
        'pad_val=114, seg_pad_val=255)'
    )


def test_padding_may_be_background():
    mask = np.zeros((5, 7), np.uint8)
    mask[4, 6] = 1
    seg = TargetAwareCrop(16, seg_pad_val=0)(sample(mask))['gt_seg_map']
    assert seg.shape == (16, 16)
    assert seg.sum() == 1


def test_labels_of_padding_are_checked():
    with pytest.raises(ValueError, match='seg_pad_val must be 0 or 255, got 1'):
        TargetAwareCrop(16, seg_pad_val=1)
    with pytest.raises(ValueError, match='seg_pad_val=0 calls reflected targets background'):
        TargetAwareCrop(16, pad_mode='reflect', seg_pad_val=0)


def test_borders_of_the_image_are_seen_with_overshoot():
    mask = np.zeros((60, 80), np.uint8)
    rows = np.arange(60, dtype=np.uint8)[:, None, None].repeat(80, axis=1)
    crop = TargetAwareCrop((20, 30), target_prob=0, overshoot=10)
    tops = [int(crop({'img': rows, 'gt_seg_map': mask, 'seg_fields': []})['img'][0, 0, 0]) for _ in range(2000)]
    counts = np.bincount(tops, minlength=41)
    assert len(counts) == 41
    # Of the 61 drawn positions, 11 are moved to each border.
    assert abs(counts[[0, 40]] / 2000 - 11 / 61).max() < 0.04
    assert abs(counts[1:40].mean() / 2000 - 1 / 61) < 0.002


def test_a_target_at_the_border_is_contained_with_overshoot():
    mask = np.zeros((60, 80), np.uint8)
    mask[58:, 0:2] = 1
    crop = TargetAwareCrop((20, 30), target_prob=1, overshoot=10)
    positions = set()
    for _ in range(300):
        found = crop(sample(mask))['gt_seg_map']
        assert found.shape == (20, 30)
        assert found.sum() == 4
        positions.add(tuple(np.argwhere(found)[0]))
    assert positions == {(18, 0)}  # there is but one crop that holds a target in a corner


@settings(max_examples=100, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.floats(0, 0.4), st.integers(0, 2**31))
def test_cut_targets_are_ignored(height, width, density, seed):
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 1, 255], np.uint8), (height, width), p=[0.9 - density, density, 0.1])
    np.random.seed(seed)
    kept = TargetAwareCrop(8, target_prob=0.5)
    top, bottom, left, right = kept.crop_bbox(sample(mask))
    np.random.seed(seed)
    found = TargetAwareCrop(8, target_prob=0.5, cut_targets='ignore')(sample(mask.copy()))['gt_seg_map']
    expected = mask[top:bottom, left:right].copy()
    labels, num = ndimage.label(mask == 1, np.ones((3, 3)))
    inside = labels[top:bottom, left:right]
    for k in range(1, num + 1):
        if (inside == k).sum() < (labels == k).sum():
            expected[inside == k] = 255
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ('options', 'message'),
    [({'overshoot': -1}, 'overshoot must be a number of pixels'), ({'cut_targets': 'drop'}, "must be 'keep' or 'ign")],
)
def test_wrong_options_for_borders(options, message):
    with pytest.raises(ValueError, match=message):
        TargetAwareCrop(8, **options)
