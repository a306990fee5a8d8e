"""One path from an image to its detections: the same as a test of the model, whatever the image comes in."""

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmirstd import apis
from mmirstd.apis import IRSTDInferencer, init_model, list_models, predict
from mmirstd.apis.inference import image_pipeline
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.evaluation.analysis.predictions import read_prediction
from mmirstd.utils.configs import ConfigNotFoundError
from mmirstd.utils.errors import ArgumentError
from mmirstd.visualization import draw_detections


@pytest.fixture
def model(tiny_config, tiny_checkpoint):
    return init_model(tiny_config(), tiny_checkpoint, 'cpu')


def images(tiny_data):
    return sorted(str(p) for p in (tiny_data / 'images').iterdir())


def equal(first, second):
    assert len(first) == len(second)
    np.testing.assert_array_equal(first.probability, second.probability)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    np.testing.assert_array_equal(first.scr, second.scr)


def test_predict_is_what_a_test_of_the_model_predicts(model, tiny_config, tiny_checkpoint, tiny_data, tmp_path):
    # One image of another size among them.
    for folder in ('images', 'masks'):
        Image.open(tiny_data / folder / '0.png').crop((0, 0, 26, 30)).save(tiny_data / folder / 'other.png')
    apis.test(tiny_config(), tiny_checkpoint, work_dir=tmp_path / 'test', out=tmp_path / 'out', out_format='npz')
    found = predict(model, tiny_data / 'images')
    assert [f.name for f in found] == ['0', '1', '2', '3', '4', 'other']
    for one in found:
        np.testing.assert_array_equal(one.probability, read_prediction(tmp_path / f'out/{one.name}.npz'))
        np.testing.assert_array_equal(one.mask, one.probability > 0.5)
        assert 0 < one.mask.sum() < one.mask.size
        assert one.probability.dtype == np.float32
    assert found[-1].mask.shape == (30, 26)


def test_paths_arrays_and_lists(model, tiny_data, tmp_path, monkeypatch):
    paths = images(tiny_data)
    array = cv2.imread(paths[0], cv2.IMREAD_GRAYSCALE)
    first = predict(model, paths[0])
    assert (first.name, predict(model, array).name) == ('0', 'image')
    for same in (Path(paths[0]), array, array[..., None], np.stack([array] * 3, 2), [paths[0]]):
        found = predict(model, same)
        assert isinstance(found, list) == isinstance(same, list)
        equal(found[0] if isinstance(found, list) else found, first)
    both = predict(model, [array, paths[1], paths[0]])
    assert [f.name for f in both] == ['image', '1', '0']
    equal(both[2], first)
    equal(predict(model, [paths[1]])[0], both[1])
    monkeypatch.chdir(tmp_path)
    assert [f.name for f in predict(model, 'tiny/images/[12].png')] == ['1', '2']


@pytest.mark.parametrize('mode', ['uint16', 'float32', 'rgb', 'rgba'])
def test_depths_and_colors(model, tiny_data, tmp_path, mode):
    array = cv2.imread(images(tiny_data)[0], cv2.IMREAD_GRAYSCALE)
    array[0, :2] = 0, 255  # the range of 8 bits, which deeper files are brought to
    expected = predict(model, array)
    if mode == 'uint16':
        other = array.astype(np.uint16) * 257
    elif mode == 'float32':
        other = array / np.float32(255)
    else:
        other = np.dstack([array] * 3 + [np.full_like(array, 9)] * (mode == 'rgba'))
    path = str(tmp_path / 'other.tiff')
    cv2.imwrite(path, other)
    equal(predict(model, other), expected)
    equal(predict(model, path), expected)


def test_batches_of_different_sizes(model, tiny_data):
    array = cv2.imread(images(tiny_data)[0], cv2.IMREAD_GRAYSCALE)
    several = [array, array[:20], array[:, ::-1].copy(), array[:20] // 2, array[:22]]
    for one, batched in zip(predict(model, several), predict(model, several, batch_size=4), strict=True):
        np.testing.assert_allclose(batched.probability, one.probability, atol=1e-5)
        assert batched.mask.shape == one.mask.shape


def test_options_reach_the_detections(model, tiny_data):
    path = images(tiny_data)[0]
    found = predict(model, path, threshold=0.2, min_area=4, connectivity=4)
    assert (found.threshold, found.connectivity) == (0.2, 4)
    assert found.areas.min() >= 4
    model.decode_head.threshold = 0.9
    assert predict(model, path).threshold == 0.9
    with pytest.raises(ValueError, match='0: a threshold'):
        predict(model, path, threshold=1.5)
    with pytest.raises(ValueError, match='batch_size must be at least 1'):
        predict(model, path, batch_size=0)


def test_bad_images_are_named(model, tiny_data, tmp_path):
    broken = tmp_path / 'broken.png'
    broken.write_bytes(b'\x89PNG\r\n\x1a\n')
    with pytest.raises(ValueError, match=r'broken\.png'):
        predict(model, [images(tiny_data)[0], broken])
    (tmp_path / 'empty').mkdir()
    for bad, message in (
        ('nowhere.png', 'there is no image nowhere.png'),
        (tmp_path / 'empty', 'the folder .*empty holds no images'),
        (str(tmp_path / 'x*.png'), r'the pattern .*x\*.png holds no images'),
        ([], 'no images are given'),
    ):
        with pytest.raises(FileNotFoundError, match=message):
            predict(model, bad)
    with pytest.raises(TypeError, match='an image is a path or an array, not int'):
        predict(model, [3])
    with pytest.raises(ValueError, match=r'the image: .* got \(2, 2, 2, 3\)'):
        predict(model, np.zeros((2, 2, 2, 3), np.uint8))


def test_the_inferencer_draws_and_streams(tiny_config, tiny_checkpoint, tiny_data, tmp_path):
    inferencer = IRSTDInferencer(tiny_config(), tiny_checkpoint, 'cpu', show_progress=False)
    paths = images(tiny_data)
    result = inferencer(tiny_data / 'images', batch_size=2, return_vis=True)
    assert len(result['predictions']) == len(result['visualization']) == 5
    image = cv2.imread(paths[3])
    expected = draw_detections(image, pred=result['predictions'][3].mask, name='3')
    np.testing.assert_array_equal(result['visualization'][3], expected)
    assert inferencer(paths[0])['visualization'] is None
    (tmp_path / 'bad.png').write_bytes(b'')
    failures = {}
    streamed = list(inferencer.stream([paths[0], tmp_path / 'bad.png', paths[1]], 2, failures))
    assert [p.detections.name for p in streamed] == ['0', '1']
    assert list(failures) == [str(tmp_path / 'bad.png')]
    assert 'bad.png' in next(iter(failures.values()))
    np.testing.assert_array_equal(streamed[0].image, cv2.imread(paths[0])[..., ::-1])
    with pytest.raises(ValueError, match='unknown argument'):
        inferencer(paths[0], treshold=0.3)
    with pytest.raises(ValueError, match='returns Detections'):
        inferencer(paths[0], return_datasamples=True)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_models_of_other_types(dtype, tiny_data):
    for name in ('sgem_unet-s_nudt', 'simir_repvit-fast_nudt', 'irsam_tinyvit-256_nuaa', 'adgfnet-lite_nudt'):
        model = init_model(name, device='cpu')
        plain = predict(model, images(tiny_data)[0])
        other = predict(model.to(dtype), images(tiny_data)[0])
        assert other.probability.dtype == np.float32
        np.testing.assert_allclose(other.probability, plain.probability, atol=0.05)


def test_a_model_in_training_predicts_as_in_evaluation(tiny_config, tiny_data):
    model = init_model(tiny_config(), device='cpu')
    first = predict(model, images(tiny_data))
    model.train()
    for one, other in zip(predict(model, images(tiny_data), batch_size=5), first, strict=True):
        np.testing.assert_allclose(one.probability, other.probability, atol=1e-6)
    assert not model.training


def test_a_model_is_taken_as_it_is(model, tiny_data):
    inferencer = IRSTDInferencer(model)
    assert inferencer.model is model
    with pytest.raises(ValueError, match='yet to be built'):
        IRSTDInferencer(model, device='cpu')
    with pytest.raises(TypeError, match='no config'):
        IRSTDInferencer(torch.nn.Identity())


def test_init_model(tiny_config, tiny_checkpoint, tmp_path):
    config = tiny_config()
    with DefaultScope.overwrite_default_scope('another'):
        init_model(config, tiny_checkpoint, 'cpu')
        assert DefaultScope.get_current_instance().scope_name == 'another'
    model = init_model(Config.fromfile(config), tiny_checkpoint, 'cpu', ['model.decode_head.threshold=0.25'])
    assert model.decode_head.threshold == 0.25
    assert not model.training
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())  # folded
    assert model.dataset_meta['classes'] == ('background', 'target')
    with pytest.warns(UserWarning, match=r'tiny\.py: no checkpoint is given, so the weights are random'):
        init_model(config, device='cpu')
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        for bad, message in ((tmp_path / 'none.pth', 'there is no checkpoint file'), (config, 'is no checkpoint')):
            with pytest.raises(CheckpointError, match=message):
                init_model(config, bad, 'cpu')
    weights = torch.load(tiny_checkpoint)
    del weights['state_dict']['decode_head.conv_seg.bias']
    torch.save(weights, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'1 missing keys \(decode_head.conv_seg.bias\)'):
        init_model(config, tmp_path / 'other.pth', 'cpu')
    with pytest.raises(ConfigNotFoundError, match='did you mean sgem_unet-s_nudt'):
        init_model('sgem_unet-s_nudd')


@pytest.mark.parametrize('device', ['gpu', 'cuda:99'])
def test_a_device_that_is_not_there_is_named(tiny_config, tiny_checkpoint, device):
    with pytest.raises(ArgumentError, match=f"device '{device}': PyTorch .* cannot use it"):
        init_model(tiny_config(), tiny_checkpoint, device)


def test_a_config_that_is_given_stays_as_it_is(tiny_config, tiny_checkpoint):
    config = Config.fromfile(tiny_config())
    before = config.to_dict()
    init_model(config, tiny_checkpoint, 'cpu', {'model.decode_head.threshold': 0.3}, tta=True)
    assert config.to_dict() == before


def test_arrays_whose_packed_form_is_no_picture(tiny_config, tiny_checkpoint, tiny_data):
    """Network input of another size, or several versions of it: what is drawn and measured is the image itself."""
    path = images(tiny_data)[0]
    array = cv2.imread(path)
    resized = tiny_config("pipeline.insert(1, dict(type='Resize', scale=(16, 16)))", 'resized.py')
    models = init_model(resized, tiny_checkpoint, 'cpu'), init_model(tiny_config(), tiny_checkpoint, 'cpu', tta=True)
    assert models[0].cfg.test_dataloader.dataset.pipeline[1].type == 'Resize'
    for model in models:
        from_file, from_array = predict(model, path), predict(model, array)
        equal(from_array, from_file)
        assert from_file.mask.shape == (32, 32)
        picture = IRSTDInferencer(model)(array, return_vis=True)['visualization'][0]
        np.testing.assert_array_equal(picture, draw_detections(array, pred=from_array.mask, name='image'))


def test_tta_is_the_mean_of_mirrored_predictions(model, tiny_config, tiny_checkpoint, tiny_data):
    image = cv2.imread(images(tiny_data)[0])
    mean = sum(predict(model, image[::v, ::h]).probability[::v, ::h] for v, h in ((1, 1), (1, -1), (-1, 1))) / 3
    found = IRSTDInferencer(tiny_config(), tiny_checkpoint, 'cpu', tta=True)([image, image], batch_size=2)
    for one in found['predictions']:
        np.testing.assert_allclose(one.probability, mean, atol=1e-5)
    with pytest.raises(ValueError, match='SegTTAModel applies a sigmoid'):
        init_model(tiny_config("tta_model = dict(type='SegTTAModel')"), tiny_checkpoint, 'cpu', tta=True)


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (7, 1)])
def test_tta_of_a_row_and_a_column(size):
    model = init_model('sgem_unet-s_synthetic', device='cpu', tta=True)
    found = predict(model, np.arange(np.prod(size), dtype=np.uint8).reshape(size))
    assert found.probability.shape == size


def test_models_are_listed_by_name():
    assert list_models('sgem_unet-s_nu*') == ['sgem_unet-s_nuaa', 'sgem_unet-s_nudt']
    assert set(list_models('fast')) < set(list_models())
    assert list_models('no such model') == []


@pytest.mark.parametrize('tta', [False, True])
def test_a_model_of_two_logits_predicts_its_softmax(tiny_config, tiny_data, tta):
    config = tiny_config('model["decode_head"].update(out_channels=2, loss_decode=dict(type="CrossEntropyLoss"))')
    with pytest.warns(UserWarning, match='random'):
        model = init_model(config, device='cpu', tta=tta)
    logits = []
    head = (model.module if tta else model).decode_head
    head.conv_seg.register_forward_hook(lambda module, inputs, output: logits.append(output[0].detach()))
    found = predict(model, images(tiny_data)[0])
    if not tta:
        np.testing.assert_allclose(found.probability, logits[0].softmax(0)[1].numpy(), atol=1e-6)
        np.testing.assert_array_equal(found.mask, logits[0].argmax(0).numpy() == 1)
    assert 0 < found.probability.min() < found.probability.max() < 1


def test_a_model_of_three_logits_is_refused(tiny_config, tiny_data):
    head = 'model["decode_head"].update(num_classes=3, out_channels=3, loss_decode=dict(type="CrossEntropyLoss"))'
    with pytest.warns(UserWarning, match='random'):
        model = init_model(tiny_config(head), device='cpu')
    with pytest.raises(ValueError, match=r'0: target probabilities need .*, got seg_logits of \(3, 32, 32\)'):
        predict(model, images(tiny_data)[0])


def test_the_pipeline_for_images():
    def config(*steps):
        return Config({'test_dataloader': {'dataset': {'datasets': [{'type': 'X', 'pipeline': list(steps)}]}}})

    load, mask, pack = ({'type': f'mmirstd.{t}'} for t in ('LoadIRImage', 'LoadTargetMask', 'LoadTargetMask'))
    pack = {'type': 'PackSegInputs'}
    assert image_pipeline(config(load, mask, pack)) == [load, pack]
    alternatives = {'type': 'TestTimeAug', 'transforms': [[{'type': 'RandomFlip', 'prob': 0.0}], [mask], [pack]]}
    assert image_pipeline(config(load, alternatives))[1]['transforms'] == [
        [{'type': 'RandomFlip', 'prob': 0.0}],
        [pack],
    ]
    assert image_pipeline(config({'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}, pack)) == [
        {'type': 'mmseg.InferencerLoader'},
        pack,
    ]
    named = {'type': 'LoadImageFromFile', '_scope_': 'mmirstd', 'channels': 1}
    assert image_pipeline(config(named, {'type': 'LoadAnnotations', '_scope_': 'mmirstd'}, pack)) == [named, pack]
    with pytest.raises(ValueError, match='must begin with LoadIRImage, not PackSegInputs'):
        image_pipeline(config(pack))
    with pytest.raises(ValueError, match='has no test_dataloader with a pipeline'):
        image_pipeline(Config({'model': {}}))
    with pytest.raises(ValueError, match='LoadIrImage: there is no such transform'):
        image_pipeline(config({'type': 'mmirstd.LoadIrImage'}))
