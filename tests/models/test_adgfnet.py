import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from golden_state import drawn, image
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmirstd.checkpoints.convert.adgfnet import convert_adgfnet_state_dict
from mmirstd.datasets import NUDTSIRSTDataset
from mmirstd.models.baselines import AnomalyGatedFPN, ResidualEncoder
from mmirstd.models.baselines.adgfnet import GradientMagnitude
from mmirstd.models.layers.reparam import switch_to_deploy

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = json.loads((Path(__file__).parent / 'golden/adgfnet.json').read_text())


def build(name):
    cfg = Config.fromfile(ROOT / f'configs/baselines/{name}_nudt.py').model
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(cfg).eval()


def logits(model, x):
    return model.decode_head(model.neck(model.backbone(x)))


@pytest.mark.parametrize('name', GOLDEN)
@pytest.mark.parametrize('deploy', [False, True])
def test_equals_the_published_code(name, deploy):
    state = {key: drawn(key, tuple(shape)) for key, shape in GOLDEN[name]['keys'].items()}
    converted, dropped = convert_adgfnet_state_dict(state)
    assert len(dropped) == 6
    assert all('weight_' in key for key in dropped)
    model = build(name).double()
    model.load_state_dict(converted, strict=True)
    if deploy:
        assert switch_to_deploy(model) > 20
    for case in GOLDEN[name]['cases']:
        with torch.no_grad():
            out = logits(model, image(case['seed'], *case['shape'])).flatten()
        assert out.mean().item() == pytest.approx(case['mean'], rel=1e-9)
        assert out.std().item() == pytest.approx(case['std'], rel=1e-9)
        np.testing.assert_allclose(out[:: case['every']].numpy(), case['values'], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('name', 'millions'), [('adgfnet-lite', 0.121), ('adgfnet', 0.578)])
def test_parameters_are_the_published_number(name, millions):
    assert sum(p.numel() for p in build(name).parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)


def test_keys_without_a_place_are_named():
    with pytest.raises(ValueError, match=r'model\.elsewhere\.weight'):
        convert_adgfnet_state_dict({'model.elsewhere.weight': torch.zeros(1)})
    with pytest.raises(ValueError, match='odd'):
        convert_adgfnet_state_dict({'model.neck.odd': torch.zeros(1)})


def test_gradient_is_that_of_a_ramp_in_any_dtype():
    ramp = torch.arange(9.0).repeat(9, 1)[None, None]
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        out = GradientMagnitude().to(dtype)((100 * ramp).to(dtype))
        assert out.dtype == dtype
        torch.testing.assert_close(
            out[0, 0, 1:-1, 1:-1].double(), torch.full((7, 7), 800.0).double(), rtol=1e-2, atol=0
        )


def test_parts_mix_with_others():
    maps = ResidualEncoder(in_channels=3, channels=(4, 8), num_blocks=(1, 2))(torch.rand(2, 3, 21, 17))
    assert [tuple(x.shape) for x in maps] == [(2, 4, 21, 17), (2, 8, 11, 9)]
    (out,) = AnomalyGatedFPN([4, 8], 6)(maps)
    assert out.shape == (2, 6, 21, 17)
    with pytest.raises(ValueError, match=r'takes maps of \[4, 9\]'):
        AnomalyGatedFPN([4, 9], 6)(maps)
    with pytest.raises(ValueError, match='two levels'):
        AnomalyGatedFPN([4], 6)
    with pytest.raises(ValueError, match='as many'):
        ResidualEncoder(channels=(4, 8), num_blocks=(1,))


def test_every_parameter_gets_a_gradient():
    model = build('adgfnet')
    logits(model, torch.rand(2, 1, 32, 32)).square().mean().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


@pytest.mark.exhaustive
def test_published_weights_give_the_published_iou(real_data):
    """0.937 is published (0.9368 by the authors' code on these images)."""
    weights = real_data / 'weights/adgfnet-lite_nudt.pth'
    if not weights.is_file():
        pytest.skip('no published weights')
    state = torch.load(weights, map_location='cpu', weights_only=True)['state_dict']
    model = build('adgfnet-lite')
    model.load_state_dict(convert_adgfnet_state_dict(state)[0], strict=True)
    dataset = NUDTSIRSTDataset(data_root=real_data / 'NUDT-SIRST', split='basicirstd/test', test_mode=True)
    inter = union = 0
    for info in map(dataset.get_data_info, range(len(dataset))):
        pixels = torch.from_numpy(cv2.imread(info['img_path'], cv2.IMREAD_GRAYSCALE)).float()
        with torch.no_grad():
            positive = logits(model, ((pixels - 107.81) / 33.02)[None, None])[0, 0].numpy() > 0
        target = cv2.imread(info['seg_map_path'], cv2.IMREAD_GRAYSCALE) > 127
        inter += (positive & target).sum()
        union += (positive | target).sum()
    assert inter / union == pytest.approx(0.9368, abs=1e-3)
