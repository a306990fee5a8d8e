"""Synthetic scenes: what is in them, that they repeat, and that bad settings are refused."""

import pickle
from collections import Counter

import cv2
import numpy as np
import pytest
from scipy import ndimage
from scipy.special import erf

from mmirstd.synthesis.backgrounds import BACKGROUNDS
from mmirstd.synthesis.config import SceneConfig
from mmirstd.synthesis.fields import random_fields, standardize
from mmirstd.synthesis.scenes import render_scene, scene_generator
from mmirstd.synthesis.targets import KINDS, cut_mask, draw_target, point_spread

EIGHT = np.ones((3, 3))
CLEAN = {
    'noise_sigma': (0, 0),
    'stripe_prob': 0,
    'dead_pixels': 0,
    'sharpen_prob': 0,
    'jpeg_prob': 0,
    'clutter': 0,
    'vignetting_prob': 0,
    'glow_prob': 0,
}


def scene(index=0, size=(64, 64), part='train', seed=0, **cfg):
    return render_scene(scene_generator(seed, part, index), size, SceneConfig(**cfg))


def test_the_defaults_name_all_backgrounds_and_targets():
    """By the defaults, unknown names in a config are told."""
    assert SceneConfig().backgrounds.keys() == BACKGROUNDS.keys()
    assert SceneConfig().target_kinds.keys() == KINDS.keys()


@pytest.mark.parametrize('name', BACKGROUNDS)
@pytest.mark.parametrize('size', [(64, 64), (33, 71), (97, 40)])
def test_backgrounds(name, size):
    draw, contrast = BACKGROUNDS[name]
    for seed in range(6):
        image = standardize(draw(np.random.default_rng(seed), *size))
        assert image.shape == size
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert abs(float(np.median(image[::3, ::3]))) < 1e-3
    assert 0 < contrast[0] < contrast[1]


def test_random_fields_have_the_asked_spectrum():
    for beta, tile in ((0.0, True), (1.5, False), (3.0, True)):
        power, moments = 0, []
        for seed in range(12):
            for f in random_fields(np.random.default_rng(seed), 128, 128, beta, tile=tile):
                window = np.hanning(128)[:, None] * np.hanning(128)
                power = power + np.abs(np.fft.fft2(f * window)) ** 2
                moments.append((f.mean(), f.var()))
        assert np.abs(np.mean(moments, 0) - (0, 1)).max() < 0.25
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
        ring = (radius > 0.05) & (radius < 0.3)
        slope = np.polyfit(np.log(radius[ring]), np.log(power[ring]), 1)[0]
        assert slope == pytest.approx(-beta, abs=0.25)


def test_random_fields_are_independent_and_stretched_along_the_angle():
    a, b = random_fields(np.random.default_rng(0), 256, 256, 1.0, wavelength=20)
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.05
    for angle in (0.0, np.pi / 2):
        f, _ = random_fields(np.random.default_rng(1), 256, 256, 2.0, stretch=6, angle=angle)
        rough_x, rough_y = np.diff(f, axis=1).std(), np.diff(f, axis=0).std()
        assert (rough_y > 1.5 * rough_x) if angle == 0 else (rough_x > 1.5 * rough_y)


def test_point_spread_is_the_pixel_integral_of_a_gaussian():
    for sigma, shift in ((0.6, (0.3, -0.45)), (1.7, (0.0, 0.2))):
        spot = point_spread((sigma, sigma), 0.0, shift).astype(float)
        radius = spot.shape[0] // 2
        edges = np.arange(-radius, radius + 2) - 0.5
        rows, cols = (np.diff(erf((edges - s) / sigma / np.sqrt(2))) / 2 for s in shift)
        np.testing.assert_allclose(spot / spot.sum(), np.outer(rows, cols), atol=2e-6)
        center = ndimage.center_of_mass(spot) - np.array(radius)
        np.testing.assert_allclose(center, shift, atol=2e-3)
    # An elongated spot has its spreads along and across the angle.
    spot = point_spread((3.0, 1.0), np.pi / 4, (0, 0)).astype(float)
    y, x = np.mgrid[: len(spot), : len(spot)] - len(spot) // 2
    covariance = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=spot.ravel())
    np.testing.assert_allclose(covariance, [[5, 4], [4, 5]], atol=0.15)


@pytest.mark.parametrize('kind', KINDS)
def test_targets_and_their_masks(kind):
    rng = np.random.default_rng(3)
    for _ in range(40):
        length = rng.uniform(5, 20)
        spot = draw_target(rng, kind, rng.uniform(0.7, 1.8), length)
        assert spot.max() == pytest.approx(1)
        assert spot.min() >= 0
        assert len(spot) % 2 == 1
        assert max(spot[0].max(), spot[-1].max(), spot[:, 0].max(), spot[:, -1].max()) < 0.05  # fades out in its patch
        kept, mask = cut_mask(spot, 0.4)
        label, count = ndimage.label(spot > 0.4, EIGHT)
        assert (mask == (label == label[np.unravel_index(spot.argmax(), spot.shape)])).all()
        assert not kept[(label > 0) & ~mask].any()  # nothing bright stays without a label
        assert (kept[mask] == spot[mask]).all()
        assert count >= 1


def test_mask_and_info_describe_the_same_targets():
    total = 0
    for index in range(60):
        image, mask, info = scene(index, (96, 81), target_counts=(0, 1, 1, 1, 1, 1))
        assert image.shape == mask.shape == (96, 81)
        assert image.dtype == mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 1}
        label, count = ndimage.label(mask, EIGHT)
        assert count == len(info['targets'])
        centers = ndimage.center_of_mass(mask, label, range(1, count + 1))
        found = sorted((round(y, 4), round(x, 4), int((label == i + 1).sum())) for i, (y, x) in enumerate(centers))
        assert found == sorted((round(t.center[0], 4), round(t.center[1], 4), t.area) for t in info['targets'])
        for i, box in enumerate(ndimage.find_objects(label), 1):
            grown = tuple(slice(max(0, s.start - 3), s.stop + 3) for s in box)
            assert not ((label[grown] > 0) & (label[grown] != i)).any()  # target_gap = 4
        total += count
    assert total > 150


@pytest.mark.parametrize('kind', ['point', 'plane'])
def test_signal_to_clutter_ratio_is_the_one_asked_for(kind):
    """Measured anew, in plain loops, on the 8-bit image."""
    ratios = []
    for index in range(30):
        image, mask, info = scene(
            index, target_counts=(0, 1), target_kinds={kind: 1}, target_size=(6, 12), scr=(8, 8), level=(80, 90),
            contrast=(0.4, 0.4), target_contrast=(1, 150), backgrounds={'cumulus': 1, 'terrain': 1}, **CLEAN,
        )  # fmt: skip
        (target,) = info['targets']
        ys, xs = np.nonzero(mask)
        around = [
            float(image[y, x])
            for y in range(max(0, ys.min() - 10), min(64, ys.max() + 11))
            for x in range(max(0, xs.min() - 10), min(64, xs.max() + 11))
            if not (ys.min() - 2 <= y <= ys.max() + 2 and xs.min() - 2 <= x <= xs.max() + 2)
        ]
        contrast = image[mask > 0].mean() - np.mean(around)
        if image.max() == 255 or min(around) == 0:  # clipped
            continue
        assert contrast == pytest.approx(target.contrast, abs=0.6 + 0.02 * target.contrast)
        ratios.append(contrast / np.sqrt(np.var(around) + 1 / 12))
        assert target.scr == pytest.approx(8)
    assert len(ratios) > 10
    assert np.median(ratios) == pytest.approx(8, rel=0.05)


def test_contrast_is_kept_in_its_range_and_below_saturation():
    for index in range(40):
        for t in scene(index, scr=(0.01, 1e5), target_contrast=(20, 60), target_counts=(0, 0, 1))[2]['targets']:
            assert 20 <= t.contrast <= 60
    assert not scene(backgrounds={'clear': 1}, level=(255, 255), contrast=(0, 0), **CLEAN)[2]['targets']


def test_number_of_targets_follows_its_distribution():
    counts = Counter(len(scene(i, (48, 48), target_counts=(1, 3))[2]['targets']) for i in range(200))
    assert set(counts) == {0, 1}
    assert counts[0] == pytest.approx(50, abs=20)
    assert not scene(target_counts=(1,))[1].any()
    # Places run out, without a hang, and what is reported is what is there.
    _, mask, info = scene(size=(32, 32), target_counts=(0,) * 30 + (1,))
    assert 0 < len(info['targets']) == ndimage.label(mask, EIGHT)[1] < 30


def test_scenes_repeat_and_differ():
    reference = scene(5, (48, 56))
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    threads = cv2.getNumThreads()
    for n in (1, 4):
        cv2.setNumThreads(n)
        again = scene(5, (48, 56))
        assert (again[0] == reference[0]).all()
        assert (again[1] == reference[1]).all()
        assert again[2] == reference[2]
    cv2.setNumThreads(threads)
    others = [scene(6, (48, 56)), scene(5, (48, 56), seed=1), *(scene(5, (48, 56), part=p) for p in ('val', 'test'))]
    images = {reference[0].tobytes(), *(o[0].tobytes() for o in others)}
    assert len(images) == 5
    # The order of keys is no parameter.
    weights = {'clear': 1, 'cumulus': 2, 'sea': 3}
    a, b = (scene(2, backgrounds=w)[0] for w in (weights, dict(reversed(weights.items()))))
    assert (a == b).all()
    # A seed will do instead of a generator.
    assert (render_scene(7, (40, 40))[0] == render_scene(np.random.default_rng(7), (40, 40))[0]).all()


def test_sensor_effects():
    flat = {'backgrounds': {'clear': 1}, 'level': (100, 100), 'contrast': (0, 0), 'target_counts': (1,)}
    still = scene(size=(128, 128), **flat, **CLEAN)[0]
    assert (still == 100).all()
    noisy = scene(size=(128, 128), **flat, **CLEAN | {'noise_sigma': (5, 5)})[0].astype(float)
    assert noisy.std() == pytest.approx(5, rel=0.1)
    for seed in range(12):
        striped = scene(seed, (128, 128), **flat, **CLEAN | {'stripe_prob': 1, 'stripe_sigma': (6, 6)})[0].astype(float)
        lines = striped.mean(0).std(), striped.mean(1).std()
        assert max(lines) == pytest.approx(6, rel=0.3)
        assert min(lines) < 0.01
    dead = scene(size=(128, 128), **flat, **CLEAN | {'dead_pixels': 80})[0]
    assert 5 < (dead != 100).sum() < 40
    vignetted = scene(size=(64, 64), **flat, **CLEAN | {'vignetting_prob': 1, 'vignetting': (-40, -40)})[0]
    assert vignetted[32, 32] > 95 > 90 > vignetted[0, 0]
    assert (scene(size=(64, 64), **flat, **CLEAN | {'glow_prob': 1})[0] >= 100).all()
    pocked = scene(3, size=(64, 64), **flat, **CLEAN | {'clutter': 100})[0]
    assert pocked.min() < 95
    textured = flat | {'contrast': (1, 1), 'backgrounds': {'terrain': 1}}
    plain = scene(1, (128, 128), **textured, **CLEAN | {'psf_sigma': (1, 1)})[0].astype(float)
    enhanced, compressed = {'sharpen_prob': 1, 'sharpen': (2, 2)}, {'jpeg_prob': 1, 'jpeg_quality': (30, 30)}
    sharp = scene(1, (128, 128), **textured, **CLEAN | {'psf_sigma': (1, 1)} | enhanced)[0].astype(float)
    assert np.diff(sharp).std() > 1.3 * np.diff(plain).std()
    squeezed = scene(1, (128, 128), **textured, **CLEAN | {'psf_sigma': (1, 1)} | compressed)[0]
    assert 0 < np.abs(squeezed - plain).mean() < 15


@pytest.mark.parametrize(
    ('key', 'value', 'error'),
    [
        ('backgrounds', {'space': 1}, ValueError),
        ('backgrounds', {'sea': 0}, ValueError),
        ('backgrounds', ['sea'], TypeError),
        ('target_kinds', {'point': -1}, ValueError),
        ('target_kinds', {'point': 'many'}, TypeError),
        ('target_kinds', {}, ValueError),
        ('target_counts', (0, float('nan')), ValueError),
        ('target_counts', 3, TypeError),
        ('level', (10, 300), ValueError),
        ('level', (50, 20), ValueError),
        ('level', (1, 2, 3), ValueError),
        ('scr', (0, 5), ValueError),
        ('scr', 'high', TypeError),
        ('noise_sigma', (float('nan'), 1), ValueError),
        ('jpeg_prob', 1.5, ValueError),
        ('jpeg_prob', True, TypeError),
        ('mask_fraction', 1, ValueError),
        ('mask_fraction', '0.5', TypeError),
        ('clutter', -1, ValueError),
        ('target_gap', 4.5, TypeError),
        ('target_gap', 0, ValueError),
        ('cloudiness', 1, TypeError),
    ],
)
def test_a_bad_config_names_the_key(key, value, error):
    with pytest.raises(error, match=key):
        SceneConfig(**{key: value})


def test_config_takes_lists_and_survives_pickling():
    cfg = SceneConfig(level=[10, 20], clutter=2, target_counts=[1, 2])
    assert cfg.level == (10, 20)
    assert pickle.loads(pickle.dumps(cfg)) == cfg


def test_bad_arguments():
    with pytest.raises(ValueError, match='part'):
        scene_generator(0, 'training', 0)
    with pytest.raises(ValueError, match='seed'):
        scene_generator(-1, 'train', 0)
    with pytest.raises(ValueError, match='size'):
        render_scene(0, (31, 64))
