"""EdgeSAM's encoder gives what the authors' code gives (golden/README.md), and its weights load part by part."""

import functools
import json
from pathlib import Path

import pytest
import torch
from golden_state import drawn, golden_difference, image
from mmengine.config import Config
from mmseg.registry import MODELS

from mmirstd.checkpoints.convert import convert_checkpoint
from mmirstd.checkpoints.fitting import load_strict
from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.models.backbones import RepViT
from mmirstd.models.necks import EdgeSAMNeck

CONFIG = Path(__file__).parents[2] / 'configs/_base_/models/edge-sam.py'
GOLDEN = json.loads((Path(__file__).parent / 'golden/edge-sam.json').read_text())
NARROW = {'embed_dims': (8, 16, 24, 32), 'depths': (1, 2, 2, 1)}


@functools.cache
def released(dtype=torch.float32):
    """The weights of the image encoder in a published file, made from their names."""
    weights = {name: drawn(name, tuple(shape)) for name, shape in GOLDEN['tensors'].items()}
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in weights.items()}


def whole(head):
    """And those of the other parts: the head's, and what prompts need."""
    weights = dict(released())
    for key, value in head.state_dict().items():
        part = 'prompt_encoder' if key.startswith(('pe_layer.', 'no_mask_embed.')) else 'mask_decoder'
        weights[f'{part}.{key}'] = drawn(key, tuple(value.shape)).to(value.dtype)
    others = ('mask_decoder.iou_prediction_head.layers.0.weight', 'prompt_encoder.point_embeddings.0.weight')
    return weights | {key: torch.ones(2, 2) for key in others}


def build(**changes):
    cfg = Config.fromfile(CONFIG).model
    cfg.pop('data_preprocessor')
    for part, change in changes.items():
        cfg[part].update(change)
    return MODELS.build(cfg)


@pytest.fixture(scope='module')
def encoder():
    parts = RepViT('m0_9', branch_norm=True, out_indices=(2, 3)), EdgeSAMNeck()
    assert sum(p.numel() for part in parts for p in part.parameters()) == GOLDEN['parameters'] == 5517552
    return torch.nn.Sequential(*parts).requires_grad_(False).eval()


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_the_encoder_gives_what_the_authors_code_gives(encoder, dtype, tolerance):
    for part in encoder.to(dtype):
        state, left_out = part.convert_state_dict(released(dtype))
        assert state.keys() | left_out
        load_strict(part, state, 'edge_sam.pth')
    for size, expected in GOLDEN['maps'].items():
        height, width = map(int, size.split('x'))
        (out,) = encoder(image(0, expected['shape'][0], 3, height, width).to(dtype))
        assert golden_difference(out, expected) < tolerance, size


def test_folding_changes_nothing():
    net = RepViT(NARROW, branch_norm=True, out_indices=(2, 3)).double().eval()
    net.load_state_dict({key: drawn(key, tuple(value.shape)) for key, value in net.state_dict().items()})
    x = image(0, 1, 3, 64, 96)
    with torch.no_grad():
        expected = net(x)
        assert net.switch_to_deploy() > 0
        folded = RepViT(NARROW, branch_norm=True, out_indices=(2, 3), deploy=True).double().eval()
        folded.load_state_dict(net.state_dict())
        for before, after, loaded in zip(expected, net(x), folded(x), strict=True):
            torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9 * before.abs().max().item())
            assert torch.equal(after, loaded)


@pytest.mark.parametrize('size', [(64, 64), (50, 83), (33, 160)])
def test_any_size_and_all_parameters_learn(size):
    """The map has the finer one's size; where it is odd, the coarser one is not simply doubled."""
    torch.manual_seed(0)
    backbone = RepViT(NARROW, branch_norm=True, out_indices=(2, 3))
    for name, p in backbone.named_parameters():
        if name.endswith('bn.weight'):  # the last of each block starts at zero
            torch.nn.init.ones_(p)
    neck = EdgeSAMNeck((24, 32), 16)
    (out,) = neck(backbone(torch.randn(2, 3, *size)))
    assert out.shape == (2, 16, -(-size[0] // 16), -(-size[1] // 16))
    (out * torch.randn_like(out)).sum().backward()
    for name, p in [*backbone.named_parameters(), *neck.named_parameters()]:
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name


def test_one_file_gives_every_part_its_weights(tmp_path):
    """By `init_cfg` of three parts, or converted once for `load_from`."""
    path = str(tmp_path / 'edge_sam.pth')
    init = dict(init_cfg=dict(type='Pretrained', checkpoint=path))
    model = build(backbone=init, neck=init, decode_head=init)
    torch.save(whole(model.decode_head), path)
    model.init_weights()
    converted = convert_checkpoint('edge-sam', path, tmp_path / 'converted.pth')
    assert converted.model == 'EncoderDecoder'
    assert sorted(converted.left_out) == [
        'mask_decoder.iou_prediction_head.layers.0.weight',
        'prompt_encoder.point_embeddings.0.weight',
    ]
    state = load_checkpoint(tmp_path / 'converted.pth')['state_dict']
    load_strict(build(), state, 'converted.pth')
    own = model.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in state.items())
    assert torch.equal(own['neck.coarse.weight'], released()['image_encoder.fuse_stage3.op_list.0.weight'])


def test_what_does_not_fit_is_an_error(tmp_path):
    path = tmp_path / 'edge_sam.pth'

    def error(part, weights):
        torch.save(weights, path)
        with pytest.raises(CheckpointError, match=r'edge_sam\.pth') as caught:
            part.load_pretrained(str(path))
        return str(caught.value)

    stray = {'image_encoder.stray.weight': torch.ones(1)}
    assert 'stray.weight' in error(EdgeSAMNeck(), released() | stray)
    assert 'stray.weight' in error(RepViT('m0_9', branch_norm=True), released() | stray)
    assert 'another shape' in error(EdgeSAMNeck((192, 320)), released())
    assert 'needs branch_norm=True' in error(RepViT('m0_9'), released())
    assert 'token_mixer' in error(RepViT('m0_9', branch_norm=True), RepViT('m0_9').state_dict())
    torch.save(released(), path)
    with pytest.raises(CheckpointError, match=r'edge_sam\.pth: no mask_decoder in it'):
        convert_checkpoint('edge-sam', path, tmp_path / 'out.pth')
    with pytest.raises(ValueError, match='two widths'):
        EdgeSAMNeck((1, 2, 3))
