"""Large images: tiles predict what the whole image does, and memory follows the tiles."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from mmirstd.apis import IRSTDInferencer, init_model
from mmirstd.apis.inference import own_threshold
from mmirstd.apis.tiled import LargeImage, is_large, tiling_of
from mmirstd.engine.config_checks import ConfigValueError
from mmirstd.io.bands import ImageBands
from mmirstd.utils.errors import ArgumentError

PADDED = "model['data_preprocessor'] = dict(type='mmirstd.IRSTDDataPreProcessor', test_divisor=2, {})\n"
FIXED = PADDED.format('mean=[80.0] * 3, std=[40.0] * 3')


@pytest.fixture
def model(tiny_config, tiny_checkpoint):
    return init_model(tiny_config(FIXED), tiny_checkpoint, 'cpu')


def scene(shape=(150, 211), dtype=np.uint8):
    """Clutter whose level rises from corner to corner: a tile by itself would have other levels."""
    rng = np.random.default_rng(0)
    height, width = shape
    image = np.add.outer(np.linspace(10, 90, height), np.linspace(10, 90, width)) + rng.normal(0, 6, shape)
    for y, x in zip(rng.integers(0, height - 3, 30), rng.integers(0, width - 3, 30), strict=True):
        image[y : y + 3, x : x + 3] += 70
    image = image.clip(0, 255)
    return image.astype(dtype) if dtype == np.uint8 else (image * 200 + 1000).astype(dtype)


def alike(tiled, whole):
    np.testing.assert_allclose(tiled.probability, whole.probability, atol=1e-5)
    np.testing.assert_array_equal(tiled.mask, whole.mask)
    np.testing.assert_array_equal(tiled.boxes, whole.boxes)
    np.testing.assert_allclose(tiled.scores, whole.scores, atol=1e-5)
    np.testing.assert_allclose(tiled.contrasts, whole.contrasts)
    np.testing.assert_allclose(tiled.scr, whole.scr)
    assert len(whole) > 5


def both(model, image):
    whole, tiled = IRSTDInferencer(model, tile=0), IRSTDInferencer(model, tile=96, overlap=48)
    return next(tiled.stream(image)), next(whole.stream(image))


@pytest.mark.parametrize('dtype', ['uint8', 'uint16', 'float32'])
@pytest.mark.parametrize('kind', ['array', 'png', 'strips', 'tiles', 'color'])
def test_tiles_predict_what_the_whole_image_does(model, tmp_path, dtype, kind):
    image = scene(dtype=np.dtype(dtype))
    if kind == 'color':
        image = np.stack([image, image // 2, image[::-1]], axis=2)
    if kind == 'png' and dtype != 'float32':
        cv2.imwrite(str(tmp_path / 'x.png'), image)
        image = str(tmp_path / 'x.png')
    elif kind in ('strips', 'tiles'):
        layout = {'rowsperstrip': 7} if kind == 'strips' else {'tile': (32, 48)}
        tifffile.imwrite(tmp_path / 'x.tif', image, compression='zlib', **layout)
        image = str(tmp_path / 'x.tif')
    tiled, whole = both(model, image)
    alike(tiled.detections, whole.detections)
    np.testing.assert_array_equal(np.broadcast_to(tiled.image, whole.image.shape), whole.image)


@pytest.mark.parametrize(
    'load',
    ["normalize='percentile', percentiles=(1.0, 99.5)", "normalize='fixed', limits=(0, 60000)", "dtype='float32'"],
)
@pytest.mark.parametrize('dtype', ['uint16', 'float32'])
def test_levels_are_those_of_the_whole_image(tiny_config, tiny_checkpoint, load, dtype):
    own = tiny_config(f"{FIXED}test_dataloader['dataset']['pipeline'][0] = dict(type='mmirstd.LoadIRImage', {load})")
    tiled, whole = both(init_model(own, tiny_checkpoint, 'cpu'), scene(dtype=np.dtype(dtype)))
    alike(tiled.detections, whole.detections)


@pytest.mark.parametrize('tta', [False, True])
def test_standardization_is_that_of_the_whole_image(tiny_config, tiny_checkpoint, tta):
    own = tiny_config(PADDED.format('min_std=1.0'))
    image = scene((150, 210))  # even sides: a mirrored image of odd sides meets the strides elsewhere
    model = init_model(own, tiny_checkpoint, 'cpu', tta=tta)
    tiled, whole = both(model, image)
    np.testing.assert_allclose(tiled.detections.probability, whole.detections.probability, atol=1e-5)
    assert len(whole.detections) > 5
    part = IRSTDInferencer(model, tile=0)([image[:96, :96]])['predictions'][0].probability[:48, :48]
    assert np.abs(part - whole.detections.probability[:48, :48]).max() > 0.01  # the levels do matter


def test_large_images_are_cut_by_themselves(tiny_config, tiny_checkpoint, monkeypatch):
    model = init_model(tiny_config(FIXED), tiny_checkpoint, 'cpu', {'model.test_cfg': {'tile': 64}})
    image = scene((96, 97))
    sizes = []

    def init(self, source, name, pipeline, rows, standardize):
        sizes.append(rows)
        raise ValueError

    monkeypatch.setattr(LargeImage, '__init__', init)
    failures = {}
    assert list(IRSTDInferencer(model).stream(image, failures=failures)) == []
    assert (sizes, list(failures)) == ([64], ['image'])
    assert len(IRSTDInferencer(model, tile=0)(image)['predictions']) == 1
    assert len(IRSTDInferencer(model)(image[:, 1:])['predictions']) == 1
    largest = np.broadcast_to(np.uint8(0), (1537, 1536))
    assert (is_large({'img': largest}, None), is_large({'img': largest[1:]}, None)) == (True, False)


def test_a_batch_of_large_and_small_images(model):
    large, small = scene(), scene((40, 50))
    found = IRSTDInferencer(model, tile=96)([small, large, small, large], batch_size=3)['predictions']
    assert [f.mask.shape for f in found] == [(40, 50), (150, 211)] * 2
    np.testing.assert_array_equal(found[0].probability, found[2].probability)
    assert found[1].probability is not None


def test_detections_without_the_map(model):
    image = scene()
    inferencer = IRSTDInferencer(model, tile=96)
    kept, bare = (inferencer([image], keep_probability=k, min_area=2)['predictions'][0] for k in (True, False))
    assert bare.probability is None
    assert kept.to_json() == bare.to_json()


def test_too_many_pixels_above_the_threshold(model, monkeypatch):
    monkeypatch.setattr('mmirstd.apis.tiled.MAX_TARGET_PIXELS', 1000)
    with pytest.raises(ValueError, match='image: more than 1000 pixels are above the threshold of 0'):
        IRSTDInferencer(model, tile=96)(scene(), threshold=0.0)


def test_a_damaged_strip_is_reported(call, tiny_config, tiny_checkpoint, tmp_path, capsys):
    image = scene(dtype=np.uint16)
    (tmp_path / 'set').mkdir()
    for name in ('a', 'b'):
        tifffile.imwrite(tmp_path / f'set/{name}.tif', image, compression='zlib', rowsperstrip=10)
    with tifffile.TiffFile(tmp_path / 'set/a.tif') as tiff:
        at = tiff.pages[0].dataoffsets[12]
    content = bytearray((tmp_path / 'set/a.tif').read_bytes())
    content[at : at + 30] = bytes(30)
    (tmp_path / 'set/a.tif').write_bytes(content)
    options = ['--model', tiny_config(FIXED), '--checkpoint', tiny_checkpoint, '--device', 'cpu', '--out', 'out']
    assert call('infer', 'set', *options, '--tile', 96) == 1
    assert 'a.tif: not a readable image' in capsys.readouterr().err
    assert json.loads(Path('out/targets.json').read_text())['images'][0]['image'] == 'b'
    assert cv2.imread('out/pictures/b.png') is not None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--tile', '-1'], 'tiles have a positive number of pixels, or 0 for none; got -1'),
        (['--tile', '64', '--overlap', '40'], 'tiles of 64 pixels overlap by 0 to 32, not 40'),
    ],
)
def test_tiles_that_make_no_sense(call, tiny_data, capsys, options, message):
    assert call('infer', 'tiny/images', '--out', 'out', *options) == 2
    assert message in capsys.readouterr().err
    assert not Path('out').exists()


def test_tiles_too_small_for_the_strides_of_a_network():
    with pytest.raises(ArgumentError, match='multiples of 16: at least 48 are needed'):
        IRSTDInferencer(device='cpu', tile=40, overlap=16)
    with pytest.raises(ArgumentError, match='overlap by 0 to 256, not 300; 512 is the tile of the model, and `--tile`'):
        IRSTDInferencer(device='cpu', overlap=300)
    with pytest.raises(ArgumentError, match="tiles have a positive number of pixels, or 0 for none; got '512'"):
        IRSTDInferencer(device='cpu', tile='512')
    with pytest.raises(ArgumentError, match='an overlap of 8 pixels is of tiles, and a tile of 0 cuts none'):
        IRSTDInferencer(device='cpu', tile=0, overlap=8)
    for tile in ('x', 0, 512.0):
        with pytest.raises(ConfigValueError, match=r'^model\.test_cfg\.tile=.*: must be a whole number from 64 on'):
            IRSTDInferencer(device='cpu', cfg_options={'model.test_cfg.tile': tile})


@pytest.mark.parametrize('tta', [False, True])
def test_the_default_model_has_a_tile_and_a_threshold(tta):
    inferencer = IRSTDInferencer(device='cpu', tta=tta)
    assert (inferencer._tiling.size, inferencer._tiling.overlap) == (512, 128)
    assert own_threshold(inferencer.model) == 0.231
    assert IRSTDInferencer(init_model(device='cpu', tta=tta))._tiling.size == 512


def test_the_usual_tile():
    assert (tiling_of(None, None).size, tiling_of(0, None).overlap, tiling_of(512, None).overlap) == (1024, 256, 128)


def test_what_is_read_whole_and_why(tmp_path):
    image = scene(dtype=np.uint16)
    tifffile.imwrite(tmp_path / 'one.tif', np.zeros((2100, 3), np.uint8), compression='zlib', rowsperstrip=2100)
    tifffile.imwrite(tmp_path / 'plain.tif', image)
    tifffile.imwrite(tmp_path / 'planar.tif', np.stack([image] * 3), photometric='rgb', planarconfig='separate')
    cv2.imwrite(str(tmp_path / 'x.png'), image)
    reasons = {p.name: ImageBands(p).whole_reason for p in sorted(tmp_path.iterdir())}
    assert reasons == {
        'one.tif': 'compressed in parts of 2100 rows',
        'plain.tif': None,
        'planar.tif': 'each channel is stored by itself',
        'x.png': 'no TIFF',
    }
    for name in reasons:
        bands = ImageBands(tmp_path / name)
        assert bands.rows(3, 9).shape[:2] == (6, bands.shape[1])


@pytest.mark.exhaustive
@pytest.mark.parametrize('compression', [None, 'zlib'])
def test_a_mosaic_of_10000_x_10000_in_two_gigabytes(tmp_path, compression):
    mosaic = np.random.default_rng(0).normal(9000, 300, (10000, 10000)).astype(np.uint16)
    for row in range(100, 10000, 700):
        mosaic[row : row + 3, row // 2 : row // 2 + 3] = 30000
    tifffile.imwrite(tmp_path / 'mosaic.tif', mosaic, compression=compression, rowsperstrip=64)
    del mosaic
    script = f"""
        import json
        from mmirstd.apis import infer
        from mmirstd.apis.measuring import resident_peak
        summary = infer({str(tmp_path / 'mosaic.tif')!r}, {str(tmp_path / 'out')!r}, device='cpu')
        print(json.dumps([resident_peak(), summary.images, summary.targets]))
    """
    command = [sys.executable, '-c', textwrap.dedent(script)]
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peak, images, targets = json.loads(done.stdout.splitlines()[-1])
    print(f'{peak / 1e9:.2f} GB')
    assert images == 1
    assert targets >= 15
    assert peak < 2e9
    assert cv2.imread(str(tmp_path / 'out/masks/mosaic.png'), cv2.IMREAD_UNCHANGED).shape == (10000, 10000)
    assert (tmp_path / 'out/pictures/mosaic.png').is_file()
