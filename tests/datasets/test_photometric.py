"""The effects against closed forms and other libraries, and the transform on every type and size."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.registry import init_default_scope
from mmseg.registry import TRANSFORMS
from scipy import ndimage, stats

from mmirstd.datasets.transforms import photometric as pm
from mmirstd.datasets.transforms.photometric import Draw, InfraredPhotometric

# ruff: noqa: NPY002 - transforms draw from numpy's global generator

EFFECTS = [
    'blur',
    'vignetting',
    'read_noise',
    'shot_noise',
    'column_noise',
    'row_noise',
    'bad_pixels',
    'gain',
    'offset',
    'gamma',
]
STRONG = dict(
    blur=(0.5, 2.0), vignetting=(-0.5, 0.5), read_noise=(1, 9), shot_noise=(1, 9), column_noise=(1, 9),
    row_noise=(1, 9), bad_pixels=(0.01, 0.1), gain=(0.5, 2), offset=(-80, 80), gamma=(0.5, 2), invert=0.5,
)  # fmt: skip


def picture(shape, seed=0, high=256):
    return np.random.default_rng(seed).integers(0, high, shape).astype(np.float32)


@pytest.mark.parametrize('shape', [(1, 1, 1), (1, 7, 3), (5, 1, 1), (3, 4, 3), (64, 51, 1)])
@pytest.mark.parametrize('sigma', [0.05, 0.3, 0.5, 1.0, 2.7])
def test_blur_is_scipys(shape, sigma):
    img = picture(shape)
    expected = ndimage.gaussian_filter(img.astype(np.float64), (sigma, sigma, 0), mode='reflect', truncate=4)
    got = pm.blur(img, sigma)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-4)
    assert pm.blur(img, 0) is img


@pytest.mark.parametrize('strength', [-0.3, 0.2, 1.0])
@pytest.mark.parametrize('shape', [(9, 9, 1), (7, 12, 3), (1, 1, 1), (1, 5, 1)])
def test_vignetting(shape, strength):
    img = np.full(shape, 200, np.float32)
    got = pm.vignette(img, strength)
    height, width = shape[:2]
    cy, cx = (height - 1) / 2, (width - 1) / 2
    for y in range(height):
        for x in range(width):
            r2 = ((y - cy) ** 2 + (x - cx) ** 2) / max(cy**2 + cx**2, 1)
            np.testing.assert_allclose(got[y, x], 200 * (1 - strength * r2), rtol=1e-5, atol=1e-4)
    if max(shape[:2]) > 2:
        np.testing.assert_allclose(got[0, 0], 200 * (1 - strength), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(('read', 'shot', 'level'), [(3, 0, 100), (0, 4, 255), (0, 4, 60), (2, 5, 128), (2, 5, -20)])
def test_noise_has_the_variance_it_says(read, shot, level):
    n = 1_000_000
    noise = pm.add_noise(np.full((1000, 1000, 1), level, np.float32), read, shot, np.random.default_rng(0)) - level
    variance = read**2 + shot**2 * max(level, 0) / 255
    # Standard errors of the mean, sigma / sqrt(n), and of the variance, sigma^2 sqrt(2 / n); five of each.
    assert abs(noise.mean(dtype=float)) < 5 * np.sqrt(variance / n)
    assert abs(noise.var(dtype=float) - variance) < 5 * variance * np.sqrt(2 / n)
    assert stats.kstest(noise.ravel()[:20000] / np.sqrt(variance), 'norm').pvalue > 1e-3
    neighbors = np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]
    assert abs(neighbors) < 5 / np.sqrt(n)


def test_stripes_are_constant_along_their_line():
    img = picture((400, 3000, 3))
    only = pm.add_stripes(img, 4, 0, np.random.default_rng(0)) - img
    # To the rounding of float32 at these levels.
    np.testing.assert_allclose(only, np.broadcast_to(only[:1], only.shape), atol=5e-5)
    assert only[0, :, 0].std() == pytest.approx(4, rel=5 / np.sqrt(2 * 3000))
    rows = pm.add_stripes(img, 0, 4, np.random.default_rng(0)) - img
    np.testing.assert_allclose(rows, np.broadcast_to(rows[:, :1], rows.shape), atol=5e-5)
    assert rows[:, 0, 0].std() == pytest.approx(4, rel=5 / np.sqrt(2 * 400))
    both = pm.add_stripes(np.zeros((50, 60, 1), np.float32), 3, 2, np.random.default_rng(1))[..., 0]
    residue = both - both.mean(0) - both.mean(1)[:, None] + both.mean()
    np.testing.assert_allclose(residue, 0, atol=1e-5)


def test_bad_pixels_are_as_many_as_said():
    img = np.full((1000, 1000, 1), 90, np.float32)
    bad = pm.add_bad_pixels(img, 0.01, np.random.default_rng(0))
    for value in (0, 255):
        assert abs((bad == value).sum() - 5000) < 5 * np.sqrt(5000)
    assert set(np.unique(bad)) == {0, 90, 255}
    assert set(np.unique(pm.add_bad_pixels(img, 1.0, np.random.default_rng(0)))) == {0, 255}


@pytest.mark.parametrize('gamma', [0.4, 0.7, 1.0, 1.4, 2.2])
@pytest.mark.parametrize(('gain', 'offset', 'pivot'), [(1, 0, None), (1.4, -20, None), (0.6, 70, 128), (3, 10, 0)])
def test_levels_are_those_of_float64(gain, offset, gamma, pivot):
    img = picture((40, 30, 1))
    x = img.astype(np.float64)
    middle = x.mean() if pivot is None else pivot
    expected = 255 * (np.clip(gain * (x - middle) + middle + offset, 0, 255) / 255) ** gamma
    np.testing.assert_allclose(pm.adjust_levels(img, gain, offset, gamma, pivot), expected, atol=2e-3)


def test_inversion_is_an_involution():
    for img in (picture((9, 8, 1)), np.random.default_rng(0).random((9, 8, 3)).astype(np.float32) * 255):
        np.testing.assert_allclose(pm.invert(pm.invert(img)), img, atol=2e-5)
    results = dict(img=picture((9, 8, 3)).astype(np.uint8))
    twice = InfraredPhotometric(prob=0, invert=1)
    assert (twice(twice(dict(results)))['img'] == results['img']).all()
    assert (twice(dict(results))['img'] == 255 - results['img']).all()


def nothing_but(**effect):
    return InfraredPhotometric(prob=1, **dict.fromkeys(EFFECTS) | effect)


@pytest.mark.parametrize('dtype', ['uint8', 'float32', 'float64'])
def test_transform_is_the_chain_rounded_once(dtype):
    img = picture((33, 21, 1)).astype(dtype)
    aug = InfraredPhotometric(prob=1, **STRONG | dict(invert=1.0))
    np.random.seed(3)
    draw = aug.draw()
    np.random.seed(3)
    got = aug(dict(img=img.copy()))['img']
    rngs = [np.random.default_rng((draw.seed, i)) for i in range(3)]
    x = pm.vignette(pm.blur(img.astype(np.float32), draw.blur), draw.vignetting)
    x = pm.add_stripes(
        pm.add_noise(x, draw.read_noise, draw.shot_noise, rngs[0]), draw.column_noise, draw.row_noise, rngs[1]
    )
    x = pm.add_bad_pixels(x, draw.bad_pixels, rngs[2])
    x = 255 - pm.adjust_levels(x, draw.gain, draw.offset, draw.gamma)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, np.rint(x).astype(np.uint8) if dtype == 'uint8' else x.astype(dtype))


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**31 - 1),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([(), (1,), (3,)]),
    st.sampled_from(['uint8', 'float32', 'float64', 'float16']),
    st.booleans(),
)
def test_any_size_type_and_channels(seed, size, channels, dtype, with_mask):
    rng = np.random.default_rng(seed)
    img = np.broadcast_to(rng.integers(0, 256, size).reshape(*size, *(1,) * len(channels)), (*size, *channels)).astype(
        dtype
    )
    results = dict(img=img.copy())
    if with_mask:
        mask = (rng.random(size) < 0.1).astype(np.uint8)
        mask[rng.random(size) < 0.1] = 255
        results['gt_seg_map'] = mask.copy()
    given_ = results['img']
    np.random.seed(seed)
    out = InfraredPhotometric(prob=0.7, **STRONG)(results)
    np.testing.assert_array_equal(given_, img)  # other holders of the array, such as a cache, keep theirs
    got = out['img']
    assert got.shape == img.shape
    assert got.dtype == img.dtype
    assert got.flags.c_contiguous
    assert np.isfinite(got).all()
    assert got.min() >= 0
    assert got.max() <= 255
    if channels == (3,):
        assert (got == got[..., :1]).all()
    if with_mask:
        np.testing.assert_array_equal(out['gt_seg_map'], mask)


def test_one_and_three_channels_and_both_types_agree():
    gray = picture((31, 45, 1)).astype(np.uint8)
    outs = []
    for img in (gray, gray[..., 0], gray.repeat(3, axis=2), gray.astype(np.float32)):
        np.random.seed(11)
        outs.append(InfraredPhotometric(prob=1, **STRONG)(dict(img=img))['img'].reshape(31, 45, -1)[..., :1])
    np.testing.assert_array_equal(outs[0], outs[1])
    np.testing.assert_array_equal(outs[0], outs[2])
    np.testing.assert_array_equal(outs[0], np.rint(outs[3]))


def test_colors_get_the_same_noise_in_all_channels():
    img = np.full((50, 50, 3), (90, 120, 150), np.uint8)
    np.random.seed(0)
    got = nothing_but(read_noise=(5, 5))(dict(img=img))['img'].astype(int)
    np.testing.assert_array_equal(got[..., 1] - got[..., 0], 30)
    np.testing.assert_array_equal(got[..., 2] - got[..., 0], 60)
    assert got[..., 0].std() == pytest.approx(5, rel=0.1)


def test_draws_do_not_depend_on_the_image_or_on_what_is_off():
    after, draws = set(), []
    for shape, kwargs in (
        ((1, 1), {}),
        ((64, 40, 3), {}),
        ((8, 8, 1), dict(gain=None, blur=None)),
        ((8, 8), dict(prob=0.0)),
    ):
        np.random.seed(5)
        aug = InfraredPhotometric(**dict(prob=1.0) | kwargs)
        draws.append(aug.draw())
        np.random.seed(5)
        aug(dict(img=np.zeros(shape, np.uint8)))
        after.add(np.random.rand())
    assert len(after) == 1
    assert draws[0] == draws[1]
    assert draws[2] == draws[0]._replace(gain=1, blur=0)
    assert draws[3] == Draw(seed=draws[0].seed)
    # The noise at a seed is that of the larger image's first rows, columns of one width.
    wide, high = (
        pm.sense(np.zeros((h, 30, 1), np.float32), Draw(read_noise=2, column_noise=3, seed=9)) for h in (10, 20)
    )
    np.testing.assert_array_equal(wide, high[:10])


def test_strengths_fill_their_ranges():
    aug = InfraredPhotometric(prob=0.5, invert=0.25, bad_pixels=(0.0, 0.01))
    np.random.seed(0)
    draws = [aug.draw() for _ in range(4000)]
    neutral = Draw()._asdict()
    for name in EFFECTS:
        values = np.array([getattr(d, name) for d in draws])
        applied = values[values != neutral[name]]
        low, high = aug.ranges[name]
        assert 0.45 < len(applied) / 4000 < 0.55
        if name in ('gain', 'gamma'):
            low, high, applied = np.log(low), np.log(high), np.log(applied)
        assert stats.kstest((applied - low) / (high - low), 'uniform').pvalue > 1e-4
    assert 0.21 < np.mean([d.invert for d in draws]) < 0.29
    assert len({d.seed for d in draws}) > 3990
    pairs = np.corrcoef([d.blur != 0 for d in draws], [d.gain != 1 for d in draws])[0, 1]
    assert abs(pairs) < 0.08


@pytest.mark.parametrize('background', [60, 235])
def test_a_target_is_not_driven_into_white(background):
    img = np.full((40, 40, 3), background, np.uint8)
    mask = np.zeros((40, 40), np.uint8)
    mask[20:23, 20:23] = 1
    img[mask == 1] = 250
    brighter = dict(offset=(30.0, 30.0), gamma=(0.9, 0.9), read_noise=(1.0, 1.0))
    results = dict(img=img, gt_seg_map=mask)
    kept = nothing_but(**brighter)(dict(results))
    contrast = kept['img'][mask == 1].mean() - kept['img'][mask == 0].mean()
    assert contrast > 0.5 * (250 - background)
    assert ('offset' in kept['photometric']) == (background == 60)
    assert kept['photometric']['read_noise'] == 1
    if background == 235:
        lost = nothing_but(**brighter, min_contrast=0.0)(dict(results))
        assert lost['img'][mask == 0].mean() > 253
        # Without a mask there is nothing to lose, and ignored pixels are no target.
        for other in (dict(img=img), dict(img=img, gt_seg_map=mask * 255)):
            assert nothing_but(**brighter)(other)['img'].mean() > 250


def test_defaults_leave_small_targets_their_contrast():
    """Spots of a point spread function of 0.7 pixels, as small as the sets have them, on a noiseless background."""
    y, x = np.mgrid[:25, :25]
    loss = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        cy, cx = 12 + rng.uniform(-0.5, 0.5, 2)
        spot = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 0.7**2))
        img = np.rint(90 + 50 * spot).astype(np.uint8)[..., None]
        mask = (spot > 0.35).astype(np.uint8)
        np.random.seed(seed)
        got = InfraredPhotometric(prob=1.0, read_noise=None, shot_noise=None, column_noise=None, row_noise=None)(
            dict(img=img, gt_seg_map=mask)
        )['img'].astype(float)
        contrast = [a[mask == 1].mean() - a[y < 6].mean() for a in (img.astype(float), got)]
        loss.append(contrast[1] / contrast[0])
    assert min(loss) > 0.3
    assert np.quantile(loss, 0.1) > 0.5


def test_defaults_are_documented_ranges():
    defaults = {k: v.default for k, v in inspect.signature(InfraredPhotometric).parameters.items()}
    assert list(defaults) == ['prob', *EFFECTS, 'invert', 'min_contrast']
    assert defaults['invert'] == 0
    assert defaults['bad_pixels'] is None


def test_in_a_config():
    init_default_scope('mmseg')
    aug = TRANSFORMS.build(dict(type='mmirstd.InfraredPhotometric', prob=0.25, gain=[0.9, 1.1], blur=None))
    assert aug.ranges['gain'] == (0.9, 1.1)
    assert repr(aug).startswith(
        'InfraredPhotometric(prob=0.25, blur=None, vignetting=(-0.1, 0.2), read_noise=(0.0, 3.0)'
    )
    assert eval(repr(aug)).ranges == aug.ranges
    assert InfraredPhotometric(prob=0)(dict(img=np.ones((2, 2), np.uint8)))['photometric'] == {}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(prob=1.5), r'prob must be a number in \[0, 1\], got 1.5'),
        (dict(invert=True), r'invert must be a number in \[0, 1\], got True'),
        (dict(min_contrast='a'), r"min_contrast must be a number in \[0, 1\], got 'a'"),
        (dict(gain=1.2), r'gain must be a range \(low, high\) or None, got 1.2'),
        (dict(gain=(1.2, 0.8)), r'gain must be a range .* got \(1.2, 0.8\)'),
        (dict(gain=(0, 1)), r'gain must be positive, got \(0, 1\)'),
        (dict(gamma=(-1, 1)), 'gamma must be positive'),
        (dict(gamma=(1, float('inf'))), 'gamma must be a range'),
        (dict(blur=(-0.1, 1)), 'blur must be at least 0'),
        (dict(blur=(0, 1, 2)), 'blur must be a range'),
        (dict(blur='01'), 'blur must be a range'),
        (dict(read_noise=(float('nan'), 1)), 'read_noise must be a range'),
        (dict(shot_noise=(-1, 1)), 'shot_noise must be at least 0'),
        (dict(column_noise=(None, 1)), 'column_noise must be a range'),
        (dict(row_noise=(-2, -1)), 'row_noise must be at least 0'),
        (dict(bad_pixels=(0, 1.1)), r'bad_pixels must be in \[0, 1\]'),
        (dict(offset=(-300, 0)), r'offset must be in \[-255, 255\]'),
        (dict(vignetting=(0, 2)), r'vignetting must be in \[-1, 1\]'),
    ],
)
def test_mistakes(arguments, message):
    with pytest.raises(ValueError, match=message):
        InfraredPhotometric(**arguments)


@pytest.mark.parametrize(
    ('img', 'message'),
    [
        (np.zeros((3, 3), np.uint16), 'img is uint16; it must be uint8, or floating'),
        (np.full((3, 3), 4000, np.float32), 'mean of 4000; floating images must be finite'),
        (np.full((3, 3), np.nan, np.float32), 'mean of nan'),
        (np.full((3, 3), np.inf, np.float32), 'mean of inf'),
        (np.full((3, 3), -5, np.float32), 'mean of -5'),
    ],
)
def test_images_of_another_scale(img, message):
    with pytest.raises(ValueError, match=message):
        InfraredPhotometric()(dict(img=img))
