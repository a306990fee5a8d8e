"""TinyViT with MobileSAM's real weights against values that MobileSAM's own code gives (mobile_sam_cases.py)."""

import json
import sys
from pathlib import Path

import pytest
import torch

from mmirstd.checkpoints.convert.sam import convert_tiny_vit_state_dict
from mmirstd.checkpoints.state_dict import unwrap_state_dict
from mmirstd.models.backbones.tiny_vit import TinyViT

sys.path.insert(0, str(Path(__file__).parent))
from mobile_sam_cases import GOLDEN, real_image, sample, synthetic_image


@pytest.fixture(scope='module')
def net(mobile_sam):
    net = TinyViT(out_indices=(1,), out_merged=True)
    net.load_pretrained(mobile_sam)
    return net.eval()


def test_no_key_unexplained(mobile_sam):
    whole = torch.load(mobile_sam, weights_only=True)
    state, dropped = convert_tiny_vit_state_dict(unwrap_state_dict(whole))
    assert len(whole) == 439
    assert len(state) + len(dropped) == len(whole)
    own = TinyViT().state_dict()
    assert state.keys() == own.keys()
    assert all(value.shape == own[key].shape for key, value in state.items())
    others = {key for key in dropped if not key.startswith(('prompt_encoder.', 'mask_decoder.'))}
    assert others == {'norm_head.weight', 'norm_head.bias', 'head.weight', 'head.bias'}
    # What is learned in the file's encoder, its classifier included.
    learned = [k for k in whole if k.startswith('image_encoder.') and not k.endswith(('_mean', '_var', '_tracked'))]
    parameters = sum(p.numel() for p in TinyViT().parameters())
    assert parameters == 5_743_892 == sum(whole[k].numel() for k in learned) - 1000 * (320 + 1) - 2 * 320


@pytest.mark.parametrize('deploy', [False, True])
@pytest.mark.parametrize('image', ['synthetic', 'NUDT-SIRST 000001'])
def test_features(net, mobile_sam, image, deploy, request):
    if image == 'synthetic':
        x = synthetic_image()
    else:
        x = real_image(request.getfixturevalue('real_data') / 'NUDT-SIRST/images/000001.png')
    if deploy:
        net = TinyViT(out_indices=(1,), out_merged=True)
        net.load_pretrained(mobile_sam)
        net.eval().switch_to_deploy()
    with torch.no_grad():
        got = sample(dict(zip(('early', 'neck'), net(x), strict=True)))
    expected = json.loads(GOLDEN.read_text())[image]
    for name, values in expected.items():
        assert values['std'] > 0.05
        for key, value in values.items():
            torch.testing.assert_close(torch.tensor(got[name][key]), torch.tensor(value), atol=1e-4, rtol=1e-4)
