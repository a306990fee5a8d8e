"""tools/test.py over several processes gives the metrics of one, to the last bit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from PIL import Image
from processes import launch, script, tool

CONFIG = Path(__file__).with_name('simir_tiny.py')


@pytest.fixture
def checkpoint(tmp_path, odd_data, own_mmengine_state):
    """Weights that find the targets, with some pixels too many or too few."""
    torch.manual_seed(0)
    init_default_scope('mmseg')
    model = MODELS.build(Config.fromfile(CONFIG, import_custom_modules=False).model).train()
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), 0.01))
    images, samples = [], []
    for path in sorted((odd_data / 'images').iterdir()):
        image, mask = (
            torch.from_numpy(np.array(Image.open(odd_data / d / path.name))[:32, :32]) for d in ('images', 'masks')
        )
        sample = SegDataSample(metainfo=dict(img_shape=mask.shape, ori_shape=mask.shape))
        sample.gt_sem_seg = PixelData(data=(mask[None] > 0).long())
        images.append(image.expand(3, -1, -1))
        samples.append(sample)
    for _ in range(40):
        model.train_step(dict(inputs=images, data_samples=samples), wrapper)
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    return path


def metrics(folder):
    (path,) = folder.glob('*/*.json')
    return {k: v for k, v in json.loads(path.read_text()).items() if 'time' not in k}


OPTIONS = ('--cfg-options', 'test_evaluator.threshold=0.2')


def test_any_number_of_processes(checkpoint, odd_data, tmp_path, all_tests):
    """Seven images of seven sizes; two and three processes fill up with one and two images that must not count."""
    found = {}
    for world in (0, 2, 3) if all_tests else (0, 3):
        work = tmp_path / str(world)
        launcher = ('--launcher', 'pytorch') if world else ()
        argv = (CONFIG, checkpoint, '--work-dir', work, *launcher, '--data-root', odd_data, *OPTIONS)
        output = launch(tool, world, work / 'out', 'test', *argv)
        assert '7 images (3 without target)' in output[0]
        found[world] = metrics(work)
    one = found.pop(0)
    assert 0 < one['IoU'] < 1
    assert 0 < one['nIoU'] != one['IoU']
    assert found == dict.fromkeys(found, one)


@pytest.mark.exhaustive
def test_the_script(checkpoint, odd_data, tmp_path):
    argv = (CONFIG, checkpoint, 3, '--work-dir', tmp_path / 'work', '--data-root', odd_data, *OPTIONS)
    code, output, _ = script('dist_test', *argv, cwd=tmp_path)
    assert code == 0, output[-3000:]
    assert '7 images (3 without target)' in output
    assert 0 < metrics(tmp_path / 'work')['IoU'] < 1
