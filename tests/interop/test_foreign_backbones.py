"""IRSAM's configs with backbones of mmpretrain and timm, made narrow where that can be."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmirstd  # noqa: F401

pytest.importorskip('mmpretrain')
pytest.importorskip('timm')

MIX = Path(__file__).resolve().parents[2] / 'configs' / 'mix'
CONFIGS = sorted(path.name for path in MIX.glob('*.py') if 'mmpretrain' in path.read_text())


def test_there_are_such_configs():
    assert {'vitsam_irsam_nuaa.py', 'timm_irsam_nuaa.py'} <= set(CONFIGS)


@pytest.mark.parametrize('name', CONFIGS)
def test_config_trains_and_predicts(name):
    cfg = Config.fromfile(MIX / name)
    init_default_scope(cfg.default_scope)
    cfg.model.data_preprocessor.update(inside_size=64, size=(48, 48))
    cfg.model.decode_head.init_cfg = None
    inner = cfg.model.backbone.get('backbone', cfg.model.backbone)
    if inner.type == 'mmpretrain.ViTSAM':
        inner.arch = dict(
            embed_dims=32, num_layers=12, num_heads=2, feedforward_channels=64, global_attn_indexes=[2, 5, 8, 11]
        )
        inner.img_size = 64
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()

    def batch(size):
        samples = []
        for _ in range(2):
            sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
            sample.gt_sem_seg = PixelData(data=(torch.rand(1, *size) < 0.05).long())
            samples.append(sample)
        return dict(inputs=list(torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)), data_samples=samples)

    losses = model(**model.data_preprocessor(batch((48, 48)), training=True), mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert torch.isfinite(loss)
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused
    model.eval()
    results = model.test_step(batch((40, 53)))
    assert [tuple(result.seg_logits.data.shape) for result in results] == [(1, 40, 53)] * 2
    assert results[0].seg_logits.data.std() > 0
