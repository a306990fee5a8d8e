"""The whole of IRSAM against its released layout on timm's and segment-anything's parts, every parameter random."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmirstd.models.layers.reparam import switch_to_deploy

pytest.importorskip('segment_anything')
pytest.importorskip('timm')
from tests.interop.test_tiny_vit import randomise

ROOT = Path(__file__).resolve().parents[2]


@torch.no_grad()
def test_released_layout_gives_equal_masks(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tests/interop')
    cfg = Config.fromfile(ROOT / 'tests/interop/plain_irsam_nuaa.py')
    init_default_scope(cfg.default_scope)
    cfg.model.decode_head.grid = 8
    plain = MODELS.build(cfg.model)
    image = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    randomise(plain.backbone.net, image)
    for parameter in [*plain.backbone.neck.parameters(), *plain.decode_head.parameters()]:
        torch.nn.init.normal_(parameter, std=0.2)
    plain.eval()

    encoder = {k.removeprefix('net.'): v for k, v in plain.backbone.state_dict().items()}
    state = {f'image_encoder.{k}': v for k, v in encoder.items()} | plain.decode_head.state_dict()
    torch.save(state, tmp_path / 'irsam.pth')
    cfg = Config.fromfile(ROOT / 'configs/irsam/irsam_tinyvit_released_nuaa.py')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'irsam.pth'))
    cfg.model.decode_head.init_cfg = cfg.model.backbone.init_cfg = pretrained
    model = MODELS.build(cfg.model)
    model.init_weights()
    expected = plain(image)
    assert expected.shape == (2, 1, 32, 32)
    assert expected.std() > 0.1
    for folded in (False, True):
        if folded:
            assert switch_to_deploy(model)
        torch.testing.assert_close(model.eval()(image), expected, atol=1e-4 * expected.abs().max(), rtol=1e-4)
