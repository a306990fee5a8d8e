"""The transform: the core's numbers on every type, shape and size of image, in real pipelines."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmirstd.datasets.transforms import WPMD, LoadIRImage, LoadTargetMask
from mmirstd.models.data_preprocessor import IRSTDDataPreProcessor
from mmirstd.models.layers import detail_scale, wavelet_diffusion
from mmirstd.ops.target_statistics import noise_level, target_statistics


def picture(shape, dtype=np.float32, high=256, seed=0):
    return (np.random.default_rng(seed).random(shape) * high).astype(dtype)


def reference(img, k, **options):
    """The core in float64 on (H, W, C)."""
    u = torch.from_numpy(np.moveaxis(img, 2, 0).astype(np.float64))
    if k is None:
        k = 2 * detail_scale(u).clamp(min=1 / np.sqrt(12) if img.dtype.kind == 'u' else 0)
    return np.moveaxis(wavelet_diffusion(u, k, **options).numpy(), 0, 2)


@pytest.mark.parametrize(
    'options', [{}, dict(levels=2, coupled=False, num_steps=3), dict(decimated=True, dt=1.0), dict(wavelet='db2')]
)
@pytest.mark.parametrize(('dtype', 'high'), [(np.uint8, 256), (np.uint16, 65536), (np.float32, 255), (np.float64, 255)])
def test_it_is_the_core(dtype, high, options):
    img = picture((21, 16, 3), dtype, high)
    before = img.copy()
    for k, unit in ((None, 'median'), (20.0, 'level')):
        results = WPMD(**dict(k=k) if k else {}, k_unit=unit, **options)(dict(img=img, gt_seg_map='as it is'))
        got = results['img']
        assert got.dtype == dtype
        expected = reference(img, k, **options)
        if np.dtype(dtype).kind == 'u':
            expected = np.rint(expected).clip(0, np.iinfo(dtype).max)
            # float32 rounds otherwise where the exact value is a half.
            assert np.abs(got - expected).max() <= 1
            assert (got != expected).mean() < (0.01 if dtype == np.uint8 else 0.05)
        else:
            np.testing.assert_allclose(got, expected, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-4)
        assert results['gt_seg_map'] == 'as it is'
    assert np.array_equal(img, before)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([None, 1, 2, 3, 4]),
    st.sampled_from([np.uint8, np.uint16, np.int16, np.float16, np.float32, np.float64]),
    st.sampled_from(['median', 'mean', 'level']),
    st.sampled_from(['replace', 'append']),
    st.booleans(),
    st.integers(0, 9),
)
@settings(max_examples=150, deadline=None)
def test_any_image(height, width, channels, dtype, unit, mode, constant, seed):
    shape = (height, width) if channels is None else (height, width, channels)
    img = np.full(shape, 77, dtype) if constant else picture(shape, dtype, seed=seed)
    got = WPMD(k_unit=unit, num_steps=2, mode=mode)(dict(img=img))['img']
    assert got.dtype == dtype
    assert got.flags.c_contiguous
    if mode == 'replace':
        assert got.shape == img.shape
        smooth = got
    else:
        assert got.shape == (height, width, (channels or 1) + 1)
        assert np.array_equal(got[..., :-1].reshape(shape), img)
        smooth = got[..., -1]
    if constant:
        assert (smooth == 77).all()
    assert smooth.min() >= img.min()
    assert smooth.max() <= img.max()


def test_equal_channels_stay_equal_and_are_as_one():
    one = picture((30, 20, 1), np.uint8)
    three = np.repeat(one, 3, axis=2)
    got = WPMD()(dict(img=three))['img']
    assert np.array_equal(got, np.repeat(WPMD()(dict(img=one))['img'], 3, axis=2))
    assert np.array_equal(WPMD()(dict(img=one[..., 0]))['img'], got[..., 0])


def test_channels_that_are_replaced():
    img = picture((12, 9, 3), np.uint8)
    smooth = WPMD()(dict(img=img))['img']
    got = WPMD(channels=(2,))(dict(img=img))['img']
    assert np.array_equal(got[..., :2], img[..., :2])
    assert np.array_equal(got[..., 2], smooth[..., 2])
    appended = WPMD(mode='append')(dict(img=img))['img']
    assert np.abs(appended[..., 3] - smooth.mean(axis=2)).max() <= 1
    with pytest.raises(ValueError, match=r'channels=\(2,\) of an image of 1'):
        WPMD(channels=[2])(dict(img=img[..., 0]))


def test_float_images_hold_levels_between_and_beyond():
    img = picture((16, 16, 1)) * 3 - 200
    got = WPMD(k=40, k_unit='level')(dict(img=img))['img']
    assert got.min() < 0
    assert got.max() > 255
    np.testing.assert_allclose(got.mean(dtype=float), img.mean(dtype=float), atol=1e-3)


def test_rounded_images_have_at_least_the_noise_of_rounding():
    rng = np.random.default_rng(0)
    ramp = np.add.outer(np.arange(40), np.arange(40)) * 0.05 + rng.normal(0, 0.05, (40, 40)) + 50
    img = np.rint(ramp).astype(np.uint8)
    assert float(detail_scale(torch.from_numpy(img.astype(np.float32)))) == 0
    assert not np.array_equal(WPMD()(dict(img=img))['img'], img)
    # A floating image says itself what its noise is, and this one has none in most places.
    assert np.allclose(WPMD()(dict(img=img.astype(np.float32)))['img'], img)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(k=0), 'WPMD: k must be positive'),
        (dict(k_unit='mad'), "WPMD: k_unit must be 'mean', 'median' or 'level', got 'mad'"),
        (dict(dt=1.5), r'WPMD: dt must be in \(0, 1\]'),
        (dict(num_steps=0), 'WPMD: num_steps'),
        (dict(wavelet='sym4'), 'WPMD: wavelet must be one of'),
        (dict(mode='add'), "WPMD: mode must be 'replace' or 'append', got 'add'"),
        (dict(channels=()), 'WPMD: channels must be indices'),
        (dict(channels=(-1,)), 'WPMD: channels must be indices'),
        (dict(channels=(0,), mode='append'), "with mode='replace'"),
    ],
)
def test_refused_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        WPMD(**arguments)


def test_refused_images():
    with pytest.raises(ValueError, match='img is int64; it must be of 8 or 16 bits, or floating'):
        WPMD()(dict(img=np.ones((4, 4), np.int64)))
    img = picture((4, 4, 1))
    img[0, 0] = np.nan
    with pytest.raises(ValueError, match='not finite'):
        WPMD()(dict(img=img))


@pytest.mark.parametrize(('mode', 'channels'), [('replace', 3), ('append', 4)])
def test_in_a_pipeline_to_the_network(mode, channels, tmp_path):
    init_default_scope('mmseg')
    Image.fromarray(picture((33, 47), np.uint16, 2**14)).save(tmp_path / 'deep.png')
    Image.fromarray(np.zeros((33, 47), np.uint8)).save(tmp_path / 'mask.png')
    pipeline = Compose(
        [
            TRANSFORMS.build(step)
            for step in (
                dict(type='mmirstd.LoadIRImage', dtype='float32'),
                dict(type='mmirstd.LoadTargetMask'),
                dict(type='mmirstd.TargetAwareCrop', crop_size=(32, 32), target_prob=0.5, pad_mode='reflect'),
                dict(type='mmirstd.InfraredPhotometric'),
                dict(type='mmirstd.WPMD', mode=mode),
                dict(type='RandomFlip', prob=1.0),
                dict(type='PackSegInputs'),
            )
        ]
    )
    results = pipeline(
        dict(
            img_path=str(tmp_path / 'deep.png'), seg_map_path=str(tmp_path / 'mask.png'), reduce_zero_label=False,
            seg_fields=[],
        )
    )  # fmt: skip
    assert results['inputs'].shape == (channels, 32, 32)
    prepared = IRSTDDataPreProcessor(mean=[100.0] * channels, std=[50.0] * channels, size=(32, 32))(
        dict(inputs=[results['inputs']], data_samples=[results['data_samples']]), training=True
    )
    assert prepared['inputs'].shape == (1, channels, 32, 32)
    torch.testing.assert_close(prepared['inputs'][0], (results['inputs'] - 100) / 50)


def test_repr():
    shown = repr(WPMD(mode='append', dt=0.25))
    assert shown.startswith("WPMD(k=2.0, k_unit='median', mode='append', channels=None, num_steps=5, dt=0.25, wavelet=")
    assert repr(eval(shown)) == shown


@pytest.mark.parametrize('name', ['Misc_10', 'Misc_100'])
def test_real_images_lose_noise_and_keep_targets(real_data, name):
    results = LoadIRImage(channels=1)(dict(img_path=str(real_data / f'NUAA-SIRST/images/{name}.png')))
    masks = sorted((real_data / 'NUAA-SIRST/masks').glob(f'{name}[_.]*'))
    mask = LoadTargetMask()(dict(results, seg_map_path=str(masks[0]), seg_fields=[]))['gt_seg_map']
    img = results['img'].astype(np.float32)
    smooth = WPMD(k_unit='level')(dict(img=img))['img']
    assert noise_level(smooth[..., 0]) < 0.5 * noise_level(img[..., 0])
    before, after = target_statistics(img, mask), target_statistics(smooth, mask)
    assert (np.abs(after.contrast) > 0.95 * np.abs(before.contrast)).all()
