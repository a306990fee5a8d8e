"""``mmirstd export``: graphs from raw pixels to probabilities, their metadata, and the comparison with PyTorch."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmirstd import apis
from mmirstd.apis import exporting
from mmirstd.apis.export_parity import ImageParity, ParityError
from mmirstd.apis.exported import ExportedModel
from mmirstd.apis.exported_graph import ExportedGraph, ExportError
from mmirstd.checkpoints.operating_point import CalibratedThreshold
from mmirstd.datasets.transforms.loading import to_channels
from mmirstd.models.data_preprocessor import IRSTDDataPreProcessor

PREPROCESSOR = """
model['data_preprocessor'] = dict(
    type='mmirstd.IRSTDDataPreProcessor', mean=[80.0, 70.0, 60.0], std=[40.0, 41.0, 42.0], bgr_to_rgb=True,
    size=(32, 32), test_divisor=4, seg_pad_val=255,
)
"""


UNET = (
    PREPROCESSOR
    + """
model['backbone'] = dict(type='mmirstd.UNetEncoder', channels=(4, 8, 8))
model['neck'] = dict(type='mmirstd.SGEM', in_channels=[4, 8, 8], sgem_levels=(1,))
model['decode_head'] = dict(type='mmirstd.ConvHead', in_channels=4, in_index=0,
                            loss_decode=dict(type='mmirstd.SoftIoULoss'))
"""
)


@pytest.fixture
def unet(tiny_config, tmp_path):
    """A config of this package's parts, and random weights that find something."""
    config = tiny_config(UNET, 'unet.py')
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(Config.fromfile(config).model).eval()
    with torch.no_grad():
        model.decode_head.conv_seg.weight.mul_(20)
        model.decode_head.conv_seg.bias.sub_(model(torch.randn(1, 3, 64, 64)).quantile(0.8))
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, tmp_path / 'unet.pth')
    return config, tmp_path / 'unet.pth'


@pytest.fixture
def config(tiny_config, tiny_checkpoint):  # the checkpoint writes the plain config first
    return tiny_config(PREPROCESSOR)


def color(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_probabilities_of_sure_pixels_are_at_most_1(unet, tmp_path):
    """onnxruntime's sigmoid gives 1.0000001 there, which no metric takes."""
    config, checkpoint = unet
    content = torch.load(checkpoint, weights_only=True)
    content['state_dict']['decode_head.conv_seg.weight'] *= 100
    torch.save(content, checkpoint)
    apis.export(config, checkpoint, out=tmp_path / 'model.onnx', tolerance=0.999)
    images = np.random.default_rng(0).integers(0, 256, (1, 1, 64, 64), np.uint8)
    probability = ExportedModel(tmp_path / 'model.onnx')(images)
    assert (probability > 0.9999).any()
    assert 0 <= probability.min() <= probability.max() <= 1


def test_an_onnx_file_predicts_as_the_model(call, unet, capsys):
    assert call('export', *unet, '--out', 'model.onnx', '--channels', 3) is None
    shown = capsys.readouterr().out
    assert 'equal to PyTorch within' in shown
    assert 'synthetic scene 2' in shown
    model, exported = apis.init_model(*unet, 'cpu'), ExportedModel('model.onnx')
    assert exported.metadata['input']['min_size'] == 5
    for size in ((37, 50), (64, 64), (5, 9)):
        image = color(*size)
        expected, found = apis.predict(model, image), exported.predict(image)
        np.testing.assert_allclose(found.probability, expected.probability, atol=1e-5)
        assert found.boxes.tolist() == expected.boxes.tolist()
    batch = np.concatenate([exported.read(color(33, 41, seed)) for seed in range(3)])
    np.testing.assert_allclose(exported(batch)[2, 0], exported.predict(color(33, 41, 2)).probability, atol=1e-6)
    assert 'exists' in call('export', *unet, '--out', 'model.onnx')


def test_a_program_of_torch_with_a_fixed_size(call, config, tiny_checkpoint, tiny_data, capsys, recwarn):
    images = ['--images', tiny_data / 'images', '--static', '32x32', '--threshold', 0.25]
    assert call('export', config, tiny_checkpoint, '--out', 'model.pt2', '--dtype', 'float32', *images) is None
    assert 'images (1, 1, H, W) float32, gray, 32 x 32;' in capsys.readouterr().out
    assert not [w for w in recwarn if 'complete tensor' in str(w.message)]  # of torch.export.save, to nobody's use
    exported = ExportedModel('model.pt2')
    about = exported.metadata
    assert (about['threshold'], about['operating_point'], about['classes'][1]) == (0.25, None, 'target')
    assert about['input'] == {
        'name': 'images', 'layout': 'NCHW', 'dtype': 'float32', 'channels': 1, 'order': 'gray', 'size': [32, 32],
        'min_size': None,
    }  # fmt: skip
    assert about['inside']['padding_multiple'] == 4
    assert exported.predict(tiny_data / 'images/0.png').threshold == 0.25


def test_the_operating_point_goes_along(config, tiny_checkpoint):
    point = CalibratedThreshold(0.875, 'Fa', 10.0, splits=[{'dataset': 'tiny', 'name': 'val', 'num': 3}])
    torch.save(torch.load(tiny_checkpoint) | {'meta': {'operating_point': point.as_meta()}}, 'calibrated.pth')
    report = apis.export(config, 'calibrated.pth', out='model.pt2', static=(32, 32))
    assert report.metadata['threshold'] == 0.875
    assert ExportedModel('model.pt2').metadata['operating_point'] == json.loads(json.dumps(point.as_meta()))


def test_a_threshold_close_to_1_is_told_from_1(tmp_path):
    (tmp_path / 'model.onnx').write_bytes(b'')
    about = {'channels': 1, 'dtype': 'uint8', 'order': 'gray', 'size': [32, 32]}
    parity = [ImageParity('scene', 32, 32, 0.0, 0, 1, 1)]
    report = exporting.ExportReport(tmp_path / 'model.onnx', {'input': about, 'threshold': 0.9999998}, parity)
    assert 'threshold 1 - 2e-07\n' in str(report)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_no_file_is_left_of_an_export_that_differs(call, config, tiny_checkpoint, monkeypatch, tmp_path):
    real = exporting.describe_graph
    monkeypatch.setattr(exporting, 'describe_graph', lambda *a: real(*a) | {'levels': {'normalize_8bit': True}})
    message = call('export', config, tiny_checkpoint, '--out', 'model.pt2', '--static', '32x32')
    assert 'probabilities of the exported file differ by up to' in message
    assert not list(tmp_path.glob('*model*'))
    with pytest.raises(ParityError, match='allowed'):
        apis.export(config, tiny_checkpoint, out='model.pt2', static=(32, 32))


@pytest.mark.parametrize(
    ('settings', 'channels', 'dtype'),
    [
        ({'mean': [80.0] * 3, 'std': [40.0] * 3, 'bgr_to_rgb': True, 'test_divisor': 8}, 3, np.uint8),
        ({'mean': [80.0], 'std': [40.0], 'test_divisor': 8, 'test_pad_mode': 'reflect'}, 3, np.uint8),
        ({'mean': [80.0], 'std': [40.0], 'test_divisor': 16, 'test_pad_mode': 'constant'}, 3, np.float32),
        ({'min_std': 1.0, 'test_divisor': 32}, 1, np.uint8),
        ({'mean': [80.0] * 3, 'std': [40.0] * 3, 'inside_size': 24, 'test_divisor': 16}, 1, np.float32),
    ],
)
def test_pixels_reach_the_network_as_in_a_test(tiny_config, settings, channels, dtype):
    """The graph's input of the network is the preprocessor's, and its crop what is left of the padding."""
    seen = []
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(Config.fromfile(tiny_config()).model).eval()
    preprocessor = model.data_preprocessor = IRSTDDataPreProcessor(**settings)
    model.encode_decode = lambda inputs, metas: (seen.append(inputs), inputs[:, :1])[1]
    image = color(37, 50).astype(dtype)
    image = image if channels == 3 else image[..., 0]
    taken = to_channels(image, len(settings.get('mean', 'bgr')))
    data = {'inputs': [torch.from_numpy(taken).permute(2, 0, 1)], 'data_samples': None}
    expected = preprocessor(data)['inputs']
    raw = image[None] if channels == 1 else np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))
    output = ExportedGraph(model, channels)(torch.from_numpy(raw)[None])
    torch.testing.assert_close(seen[0], expected, atol=2e-5, rtol=1e-5)
    assert output.shape == (1, 1, 37, 50)
    if 'inside_size' not in settings:
        torch.testing.assert_close(output[0, 0], expected[0, 0, :37, :50].sigmoid())


def test_gray_of_all_bytes_is_that_of_opencv():
    colors = np.stack(np.meshgrid(*[np.arange(0, 256, 3, np.uint8)] * 3), -1).reshape(-1, 1, 3)
    graph = ExportedGraph.__new__(ExportedGraph)
    torch.nn.Module.__init__(graph)
    graph.channels, graph.network_channels = 3, 1
    rgb = torch.from_numpy(np.ascontiguousarray(colors[..., ::-1])).permute(2, 0, 1)[None]
    assert np.array_equal(graph._to_bgr(rgb)[0, 0].numpy(), cv2.cvtColor(colors, cv2.COLOR_BGR2GRAY))


@pytest.mark.parametrize(
    ('extra', 'message'),
    [
        ('', 'is a SegDataPreProcessor'),
        (PREPROCESSOR + "model['test_cfg'] = dict(mode='slide', crop_size=(32, 32), stride=(16, 16))", 'mode='),
        (PREPROCESSOR + "model['data_preprocessor'].update(inside_size=64)", 'give --static HxW'),
        (PREPROCESSOR + "pipeline.insert(1, dict(type='Resize', scale=(64, 64)))", 'the test pipeline has Resize'),
        (PREPROCESSOR + "model['data_preprocessor'].update(mean=[0.0] * 4, std=[1.0] * 4)\n"
         "model['backbone'].update(in_channels=3)", 'takes 4 channels'),
    ],
)  # fmt: skip
def test_models_that_do_not_export_say_why(tiny_config, tiny_checkpoint, extra, message):
    config = Config.fromfile(tiny_config(extra))
    with pytest.raises(ExportError, match=message):
        exporting.export_model(
            build(config, tiny_checkpoint), exporting.Path('model.pt2'), size=None, channels=1, dtype='uint8',
            threshold=None, compared=[], tolerance=1e-3,
        )  # fmt: skip


def build(config, checkpoint):
    """A model as init_model returns it, but for the check of the channels."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(config.model).eval()
    model.cfg, model.operating_point, model.dataset_meta = config, None, {'classes': ('background', 'target')}
    return model


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--out', 'model.pt'], 'must end in .onnx or .pt2'),
        (['--out', 'no/model.onnx'], 'there is no folder no'),
        (['--out', 'model.onnx', '--threshold', '1'], '--threshold lies in'),
        (['--out', 'model.onnx', '--tolerance', '-1'], '--tolerance lies in'),
        (['--out', 'model.onnx', '--static', '32'], 'must be HxW'),
        (['--out', 'model.onnx', '--images', 'nowhere.png'], 'nowhere.png'),
    ],
)
def test_mistakes_are_one_line(call, config, tiny_checkpoint, capsys, arguments, message):
    found = call('export', config, tiny_checkpoint, *arguments)
    assert message in (found if isinstance(found, str) else capsys.readouterr().err)


def test_images_of_another_size_than_the_export(config, tiny_checkpoint):
    with pytest.raises(ParityError, match='is 40 x 40: the export is for 32 x 32 alone'):
        apis.export(config, tiny_checkpoint, out='model.pt2', static=(32, 32), images=[color(40, 40)])


@pytest.mark.parametrize('name', ['model.onnx', 'model.pt2', 'model.txt'])
def test_files_that_were_not_exported(name, tmp_path):
    (tmp_path / name).write_bytes(b'something else')
    with pytest.raises(ExportError, match=name):
        ExportedModel(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        ExportedModel(tmp_path / 'nothing.onnx')


def test_a_file_that_fails_is_an_error_with_advice(unet, monkeypatch):
    def fail(self, images):
        raise ExportError(f'the exported file fails on images {images.shape}')

    monkeypatch.setattr(ExportedModel, '__call__', fail)
    with pytest.raises(ExportError, match=r'fails on images \(1, 1, 256, 256\); with a fixed size .* --static HxW'):
        apis.export(*unet, out='model.pt2')


def test_inputs_of_another_kind_are_refused(unet):
    apis.export(*unet, out='model.pt2', static=(32, 40))
    exported = ExportedModel('model.pt2')
    for images, message in (
        (np.zeros((1, 3, 32, 40), np.uint8), 'takes images uint8'),
        (np.zeros((1, 1, 32, 40), np.float32), 'takes images uint8'),
        (np.zeros((1, 1, 32, 32), np.uint8), 'of 32 x 40 alone, got 32 x 32'),
    ):
        with pytest.raises(ExportError, match=message):
            exported(images)
