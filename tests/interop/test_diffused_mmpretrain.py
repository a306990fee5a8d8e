"""WPMD after the layers of a backbone that is not ours."""

import pytest
import torch
from torch import nn

pytest.importorskip('mmpretrain')

from mmpretrain.models.backbones import ViTSAM

from mmirstd.models.backbones import DiffusedBackbone

ARCH = dict(embed_dims=32, num_layers=3, num_heads=2, feedforward_channels=64, global_attn_indexes=[2])


def test_vit_sam():
    torch.manual_seed(0)
    config = dict(type='mmpretrain.ViTSAM', arch=ARCH, img_size=64, patch_size=8, out_channels=16, window_size=4)
    net = DiffusedBackbone(config, levels=(0, 1)).eval()
    assert isinstance(net.backbone, ViTSAM)
    assert net.levels == ['layers.0', 'layers.1']
    x = torch.randn(1, 3, 64, 64)
    (y,) = net(x)
    expected = ViTSAM(**{k: v for k, v in config.items() if k != 'type'})
    expected.eval()
    expected.load_state_dict(net.backbone.state_dict())
    for layer, block in zip(expected.layers, net.wpmd.values(), strict=False):
        layer.register_forward_hook(lambda _, __, out, block=block: block(out.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    torch.testing.assert_close(y, expected(x)[0])
    for block in net.wpmd.values():
        nn.init.zeros_(block.gate)
    assert not torch.allclose(net(x)[0], y, atol=1e-4)
