"""MMSegmentation's Swin with converted weights against timm's, whose merging is the authors'."""

import re

import pytest
import torch
from mmseg.models.backbones import SwinTransformer
from torch import nn

from mmirstd.checkpoints.convert.swin import convert_swin_state_dict, swin_arch

timm = pytest.importorskip('timm.models.swin_transformer')


def test_equal_features():
    torch.manual_seed(0)
    theirs = timm.SwinTransformer(
        img_size=96, embed_dim=24, depths=(2, 2, 2), num_heads=(2, 3, 4), window_size=3, num_classes=5
    ).eval()
    for name, p in theirs.named_parameters():
        nn.init.normal_(p, 1.0 if 'norm' in name and name.endswith('weight') else 0.0, 0.2)
    state = {}
    for key, value in theirs.state_dict().items():
        # timm merges at the beginning of a stage instead of the end of the one before, and has one norm, at the end.
        key = re.sub(r'layers\.(\d)\.downsample', lambda m: f'layers.{int(m[1]) - 1}.downsample', key)
        state[re.sub(r'^norm\.', 'norm2.', key)] = value
    converted, dropped = convert_swin_state_dict({f'model.backbone.{key}': value for key, value in state.items()})
    assert all(re.search(r'head|attn_mask|position_index', key) for key in dropped)
    arch = swin_arch(converted)
    assert arch == dict(embed_dims=24, depths=(2, 2, 2), num_heads=(2, 3, 4), window_size=3)
    ours = SwinTransformer(**arch, strides=(4, 2, 2), out_indices=(2,))
    ours.eval()  # returns None
    missing, unexpected = ours.load_state_dict(converted, strict=False)
    assert not unexpected
    assert all(key.endswith('relative_position_index') for key in missing)
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        expected = theirs.forward_features(x).permute(0, 3, 1, 2)
        (got,) = ours(x)
    assert expected.std() > 0.1
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)
