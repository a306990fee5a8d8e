"""MMSegmentation's own ways to predict, with the configs of this package: the same probabilities as ours."""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.apis import MMSegInferencer, inference_model
from mmseg.apis import init_model as mmseg_init_model
from mmseg.apis.utils import _preprare_data
from PIL import Image

from mmirstd.apis import init_model, predict
from mmirstd.utils.configs import find_config, list_configs

# Of each family one, and those that load or change the image in another way.
CONFIGS = {
    'sgem_unet-s_nudt': {},
    'sgem_unet-s_synthetic': {},
    'simir_repvit-fast-1ch_nudt': {},
    'irsam_tinyvit_wpmd-transform_nuaa': {'model.data_preprocessor.inside_size': 64},
    'adgfnet-lite_nudt': {},
    'resnet_query-encoder_nudt': {},
}


def read(name, **options):
    cfg = Config.fromfile(find_config(name))
    cfg.merge_from_dict(options)
    return cfg


@pytest.fixture
def image(tmp_path):
    """A file of 16 bits and odd size, its path and what it is loaded as."""
    values = np.random.default_rng(0).integers(0, 40, (45, 62)).astype(np.uint8)
    values[20:23, 30:33] = 255
    path = str(tmp_path / 'image.png')
    Image.fromarray(values.astype(np.uint16) * 257).save(path)
    return path, values


@pytest.mark.parametrize('name', CONFIGS)
def test_mmsegmentation_predicts_what_we_do(name, image, tmp_path, own_mmengine_state):
    path, values = image
    options = CONFIGS[name]
    torch.manual_seed(0)
    theirs = mmseg_init_model(read(name, **options), None, 'cpu')
    weights = tmp_path / 'weights.pth'
    torch.save({'state_dict': theirs.state_dict(), 'meta': {}}, weights)
    ours = init_model(name, weights, 'cpu', options)
    expected = predict(ours, path)
    assert expected.probability.shape == (45, 62)
    for given in (path, cv2.cvtColor(values, cv2.COLOR_GRAY2BGR), values):
        sample = inference_model(theirs, given)
        np.testing.assert_allclose(sample.seg_logits.data[0].numpy(), expected.probability, atol=1e-4)
    (same,) = inference_model(ours, [path])
    np.testing.assert_array_equal(same.seg_logits.data[0].numpy(), expected.probability)

    with pytest.warns(UserWarning, match='dataset_meta'):
        inferencer = MMSegInferencer(read(name, **options), str(weights), device='cpu', show_progress=False)
    for given in (path, values):
        (sample,) = inferencer([given, given], return_datasamples=True)[:1]
        np.testing.assert_allclose(sample.seg_logits.data[0].numpy(), expected.probability, atol=1e-4)
    inferencer(path, out_dir=str(tmp_path / 'out'))
    assert cv2.imread(str(tmp_path / 'out/vis/image.png')).shape[1] > 2 * 512
    assert cv2.imread(str(tmp_path / 'out/pred/00000000_pred.png')).shape[:2] == (45, 62)


@pytest.mark.parametrize('name', ['sgem_unet-s_nudt', 'repvit_upernet_nudt'])
def test_mmsegmentations_inferencer_finds_a_model_by_its_name(name, image, own_mmengine_state):
    path, _ = image
    with pytest.warns(UserWarning, match='randomly initialized'):
        inferencer = MMSegInferencer(name, device='cpu', scope='mmirstd', show_progress=False)
    assert inferencer(path)['predictions'].shape == (45, 62)


@pytest.mark.exhaustive
@pytest.mark.parametrize('name', list_configs())
def test_mmsegmentation_prepares_images_with_every_config(name, image):
    path, values = image
    if find_spec('mmpretrain') is None and 'mmpretrain' in Path(find_config(name)).read_text():
        pytest.skip('needs mmpretrain')
    if 'teacher' in read(name).model:
        pytest.skip('a distiller predicts no masks')
    if 'pipeline' not in read(name).test_dataloader.dataset:
        pytest.skip('MMSegInferencer looks for the pipeline in the one test dataset, and the config has several')
    with DefaultScope.overwrite_default_scope('mmseg'):
        expected, _ = _preprare_data(path, SimpleNamespace(cfg=read(name)))
        from_array, _ = _preprare_data(values, SimpleNamespace(cfg=read(name)))
        pipeline = MMSegInferencer._init_pipeline(MMSegInferencer.__new__(MMSegInferencer), read(name))
        for packed in (from_array['inputs'][0], pipeline(path)['inputs'], pipeline(values)['inputs']):
            torch.testing.assert_close(packed, expected['inputs'][0])
