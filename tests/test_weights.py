"""Weights that come with the package: they are what the metafiles say, and find targets right after installation."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmirstd.apis import init_model, predict
from mmirstd.apis.inference import own_weights
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.synthesis.config import SceneConfig
from mmirstd.synthesis.scenes import render_scene, scene_generator
from mmirstd.utils import configs
from mmirstd.utils.configs import DEFAULT_MODEL, PackagedWeights, describe_configs, packaged_weights

WITH_WEIGHTS = [entry['name'] for entry in describe_configs() if entry['weights']]
ROOT = Path(configs.__file__).parents[1]


def scene(index, size):
    """Image and mask with one clear target."""
    config = SceneConfig(target_counts=(0, 1), scr=(6, 12))
    return render_scene(scene_generator(7, 'test', index), (size, size), config)[:2]


@pytest.mark.parametrize('name', WITH_WEIGHTS)
def test_weights_are_what_the_metafile_says(name):
    path, sha256 = packaged_weights(name)
    assert path.parent == ROOT / 'weights'
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert path.stat().st_size <= 5e6
    model = init_model(name, device='cpu')  # strictly
    assert all(torch.isfinite(v).all() for v in model.state_dict().values() if v.is_floating_point())


def test_all_of_them_are_small_and_listed():
    files = {p for p in (ROOT / 'weights').iterdir() if p.suffix == '.safetensors'}
    assert files == {packaged_weights(name).path for name in WITH_WEIGHTS}
    assert sum(p.stat().st_size for p in files) <= 20e6
    assert DEFAULT_MODEL in WITH_WEIGHTS


def test_the_default_model_finds_targets_of_scenes_it_has_not_seen():
    model = init_model(device='cpu')
    found = missed = 0
    for i in range(6):
        image, mask = scene(i, 128)
        detections = predict(model, image)
        y, x = np.argwhere(mask).mean(0)
        near = [c for c in detections.centroids if abs(c - (y, x)).max() <= 3]
        found, missed = found + bool(near), missed + (not near)
    assert found >= 5, (found, missed)


# The logits of the commits that added the weights: another config might load them and compute something else.
LOGITS = {
    'sgem_unet-s_joint': (
        [-66.249163, -50.104324, 17.850102, 80.287838, 97.865562, 81.146707, 18.905415, -41.587807, -63.179654],
        -18.013087,
        11.018584,
    ),
    'simir_repvit-fast_joint_crop256_long': (
        [-15.320061, -15.352294, 12.366705, 23.980393, 22.396539, 27.230668, 13.31489, -21.391483, -15.871061],
        -17.278902,
        2.815696,
    ),
}


@pytest.mark.parametrize('name', LOGITS)
def test_a_model_computes_what_was_trained(name):
    row, mean, std = LOGITS[name]
    y, x = torch.meshgrid(*(torch.arange(64, dtype=torch.float64),) * 2, indexing='ij')
    target = 4 * torch.exp(-((y - 20) ** 2 + (x - 40) ** 2) / 4)
    image = torch.stack([target + torch.sin(x / (9 + c)) * torch.cos(y / 7) / 2 for c in range(3)])
    with torch.no_grad():
        logits = init_model(name, device='cpu').double()(image[None])[0, 0]
    torch.testing.assert_close(logits[20, 36:45], torch.tensor(row, dtype=torch.float64), rtol=0, atol=1e-4)
    assert logits.mean().item() == pytest.approx(mean, abs=1e-4)
    assert logits.std().item() == pytest.approx(std, abs=1e-4)


def test_infer_needs_an_image_alone(call, tmp_path, capsys):
    Image.fromarray(scene(1, 64)[0]).save(tmp_path / 'a.png')
    assert call('infer', 'a.png', '--out', 'found') in (None, 0)
    assert ' in 1 image: found' in capsys.readouterr().out
    report = json.loads((tmp_path / 'found/targets.json').read_text())
    assert report['model'] == DEFAULT_MODEL
    assert Path(report['checkpoint']).name == f'{DEFAULT_MODEL}.safetensors'


def test_a_model_without_weights_needs_a_checkpoint(call, tmp_path):
    Image.new('L', (32, 32)).save(tmp_path / 'a.png')
    line = call('infer', 'a.png', '--out', 'found', '--model', 'sgem_unet_nudt')
    assert line == 'error: no weights come with sgem_unet_nudt: give --checkpoint, the weights of a training'


def test_a_config_of_ones_own_has_no_weights(tmp_path):
    path = tmp_path / f'{DEFAULT_MODEL}.py'
    shutil.copy(configs.find_config(DEFAULT_MODEL), path)
    assert packaged_weights(path) is None
    assert packaged_weights(configs.find_config(DEFAULT_MODEL)) == packaged_weights(DEFAULT_MODEL)


def test_a_damaged_file_is_refused(tmp_path, monkeypatch):
    path, sha256 = packaged_weights(DEFAULT_MODEL)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    (tmp_path / 'w.safetensors').write_bytes(content)
    for damaged in (tmp_path / 'w.safetensors', tmp_path / 'missing.safetensors'):
        monkeypatch.setattr(
            'mmirstd.apis.inference.packaged_weights', lambda _, path=damaged: PackagedWeights(path, sha256)
        )
        with pytest.raises(CheckpointError, match='is missing or not the file that its metafile names'):
            own_weights(DEFAULT_MODEL)


def test_models_says_what_the_weights_come_from(call, capsys):
    assert call('models', DEFAULT_MODEL) in (None, 0)
    out = capsys.readouterr().out
    assert 'sgem_unet-s_joint' not in out
    assert call('models', 'sgem_unet-s_joint') in (None, 0)
    assert 'sgem_unet-s_joint_no-nuaa' not in capsys.readouterr().out  # the name alone, though others begin with it
    assert f'{DEFAULT_MODEL}.safetensors' in out
    assert packaged_weights(DEFAULT_MODEL).sha256 in out
    assert 'NUDT-SIRST basicirstd/subtrain: 597 images, sha256 of the ids 825adf407795' in out
    assert 'threshold:  0.231, chosen by F1 on NUAA-SIRST basicirstd/val, NUDT-SIRST basicirstd/val,' in out
    assert f'config:     {configs.find_config(DEFAULT_MODEL)}' in out
    assert 'belong to their authors' in out
