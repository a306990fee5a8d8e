"""``mmirstd export --int8``: files in 8 bits beside the float ones, and what they lose."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmirstd import apis
from mmirstd.apis import exporting
from mmirstd.apis.exported import ExportedModel
from mmirstd.apis.exported_graph import ExportError
from mmirstd.apis.quantizing import QuantizedReport, measure_side_by_side, quantize_file
from mmirstd.datasets.transforms import LoadIRImage
from mmirstd.evaluation.functional.counts import count_image, sum_counts
from mmirstd.evaluation.functional.evaluated_image import EvaluatedImage
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.evaluation.functional.protocols import PRESETS
from mmirstd.io.files import write_png

UNET = """
model['data_preprocessor'].update(type='mmirstd.IRSTDDataPreProcessor', test_divisor=4)
model['backbone'] = dict(type='mmirstd.UNetEncoder', channels=(8, 8, 8))
model['neck'] = dict(type='mmirstd.SGEM', in_channels=[8, 8, 8], sgem_levels=(1,))
model['decode_head'] = dict(type='mmirstd.ConvHead', in_channels=8, in_index=0,
                            loss_decode=dict(type='mmirstd.SoftIoULoss'))
"""


@pytest.fixture
def unet(tiny_config, tmp_path, monkeypatch):
    """A config, and random weights whose logits are spread."""
    monkeypatch.chdir(tmp_path)
    config = tiny_config(UNET)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(Config.fromfile(config).model).eval()
    with torch.no_grad():
        model.decode_head.conv_seg.weight.mul_(20)
        model.decode_head.conv_seg.bias.sub_(model(torch.randn(1, 3, 64, 64)).quantile(0.8))
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, 'unet.pth')
    return config, 'unet.pth'


def test_eight_bits_beside_float(call, unet, tiny_data, capsys):
    rng = np.random.default_rng(0)
    Path('more').mkdir()
    for i in range(5):
        write_png(f'more/{i}.png', rng.integers(0, 256, (64, 64), np.uint8))
    shutil.copy(tiny_data / 'images/0.png', 'more/copy.png')
    options = ['--int8', '--calibrate-images', 'more', '--data-root', tiny_data, '--threshold', 0.25]
    assert call('export', *unet, '--out', 'model.onnx', *options) is None
    shown = capsys.readouterr().out
    assert (
        'model.int8.onnx: quantized with 5 images (1 of the validation split left out); measured on tiny all' in shown
    )
    plain, small = ExportedModel('model.onnx'), ExportedModel('model.int8.onnx')
    assert small.metadata == plain.metadata
    image = tiny_data / 'images/0.png'
    difference = np.abs(plain.predict(image).probability - small.predict(image).probability)
    assert 0 < difference.mean() < 0.05
    assert len(np.unique(small.predict(image).probability)) > 256  # the end of the network is in float
    # The metrics are those of a test at the same threshold.
    evaluator = dict(type='mmirstd.IRSTDMetric', threshold=0.25)
    metrics = apis.test(*unet, cfg_options={'test_evaluator': evaluator}, work_dir='test').metrics
    assert f'{metrics["IoU"]:.4f}' in shown
    # Without a dataset there is a latency alone.
    report = apis.export(*unet, out='again.onnx', int8=True, calibrate_images=tiny_data / 'images')
    assert report.quantized.loss is None
    assert 'give --data-root' in str(report)
    assert [row['form'] for row in report.quantized.rows] == ['float', 'int8']


def test_floating_levels_are_measured_as_a_test_measures_them(unet, tiny_config, tiny_data):
    """Loaded as float32, they were taken for an image of more than 8 bits, and stretched to 0..255."""
    for path in (tiny_data / 'images').iterdir():
        write_png(path, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) // 3 + 40)
    config = tiny_config(UNET + "pipeline[0].update(dtype='float32')")
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64), np.uint8) for _ in range(2)]
    model = apis.init_model(config, unet[1], 'cpu')
    threshold = float(np.median(apis.predict(model, tiny_data / 'images/0.png').probability))
    options = {'dtype': 'float32', 'threshold': threshold, 'int8': True, 'calibrate_images': images}
    report = apis.export(config, unet[1], out='model.onnx', data_root=tiny_data, **options)
    evaluator = dict(type='mmirstd.IRSTDMetric', threshold=threshold)
    metrics = apis.test(config, unet[1], cfg_options={'test_evaluator': evaluator}, work_dir='test').metrics
    row = report.quantized.rows[0]
    assert 0 < metrics['IoU'] < 1
    assert [row[key] for key in ('IoU', 'Pd', 'Fa')] == pytest.approx([metrics[key] for key in ('IoU', 'Pd', 'Fa')])


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('dtype', ['uint8', 'float32'])
def test_a_loaded_image_is_taken_as_its_file_is_read(tmp_path, channels, dtype):
    rng = np.random.default_rng(0)
    exported = ExportedModel.__new__(ExportedModel)
    for name, shape in (('gray.png', (8, 9)), ('color.png', (8, 9, 3))):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 65536, shape, np.uint16))
        for loaded in (1, 3):
            exported.load = LoadIRImage(channels=channels, dtype=dtype)
            image = LoadIRImage(channels=loaded, dtype='float32')(str(tmp_path / name))['img']
            expected, found = exported.read(tmp_path / name), exported.take(image)
            assert (found.shape, found.dtype) == ((1, channels, 8, 9), expected.dtype)
            if name == 'gray.png' or loaded >= channels:  # else the colors are lost
                np.testing.assert_array_equal(found, expected)


def test_images_of_the_validation_split_are_no_training_images(call, unet, tiny_data):
    options = ['--int8', '--calibrate-images', tiny_data / 'images', '--data-root', tiny_data]
    line = call('export', *unet, '--out', 'model.onnx', *options)
    assert line.startswith('error: --calibrate-images: all 5 images are of tiny all')
    assert not list(Path().glob('*.onnx'))  # refused before the time of an export is spent


@pytest.mark.parametrize('place', ['compared', 'calibration', 'validation'])
def test_the_first_image_of_another_size_is_named_before_the_model_is_built(call, unet, tiny_data, monkeypatch, place):
    monkeypatch.setattr(exporting, 'init_model', None)  # whoever calls it fails
    other, folder = np.zeros((40, 48), np.uint8), {name: Path(name) for name in ('compared', 'calibration')}
    for path in folder.values():
        path.mkdir()
        write_png(path / '0.png', np.zeros((32, 32), np.uint8))
    folder['validation'] = tiny_data / 'images'
    write_png(folder[place] / '4.png', other)
    if place == 'validation':
        write_png(tiny_data / 'masks/4.png', other)
    options = ['--int8', '--calibrate-images', 'calibration', '--data-root', tiny_data, '--images', 'compared']
    line = call('export', *unet, '--out', 'model.onnx', '--static', '32x32', *options)
    assert line == f'error: {folder[place] / "4.png"} is 40 x 48: the export is for 32 x 32 alone (--static)'


def test_a_loss_is_said():
    rows = [{'form': 'float', 'IoU': 0.6}, {'form': 'int8', 'IoU': 0.58}]
    report = QuantizedReport(Path('m.int8.onnx'), 5, rows, 'tiny val')
    assert report.loss == pytest.approx(0.02)
    assert '8 bits lose 0.0200 IoU, more than 0.01: use the float file' in str(report)
    rows[1]['IoU'] = 0.595
    assert 'lose' not in str(report)


def test_metrics_of_files_side_by_side():
    """Against the counts of each image."""

    class Fixed:
        def __init__(self, threshold):
            self.metadata = {'threshold': threshold}

        def __call__(self, images):
            return images

    rng = np.random.default_rng(0)
    samples = [(rng.random((16, 16)).astype(np.float32), rng.choice([0, 1, 255], (16, 16))) for _ in range(3)]
    inputs = [(p[None, None], m) for p, m in samples]
    found = measure_side_by_side({'low': Fixed(0.2), 'high': Fixed(0.9)}, inputs)
    for name, threshold in (('low', 0.2), ('high', 0.9)):
        counts = [count_image(EvaluatedImage.from_labels(p > threshold, m, 255), PRESETS['exact']) for p, m in samples]
        expected = compute_metrics(sum_counts(counts))
        assert [found[name][key] for key in ('IoU', 'Pd', 'Fa')] == [expected[key] for key in ('IoU', 'Pd', 'Fa')]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--out', 'm.onnx', '--int8'], 'needs --calibrate-images'),
        (['--out', 'm.pt2', '--int8', '--calibrate-images', 'x.png'], '--int8 is for .onnx'),
        (['--out', 'm.onnx', '--data-root', '.'], '--data-root is for --int8'),
        (['--out', 'm.onnx', '--int8', '--calibrate-images', 'x.png'], 'x.png'),
    ],
)
def test_mistakes_are_one_line(call, unet, capsys, arguments, message):
    found = call('export', *unet, *arguments)
    assert message in (found if isinstance(found, str) else capsys.readouterr().err)


def test_what_depends_on_the_size_of_the_image_stays_in_float(tmp_path):
    """Positions of a SimIR's queries are computed from the size: in 8 bits, most sizes were errors."""
    model = exporting.export(out=tmp_path / 'm.onnx', images=np.zeros((64, 64), np.uint8))
    rng = np.random.default_rng(0)
    quantize_file(model.path, tmp_path / 'q.onnx', rng.integers(0, 256, (2, 1, 1, 64, 64), np.uint8))
    plain, small = ExportedModel(model.path), ExportedModel(tmp_path / 'q.onnx')
    for shape in ((61, 83), (181, 113), (66, 247)):
        image = rng.integers(0, 256, (1, 1, *shape), np.uint8)
        assert np.abs(plain(image) - small(image)).mean() < 0.05


def test_nothing_to_quantize(tmp_path):
    (tmp_path / 'm.onnx').write_bytes(b'no model')
    with pytest.raises(ExportError, match='there is no image'):
        quantize_file(tmp_path / 'm.onnx', tmp_path / 'q.onnx', [])
    with pytest.raises(ExportError, match=r'm.onnx: onnxruntime cannot quantize it'):
        quantize_file(tmp_path / 'm.onnx', tmp_path / 'q.onnx', [np.zeros((1, 1, 8, 8), np.uint8)])
