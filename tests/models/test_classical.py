"""Classical detectors give what the public code gives (golden/README.md), and their options what they say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmirstd.models.classical import DETECTORS, contrast, ipi, max_median, mslstipt, nram, tllcm, top_hat, wslcm
from mmirstd.models.classical.patches import PatchGrid
from mmirstd.models.classical.singular_values import (
    largest_singular_values,
    replace_singular_values,
    shrink_singular_values,
)
from mmirstd.models.classical.structure_tensor import structure_eigenvalues
from mmirstd.models.classical.thresholds import center_map, check_rule, map_threshold, normalize_map
from mmirstd.models.segmentors import NotTrainableError

GOLDEN = np.load(Path(__file__).parent / 'golden/classical.npz', allow_pickle=False)
# Where the public code departs from its paper.
PUBLIC = {
    'max_median': dict(diagonals='one'),
    'ipi': dict(weight_of='image', whole=False),
    'nram': dict(negative_step=False, overlap='last'),
    'ript': dict(overlap='last'),
    'pstnn': dict(unfolding='mixed', overlap='last'),
    'mslstipt': dict(layout='mixed'),
}


@pytest.mark.parametrize('name', DETECTORS)
def test_public_code_gives_the_same_map(name):
    expected = GOLDEN[name]
    found = DETECTORS[name](GOLDEN['frames' if name == 'mslstipt' else 'image'], **PUBLIC.get(name, {}))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * abs(expected).max())


@pytest.mark.parametrize('name', PUBLIC)
def test_options_change_the_map(name):
    """Each departure of the public code by itself."""
    images = GOLDEN['frames'] if name == 'mslstipt' else GOLDEN['image'][:97, :88]
    if name == 'pstnn':  # two kinds of patches: two large singular values, but more of rows that mix them
        kinds = np.random.default_rng(0).integers(0, 2, (2, 40, 40)) * 200
        images = np.block([[kinds[0], kinds[1]], [kinds[1], kinds[0]], [kinds[0], kinds[0]]])[:115] + 20
    plain = DETECTORS[name](images)
    for key, value in PUBLIC[name].items():
        assert abs(DETECTORS[name](images, **{key: value}) - plain).max() > 1e-3 * plain.max(), key


@pytest.mark.parametrize('name', DETECTORS)
@pytest.mark.parametrize('shape', [(1, 1), (2, 2), (7, 33), (35, 12)])
def test_images_of_any_size(name, shape):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, shape).astype(np.uint8)
    if name in ('ript', 'pstnn') and shape == (1, 1):
        with pytest.raises(ValueError, match='2 x 2'):
            DETECTORS[name](image)
        return
    images = np.stack([image, image[::-1]]) if name == 'mslstipt' else image
    assert np.isfinite(found := DETECTORS[name](images)).all()
    assert found.shape == images.shape


@pytest.mark.parametrize('name', DETECTORS)
@pytest.mark.parametrize('level', [0, 77])
def test_one_gray_level_has_no_target(name, level):
    image = np.full((40, 45), level, np.uint8)
    found = DETECTORS[name](np.stack([image] * 3) if name == 'mslstipt' else image)
    assert abs(found).max() < 1e-4


def test_top_hat_keeps_what_is_smaller_than_the_element():
    image = np.full((30, 40), 10.0)
    image[5:9, 5:9] = 50  # 4 x 4
    image[15:20, 20:26] = 90  # 5 x 6
    expected = np.zeros_like(image)
    expected[5:9, 5:9] = 40
    np.testing.assert_array_equal(top_hat(image), expected)


def test_max_median_has_the_medians_of_four_directions():
    image = np.random.default_rng(0).uniform(0, 255, (15, 18))
    padded = np.pad(image, 2, mode='edge')
    around = range(-2, 3)
    lines = [[(d, 0) for d in around], [(0, d) for d in around], [(d, d) for d in around], [(d, -d) for d in around]]
    expected = np.empty_like(image)
    for y, x in np.ndindex(image.shape):
        medians = [np.median([padded[y + 2 + dy, x + 2 + dx] for dy, dx in line]) for line in lines]
        expected[y, x] = max(0, image[y, x] - max(medians))
    np.testing.assert_allclose(max_median(image, 5), expected)


def test_bands_of_rows_change_nothing(monkeypatch):
    expected = wslcm(GOLDEN['image'])
    monkeypatch.setattr(contrast, '_ELEMENTS', 1)
    np.testing.assert_array_equal(wslcm(GOLDEN['image']), expected)


def test_contrast_on_black_is_finite():
    image = np.zeros((60, 60))
    image[30, 30] = 200
    assert np.unravel_index(tllcm(image).argmax(), image.shape) == (30, 30)
    assert np.isfinite(tllcm(image)).all()


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda f: top_hat(f, 4), 'size must be odd'),
        (lambda f: max_median(f, 1), 'length must be odd'),
        (lambda f: max_median(f, diagonals='two'), "'two'"),
        (lambda f: tllcm(f, 8), 'odd'),
        (lambda f: wslcm(f, (5,), 26), '5 x 5 pixels has no 26'),
        (lambda f: wslcm(f, ()), 'at least one'),
        (lambda f: ipi(f, weight_of='frame'), "'frame'"),
        (lambda f: ipi(f, 0), 'at least 1'),
        (lambda f: nram(f, step=0), 'at least 1'),
        (lambda f: nram(f, overlap='max'), "'max'"),
        (lambda f: mslstipt(f[None, None]), 'T, H, W'),
        (lambda f: mslstipt(f[None], layout='rows'), "'rows'"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(GOLDEN['image'])


def test_a_still_image_is_a_sequence_of_one():
    frame = GOLDEN['frames'][0]
    with pytest.warns(UserWarning, match='one frame'):
        still = mslstipt(frame)
    assert still.shape == frame.shape


def test_last_frames_of_a_sequence_are_joined_by_those_before():
    frames = GOLDEN['frames'][:, :20, :16]
    found = mslstipt(frames, 4)
    np.testing.assert_allclose(found[:4], mslstipt(frames[:4], 4))
    np.testing.assert_allclose(found[4:], mslstipt(frames[2:], 4)[2:])


@pytest.mark.parametrize('shape', [(23, 31), (20, 20), (9, 40)])
def test_patches_go_back_where_they_came_from(shape):
    rng = np.random.default_rng(0)
    image = rng.normal(size=shape)
    grid = PatchGrid.of(image, 9, 4)
    patches = grid.split(image)
    assert len(patches) == len(grid)
    for overlap in ('mean', 'median', 'last'):
        np.testing.assert_allclose(grid.join(patches, overlap), image)
    patches = rng.normal(size=patches.shape)
    seen = np.frompyfunc(lambda _: [], 1, 1)(np.zeros(shape))
    k = 0
    for x in grid.columns:
        for y in grid.rows:
            for dy, dx in np.ndindex(grid.size, grid.size):
                seen[y + dy, x + dx].append(patches[k, dy, dx])
            k += 1
    for overlap, rule in {'mean': np.mean, 'median': np.median, 'last': lambda v: v[-1]}.items():
        expected = np.frompyfunc(rule, 1, 1)(seen).astype(float)
        np.testing.assert_allclose(grid.join(patches, overlap), expected)


def test_part_grids_leave_the_border_out():
    image = np.ones((23, 23))
    grid = PatchGrid.of(image, 10, 5, whole=False)
    assert grid.rows.tolist() == [0, 5, 10]
    joined = grid.join(grid.split(image), 'median')
    assert joined[:20, :20].all()
    assert not joined[20:].any()


@pytest.mark.parametrize('shape', [(30, 7), (7, 30), (4, 12, 12), (1, 1)])
@pytest.mark.parametrize('imaginary', [0, 1j])
def test_singular_values_are_replaced(shape, imaginary):
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=shape) + imaginary * rng.normal(size=shape)
    left, values, right = np.linalg.svd(matrices, full_matrices=False)
    by = np.median(values)
    found, kept = replace_singular_values(matrices, lambda s: np.maximum(s - by, 0))
    np.testing.assert_allclose(kept, np.maximum(values - by, 0), atol=1e-12)
    np.testing.assert_allclose(found, (left * np.maximum(values - by, 0)[..., None, :]) @ right, atol=1e-12)


@pytest.mark.parametrize('shape', [(9, 7), (7, 9), (1, 5), (6, 6)])
@pytest.mark.parametrize('by', [0.1, 1.5, 100.0])
def test_few_singular_values_are_those_of_the_decomposition(shape, by):
    matrix = np.random.default_rng(1).normal(size=shape)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    shrunk = np.maximum(values - by, 0)
    found, kept = shrink_singular_values(matrix, by)
    np.testing.assert_allclose(kept, shrunk[shrunk > 0], atol=1e-12)
    np.testing.assert_allclose(found, (left * shrunk) @ right, atol=1e-12)
    np.testing.assert_allclose(largest_singular_values(matrix, 4), values[:4], atol=1e-12)


def test_structure_eigenvalues_tell_edges_from_corners():
    image = np.zeros((40, 40))
    image[20:, 20:] = 100
    larger, smaller = structure_eigenvalues(image, 1.2, 2)
    assert larger[30, 20] > 100 * smaller[30, 20]
    assert smaller[20, 20] > 0.1 * larger[20, 20]
    assert larger[5, 5] == smaller[5, 5] == 0


def test_threshold_rules():
    values = normalize_map(np.random.default_rng(0).exponential(size=(50, 60)))
    assert map_threshold(values) == 0.5
    assert map_threshold(values, 'mean_std', 2) == pytest.approx(values.mean() + 2 * values.std())
    for number in (1e-3, 0.01, 0.3):
        threshold = map_threshold(values, 'budget', number)
        assert (values > threshold).sum() == int(number * values.size)
    levels = np.where(np.arange(100) < 90, 0.1, 0.8).reshape(10, 10)
    assert 0.1 < map_threshold(levels, 'otsu') < 0.8
    ties = np.repeat([0.0, 0.5, 1.0], [90, 5, 5]).reshape(10, 10)
    assert map_threshold(ties, 'budget', 0.07) == 0.5  # seven pixels may be above, five are


@pytest.mark.parametrize(
    ('rule', 'number'), [('fixed', 1.0), ('mean_std', -1), ('otsu', 3), ('budget', 0), ('median', None)]
)
def test_bad_rules(rule, number):
    with pytest.raises(ValueError, match=f"'{rule}'"):
        check_rule(rule, number)


@pytest.mark.parametrize('threshold', [0.0, 1e-9, 0.2, 0.5, 0.9999, 1.0, 1.7])
def test_centered_maps_are_above_a_half_where_they_were_above_the_threshold(threshold):
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(size=500), [0, 1, threshold, threshold * (1 + 1e-15)]]).clip(0, 1)
    centered = center_map(values, threshold)
    np.testing.assert_array_equal(centered > 0.5, values > threshold)
    assert centered.min() >= 0
    assert centered.max() <= 1
    assert (np.diff(centered[np.argsort(values, kind='stable')]) >= 0).all()
    np.testing.assert_allclose(center_map(values, 0.5), values)


def build(**changes):
    model = dict(
        type='mmirstd.ClassicalSegmentor',
        test_cfg=dict(mode='whole'),
        data_preprocessor=dict(type='mmirstd.IRSTDDataPreProcessor', mean=[0.0], std=[1.0]),
        backbone=dict(type='mmirstd.ClassicalDetector', method='top_hat') | changes.pop('backbone', {}),
        decode_head=dict(type='mmirstd.ThresholdHead') | changes.pop('decode_head', {}),
    )
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(ConfigDict(model | changes)).eval()


def predict(model, *images):
    samples = [SegDataSample(metainfo=dict(img_shape=i.shape[1:], ori_shape=i.shape[1:])) for i in images]
    return model.test_step(dict(inputs=list(images), data_samples=samples))


@pytest.mark.parametrize(
    ('rule', 'number'), [('fixed', None), ('fixed', 0.2), ('mean_std', 3.0), ('otsu', None), ('budget', 0.02)]
)
def test_the_segmentor_follows_the_rule(rule, number):
    images = [torch.from_numpy(np.roll(GOLDEN['image'], 7 * i, axis=0))[None] for i in range(2)]
    for image, sample in zip(images, predict(build(decode_head=dict(rule=rule, number=number)), *images), strict=True):
        values = normalize_map(top_hat(image[0].numpy()))
        expected = values > map_threshold(values, rule, number)
        np.testing.assert_array_equal(sample.pred_sem_seg.data[0].numpy() > 0, expected)
        np.testing.assert_array_equal(sample.seg_logits.data[0].numpy() > 0.5, expected)
        assert 0 < expected.sum() < expected.size / 2
        if rule == 'fixed' and number is None:
            np.testing.assert_allclose(sample.seg_logits.data[0], values, atol=1e-6)


@pytest.mark.filterwarnings('error:Default ``avg_non_ignore``')
def test_the_head_says_nothing_of_a_loss_that_it_does_not_use():
    with DefaultScope.overwrite_default_scope('mmseg'):
        MODELS.build(dict(type='mmirstd.ThresholdHead'))


def test_dark_targets_count_as_background():
    """Otherwise what is brighter than a very dark target would be half of the range above it."""
    head = build().decode_head
    logits = head((torch.tensor([[[[-5.0, -1.0], [0.0, 1.0]]]]),))
    assert (logits[0, 0] > 0).tolist() == [[False, False], [False, True]]


def test_a_batch_is_a_sequence_where_the_detector_takes_one():
    frames = [torch.from_numpy(frame)[None] for frame in GOLDEN['frames'][:6]]
    (maps,) = build(backbone=dict(method='mslstipt')).backbone(torch.stack(frames).float())
    np.testing.assert_allclose(maps[:, 0], mslstipt(GOLDEN['frames'][:6]), atol=1e-4)


def test_the_segmentor_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"'hat'.*top_hat"):
        build(backbone=dict(method='hat'))
    with pytest.raises(TypeError, match=r'top_hat has no sizes.*did you mean size'):
        build(backbone=dict(sizes=5))
    with pytest.raises(ValueError, match='rule'):
        build(decode_head=dict(rule='best'))
    model = build()
    with pytest.raises(ValueError, match=r'channels=1'):
        model.backbone(torch.zeros(1, 3, 9, 9))
    with pytest.raises(NotTrainableError, match='top_hat has no weights'):
        model.loss(torch.zeros(1, 1, 9, 9), [])
