"""Swin's keys to and fro; equal features are proven in tests/interop/test_swin_timm.py."""

import re

import pytest
import torch
from mmseg.models.backbones import SwinTransformer

from mmirstd.checkpoints.convert.swin import convert_swin_state_dict, swin_arch

ARCH = dict(embed_dims=8, depths=(1, 2, 1), num_heads=(1, 2, 4), window_size=5)


def swin():
    torch.manual_seed(0)
    net = SwinTransformer(**ARCH, strides=(4, 2, 2), out_indices=(0, 1, 2))
    for p in net.parameters():
        torch.nn.init.normal_(p)
    return net


def authors(state, prefix=''):
    """MMSegmentation's keys to those of the authors, merging by slices in their order."""
    out = {}
    for key, value in state.items():
        name = key.replace('stages', 'layers').replace('projection', 'proj').replace('attn.w_msa', 'attn')
        name = name.replace('ffn.layers.0.0', 'mlp.fc1').replace('ffn.layers.1', 'mlp.fc2')
        if '.downsample.' in key:
            c = value.shape[-1] // 4
            # Index in MMSegmentation: channel * 4 + row * 2 + column.
            value = torch.cat([value[..., torch.arange(c) * 4 + 2 * row + col] for col in (0, 1) for row in (0, 1)], -1)
        out[prefix + name] = value
    return out


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'model.backbone.'])
def test_there_and_back(prefix):
    state = swin().state_dict()
    others = {'sem_seg_head.pixel_decoder.layers.0.norm1.weight': torch.zeros(1)} if prefix else {}
    others |= {f'{prefix}layers.0.blocks.0.attn_mask': torch.zeros(1), f'{prefix}head.weight': torch.zeros(1)}
    got, dropped = convert_swin_state_dict(authors(state, prefix) | others)
    learned = {key: value for key, value in state.items() if not key.endswith('relative_position_index')}
    assert got.keys() == learned.keys()
    for key, value in learned.items():
        torch.testing.assert_close(got[key], value, msg=key)
    assert len(dropped) == len(others) + len(state) - len(learned)
    assert swin_arch(got) == ARCH


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: {k: v for k, v in s.items() if 'proj' not in k}, 'not a model with one Swin.*first keys'),
        (lambda s: s | {'b.patch_embed.proj.weight': torch.zeros(1)}, '2 of them'),
        (lambda s: s | {'layers.0.blocks.0.attn.tau': torch.zeros(1)}, r'belong nowhere.*attn\.tau'),
    ],
)
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        convert_swin_state_dict(change(authors(swin().state_dict())))


def test_what_is_written_is_what_mmsegmentation_loads(call, tmp_path, capsys):
    net = swin()
    net.eval()  # returns None
    torch.save(dict(model=authors(net.state_dict(), 'backbone.')), tmp_path / 'in.pth')
    assert call('convert', 'swin', 'in.pth', 'out.pth') is None
    assert re.search(
        r'SwinTransformer\(embed_dims=8, depths=\(1, 2, 1\), .* window_size=5\), 68 tensors; left out 4',
        capsys.readouterr().out,
    )
    loaded = SwinTransformer(**ARCH, strides=(4, 2, 2), out_indices=(0, 1, 2))
    loaded.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'out.pth'))
    loaded.init_weights()
    loaded.eval()
    x = torch.randn(1, 3, 37, 52)
    for got, expected in zip(loaded(x), net(x), strict=True):
        torch.testing.assert_close(got, expected)
    torch.save(dict(model=dict(weight=torch.zeros(1))), tmp_path / 'bad.pth')
    assert 'not a model with one Swin Transformer' in call('convert', 'swin', 'bad.pth', 'other.pth')
    assert not (tmp_path / 'other.pth').exists()
