"""Configs of classical detectors: they predict without a checkpoint, and test on a test split in one gray channel."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from small_configs import ALL_CONFIGS, CONFIGS, name, parse
from test_configs import identities, pipelines

from mmirstd.apis.configuration import has_weights

GOLDEN = np.load(Path(__file__).parents[1] / 'models/golden/classical.npz', allow_pickle=False)
CLASSICAL = [path for path in ALL_CONFIGS if path.parent.name == 'classical']


def test_they_are_those_without_weights():
    assert len(CLASSICAL) > 8
    assert not any(has_weights(parse(path)) for path in CLASSICAL)
    assert has_weights(parse(CONFIGS[0]))


@pytest.mark.parametrize('path', CLASSICAL, ids=name)
def test_the_test_split_is_loaded_in_gray(path):
    cfg = parse(path)
    assert cfg.train_dataloader is None
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert not identities(cfg.val_dataloader.dataset) & identities(cfg.test_dataloader.dataset)
        for loader in (cfg.val_dataloader, cfg.test_dataloader):
            for way in pipelines(loader.dataset):
                steps = [TRANSFORMS.build(t) for t in way]
                assert steps[0].channels == 1 == len(cfg.model.data_preprocessor.mean)
                assert type(steps[-1]).__name__ == 'PackIRSTDInputs'


@pytest.mark.parametrize('path', CLASSICAL, ids=name)
def test_predicts_targets_and_has_no_weights(path, all_tests):
    """The brightest target of a scene is found, with few other pixels, in any precision of the model."""
    if not all_tests and not path.stem.endswith(('_nudt', '_synthetic')):
        pytest.skip('the same model on another set; MMIRSTD_ALL_TESTS=1 runs all')
    cfg = parse(path)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model).eval()
    assert not list(model.parameters())
    assert not model.state_dict()
    sequence = cfg.model.backbone.method == 'mslstipt'
    images = [torch.from_numpy(frame)[None] for frame in (GOLDEN['frames'] if sequence else GOLDEN['image'][None])]
    y, x = (15, 10) if sequence else (75, 20)
    for dtype in (torch.float32, torch.bfloat16):
        model.to(dtype)
        size = images[0].shape[1:]
        samples = [SegDataSample(metainfo=dict(img_shape=size, ori_shape=size)) for _ in images]
        found = model.test_step(dict(inputs=images, data_samples=samples))[0]
        assert found.seg_logits.data.dtype == torch.float32
        mask = found.pred_sem_seg.data[0]
        assert mask[y - 2 : y + 3, x - 2 : x + 3].any()
        assert 0 < mask.float().mean() < 0.02
