import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

from mmirstd.datasets import FolderDataset
from mmirstd.datasets.transforms import AlignedResize, CopyPasteTargets, LoadIRImage, LoadTargetMask, TargetAwareCrop
from mmirstd.datasets.transforms.loading import rescale
from mmirstd.registry import MODELS, TRANSFORMS

sys.path.insert(0, str(Path(__file__).parents[1] / 'io'))
from image_writers import png, tiff

RNG = np.random.default_rng(0)


def load_array(pixels, tmp_path, write=tiff, **options):
    path = tmp_path / 'deep.tif'
    path.write_bytes(write(pixels))
    return LoadIRImage(**options)({'img_path': str(path)})['img']


def reference(pixels, low, high):
    """Of normalisation, in float64, pixel by pixel."""
    return np.array([min(max((float(v) - low) / (high - low), 0), 1) * 255 for v in pixels.flat]).reshape(pixels.shape)


def deep(dtype, shape=(37, 53)):
    levels = RNG.normal(7300, 150, shape)
    if np.dtype(dtype).kind == 'f':
        return (levels / 100 - 60).astype(dtype)
    return (levels * (np.iinfo(dtype).max / 16383)).astype(dtype)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('dtype', ['u2', 'u4', 'i1', 'i2', 'i4', 'f2', 'f4', 'f8'])
def test_normalisation_against_float64(dtype, channels, tmp_path):
    pixels = deep(dtype)
    low, high = np.percentile(pixels.astype(np.float64), (1, 98))
    middle = float(pixels.min()) + (high - low) / 4, high
    for options, limits in (
        ({}, (float(pixels.min()), float(pixels.max()))),
        ({'normalize': 'percentile', 'percentiles': (1, 98)}, (low, high)),
        ({'normalize': 'fixed', 'limits': middle}, middle),
    ):
        expected = np.repeat(reference(pixels, *limits)[..., None], channels, axis=2)
        img = load_array(pixels, tmp_path, channels=channels, dtype='float32', **options)
        assert img.dtype == np.float32
        np.testing.assert_allclose(img, expected, rtol=1e-6, atol=1e-5)
        img = load_array(pixels, tmp_path, channels=channels, **options)
        assert img.dtype == np.uint8
        assert img.shape == expected.shape
        assert np.abs(img - expected).max() <= 0.5 + 1e-4
        assert (img.min(), img.max()) == (0, 255)


@pytest.mark.parametrize('write', [tiff, png])
def test_deep_colors_and_alpha(write, tmp_path):
    pixels = RNG.integers(9000, 9500, (11, 15, 4), dtype=np.uint16)
    pixels[..., 3] = RNG.integers(0, 65536, (11, 15))
    low, high = int(pixels[..., :3].min()), int(pixels[..., :3].max())
    expected = reference(pixels[..., :3], low, high)
    img = load_array(pixels, tmp_path, write, dtype='float32')
    np.testing.assert_allclose(img, expected[..., ::-1], rtol=1e-6)
    img = load_array(pixels, tmp_path, write, dtype='float32', channels=1)
    np.testing.assert_allclose(img[..., 0], expected @ [0.299, 0.587, 0.114], rtol=1e-5)
    img = load_array(pixels[..., 2:], tmp_path, write, dtype='float32', channels=1)  # gray with alpha
    low, high = int(pixels[..., 2].min()), int(pixels[..., 2].max())
    np.testing.assert_allclose(img[..., 0], reference(pixels[..., 2], low, high), rtol=1e-6)
    gray = np.repeat(pixels[..., :1], 3, axis=2)
    img = load_array(gray, tmp_path, write, dtype='float32', channels=1)
    np.testing.assert_array_equal(img, load_array(gray, tmp_path, write, dtype='float32')[..., :1])


@pytest.mark.parametrize('dtype', ['uint8', 'float32'])
def test_constant_images_are_zero(dtype, tmp_path):
    for value in (0, 7, 65535):
        pixels = np.full((5, 7), value, np.uint16)
        for options in ({}, {'normalize': 'percentile'}):
            assert not load_array(pixels, tmp_path, dtype=dtype, **options).any()
        fixed = load_array(pixels, tmp_path, dtype=dtype, normalize='fixed', limits=(0, 65535))
        np.testing.assert_allclose(fixed, value / 65535 * 255, atol=0.5 if dtype == 'uint8' else 1e-5)


def test_targets_survive_where_the_percentiles_are_equal(tmp_path):
    pixels = np.full((64, 64), 500, np.uint16)
    pixels[30, 31] = 501
    img = load_array(pixels, tmp_path, normalize='percentile', channels=1)
    assert img[30, 31] == 255
    assert np.count_nonzero(img) == 1


def scene(targets=4, hot=False, dead=False):
    """14 bits: clutter of 20 levels about 7300, and a target of 2 x 2 pixels, 400 levels above it."""
    rng = np.random.default_rng(3)
    pixels = rng.normal(7300, 20, (256, 320))
    mask = np.zeros(pixels.shape, bool)
    mask[100:102, 200:202] = True
    pixels[mask] = 7700
    pixels[5, 5] = 16383 if hot else 7300
    pixels[9, 9] = 0 if dead else 7300
    return pixels.round().astype(np.uint16), mask


def scr(img, mask):
    """Signal-to-clutter ratio: target above the mean of the rest, over its standard deviation, sensor defects aside."""
    clutter = ~mask
    clutter[[5, 9], [5, 9]] = False
    img = img[..., 0].astype(np.float64)
    return (img[mask].mean() - img[clutter].mean()) / img[clutter].std()


def test_percentiles_must_not_cut_targets_away(tmp_path):
    pixels, mask = scene()
    ratio = scr(pixels[..., None], mask)
    assert 19 < ratio < 21
    kept = {
        (100.0, 'float32'): scr(load_array(pixels, tmp_path, normalize='percentile', dtype='float32'), mask),
        (100.0, 'uint8'): scr(load_array(pixels, tmp_path, normalize='percentile'), mask),
        **{
            (upper, 'uint8'): scr(load_array(pixels, tmp_path, normalize='percentile', percentiles=(0.1, upper)), mask)
            for upper in (99.0, 99.9)
        },
    }
    assert kept[100.0, 'float32'] == pytest.approx(ratio, rel=0.01)
    assert kept[100.0, 'uint8'] == pytest.approx(ratio, rel=0.02)
    # the level of the brightest thousandth of the clutter, and no more
    assert kept[99.9, 'uint8'] < 3.3
    assert kept[99.0, 'uint8'] < 2.5
    # the bound of the docstring
    number, k = pixels.size, int(mask.sum())
    bound = 100 * (number - k) / (number - 1)
    assert load_array(pixels, tmp_path, normalize='percentile', percentiles=(0.1, bound))[mask].min() == 255
    cut = load_array(pixels, tmp_path, normalize='percentile', percentiles=(0.1, bound - 0.01), dtype='float32')
    assert scr(cut, mask) < ratio / 3
    assert scr(load_array(pixels, tmp_path, normalize='percentile', percentiles=(0.1, bound)), mask) > 0.98 * ratio


def test_dead_and_hot_pixels(tmp_path):
    pixels, mask = scene(dead=True)
    ratio = scr(pixels[..., None], mask)
    levels = {
        method: len(np.unique(load_array(pixels, tmp_path, normalize=method))) for method in ('range', 'percentile')
    }
    assert levels['range'] < 10 < 50 < levels['percentile']
    pixels, mask = scene(hot=True)
    assert scr(load_array(pixels, tmp_path, dtype='float32'), mask) == pytest.approx(ratio, rel=1e-3)
    fixed = load_array(pixels, tmp_path, normalize='fixed', limits=(7200, 7800))
    assert scr(fixed, mask) == pytest.approx(ratio, rel=0.02)


def test_8_bit_files_on_request(tmp_path):
    pixels = RNG.integers(90, 120, (11, 15), dtype=np.uint8)
    img = load_array(pixels, tmp_path, png, channels=1, normalize_8bit=True, dtype='float32')
    np.testing.assert_allclose(img[..., 0], reference(pixels, int(pixels.min()), int(pixels.max())), rtol=1e-6)
    img = load_array(pixels, tmp_path, png, normalize='fixed', limits=(0, 510), normalize_8bit=True)
    assert np.abs(img[..., 0] - pixels / 2).max() <= 0.5


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_values_that_are_not_finite_are_refused(value, dtype, tmp_path):
    pixels = deep(dtype)
    pixels[3, 4] = pixels[5, 6] = value
    for options in ({}, {'normalize': 'percentile'}, {'normalize': 'fixed', 'limits': (0, 1)}):
        with pytest.raises(ValueError, match=r'deep\.tif: 2 of 1961 values are NaN or infinite'):
            load_array(pixels, tmp_path, **options)
    with pytest.raises(ValueError, match=r'deep\.tif: 2 of 1961 values are NaN or infinite'):
        LoadTargetMask()({'seg_map_path': str(tmp_path / 'deep.tif'), 'ori_shape': pixels.shape})


def test_extreme_ranges(tmp_path):
    for scale in (5e-324, 1e-300, 1e300):
        pixels = np.array([[0, 1, 2, 3, 4]]) * np.float64(scale)
        img = load_array(pixels, tmp_path, channels=1, dtype='float32')
        np.testing.assert_allclose(img[0, :, 0], np.arange(5) * 63.75, rtol=1e-6)
    with pytest.raises(ValueError, match=r'deep\.tif: values from -1e\+308 to 1e\+308 cannot be scaled'):
        load_array(np.array([[-1e308, 1e308]]), tmp_path)


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint16, np.int32, np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=5),
        elements=st.integers(0, 99),
    ),
    st.floats(-1e3, 1e3),
    st.floats(1e-3, 1e3),
)
def test_rescale(img, low, extent):
    scaled = rescale(img, low, low + extent)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, reference(img, low, low + extent), rtol=1e-6, atol=1e-30)
    assert not rescale(img, low, low).any()


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('dtype', ['uint8', 'float32'])
def test_deep_files_through_a_pipeline_and_a_model(channels, dtype, tmp_path):
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (tmp_path / folder).mkdir()
    for i in range(3):
        mask = np.zeros((61, 75), np.uint16)
        mask[20 + i : 23 + i, 30:33] = 65535
        img = rng.normal(7300, 20, mask.shape) + 400 * (mask > 0)
        (tmp_path / f'images/{i}.tif').write_bytes(tiff(img.astype(np.uint16), compression=5, predictor=2))
        (tmp_path / f'masks/{i}.tif').write_bytes(tiff(mask, compression=8, order='>'))
    with DefaultScope.overwrite_default_scope('mmseg'):
        load = [LoadIRImage(channels, dtype=dtype), LoadTargetMask()]
        pack = TRANSFORMS.build({'type': 'PackSegInputs'})
        augment = [
            AlignedResize(scale=(90, 90), keep_ratio=True),
            TargetAwareCrop((64, 64), target_prob=1),
            CopyPasteTargets(prob=1, other_prob=0),
            TRANSFORMS.build({'type': 'RandomFlip', 'prob': 0.5}),
        ]
        train = FolderDataset(data_root=tmp_path, pipeline=[*load, *augment, pack])
        test = FolderDataset(data_root=tmp_path, pipeline=[*load, pack], test_mode=True)
        config = {
            'type': 'EncoderDecoder',
            'data_preprocessor': {
                'type': 'mmirstd.IRSTDDataPreProcessor', 'mean': [100.0] * channels, 'std': [40.0] * channels,
                'size': (64, 64), 'seg_pad_val': 255, 'test_divisor': 8,
            },
            'backbone': {
                'type': 'UNet', 'in_channels': channels, 'base_channels': 4, 'num_stages': 2, 'strides': (1, 1),
                'enc_num_convs': (1, 1), 'dec_num_convs': (1,), 'downsamples': (True,), 'enc_dilations': (1, 1),
                'dec_dilations': (1,), 'norm_cfg': {'type': 'BN'},
            },
            'decode_head': {
                'type': 'FCNHead', 'in_channels': 4, 'channels': 4, 'num_convs': 1, 'concat_input': False,
                'num_classes': 2, 'out_channels': 1, 'threshold': 0.5, 'norm_cfg': {'type': 'BN'},
                'loss_decode': {'type': 'CrossEntropyLoss', 'use_sigmoid': True, 'avg_non_ignore': True},
            },
            'test_cfg': {'mode': 'whole'},
        }  # fmt: skip
        model = MODELS.build(ConfigDict(config))
    np.random.seed(0)  # noqa: NPY002 - the transforms draw from numpy's global generator
    samples = [train[i % 3] for i in range(6)]
    pasted = 0
    for sample in samples:
        inputs, mask = sample['inputs'].numpy(), sample['data_samples'].gt_sem_seg.data.numpy()[0]
        assert inputs.dtype == dtype
        assert inputs.shape == (channels, 64, 64)
        assert set(np.unique(mask)) == {0, 1}
        target, clutter = inputs[:, mask == 1], inputs[:, mask == 0]
        assert target.mean() > clutter.mean() + 5 * clutter.std()
        assert (dtype == 'uint8') == (inputs == np.round(inputs)).all()
        pasted += cv2.connectedComponents(mask.astype(np.uint8))[0] > 2
    assert pasted
    batch = model.data_preprocessor(pseudo_collate(samples[:2]), training=True)
    np.testing.assert_allclose(
        batch['inputs'][0].numpy(), (samples[0]['inputs'].numpy() - np.float32(100)) / 40, rtol=1e-6
    )
    losses = model.loss(**batch)
    losses['decode.loss_ce'].backward()
    assert all(np.isfinite(p.grad.numpy()).all() for p in model.parameters())
    (result,) = model.eval().test_step(pseudo_collate([test[1]]))
    assert result.pred_sem_seg.data.shape == (1, 61, 75)
