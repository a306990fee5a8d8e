"""EfficientSAM's encoder and decoder give what the authors' code gives (golden/README.md), and its weights load."""

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
from mmirstd.models.backbones import SAMViT
from mmirstd.models.decode_heads import EfficientSAMHead

CONFIG = Path(__file__).parents[2] / 'configs/_base_/models/efficient-sam_vit-t.py'
GOLDEN = json.loads((Path(__file__).parent / 'golden/efficient-sam.json').read_text())
PLAIN = {'img_size': 224, 'rel_pos': False, 'antialias': False}
SMALL = {'arch': {'embed_dims': 32, 'depth': 3, 'num_heads': 2, 'global_layers': (0, 1, 2)}, 'neck_channels': 16}
PRECISIONS = pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-6), (torch.float32, 1e-4)])


@functools.cache
def released(arch='t', dtype=torch.float32):
    """The weights of a published file, made from their names."""
    tensors = GOLDEN[arch]['tensors'].items()
    return {name: drawn(name, tuple(shape)).to(dtype) for name, shape in tensors}


def loaded(part, weights, dtype):
    state, left_out = part.convert_state_dict(weights)
    load_strict(part.to(dtype), state, 'efficient_sam.pt')
    assert left_out
    return part.requires_grad_(False).eval()


def head(mask_index=1, **kwargs):
    loss = dict(type='mmirstd.SoftIoULoss')
    return EfficientSAMHead(**dict(with_edge=False, mask_index=mask_index, loss_decode=loss) | kwargs)


@pytest.fixture
def whole_file(tmp_path):
    torch.save({'model': released()}, tmp_path / 'efficient_sam_vitt.pt')
    return str(tmp_path / 'efficient_sam_vitt.pt')


@PRECISIONS
@pytest.mark.parametrize('arch', ['t', pytest.param('s', marks=pytest.mark.exhaustive)])
def test_the_encoder_gives_what_the_authors_code_gives(arch, dtype, tolerance):
    """At sizes that shrink and enlarge the 14 x 14 position embeddings, which are resized in float32."""
    net = loaded(SAMViT(arch, **PLAIN), released(arch, dtype), dtype)
    # The position of a class token, which their network does not read.
    unread = net.embed_dims
    assert sum(p.numel() for p in net.parameters()) == GOLDEN[arch]['parameters']['image_encoder'] - unread
    for size, expected in GOLDEN[arch]['maps'].items():
        (out,) = net(image(0, expected['shape'][0], 3, *map(int, size.split('x'))).to(dtype))
        assert golden_difference(out, expected) < tolerance, size


@PRECISIONS
@pytest.mark.parametrize('mask_index', range(4))
def test_the_decoder_gives_what_the_authors_code_gives(mask_index, dtype, tolerance):
    decoder = loaded(head(mask_index), released('t', dtype), dtype)
    out = decoder((image(1, 2, 256, 3, 5).to(dtype),))
    assert golden_difference(out[:, 0], GOLDEN['t']['decoder']['3x5'][mask_index]) < tolerance


def test_the_whole_model_gives_what_the_authors_code_gives():
    net, decoder = (loaded(part, released(), torch.float32) for part in (SAMViT('t', **PLAIN), head()))
    for size, expected in GOLDEN['t']['masks'].items():
        x = image(0, expected[1]['shape'][0], 3, *map(int, size.split('x'))).float()
        assert golden_difference(decoder(net(x))[:, 0], expected[1]) < 1e-4


def test_other_shapes_than_squares():
    """A transposed image gives the transposed map, where patches, position embeddings and neck are transposed."""
    torch.manual_seed(0)
    net, turned = (SAMViT(**SMALL, **PLAIN).double().eval() for _ in range(2))
    state = net.state_dict()
    state |= {key: state[key].transpose(2, 3) for key in state if key.endswith('weight') and state[key].ndim == 4}
    turned.load_state_dict(state | {'pos_embed': state['pos_embed'].transpose(1, 2)})
    x = torch.randn(1, 3, 48, 272, dtype=torch.float64)
    (out,), (other,) = net(x), turned(x.transpose(2, 3))
    assert out.shape == (1, 16, 3, 17)
    torch.testing.assert_close(other.transpose(2, 3), out, rtol=1e-5, atol=1e-5)
    assert net(x[:, :, :41, :260])[0].shape == out.shape


@pytest.mark.parametrize('with_edge', [False, True])
def test_all_parameters_learn(with_edge):
    torch.manual_seed(0)
    net = SAMViT(**SMALL, **PLAIN, out_indices=(0,))
    decoder = head(in_channels=16, channels=16, num_heads=2, with_edge=with_edge, early_channels=32)
    mask, edge = decoder.forward_maps(net(torch.randn(2, 3, 64, 96)))
    assert mask.shape == (2, 1, 16, 24)
    out = mask if edge is None else torch.cat((mask, edge))
    (out * torch.randn_like(out)).sum().backward()
    for name, p in [*net.named_parameters(), *decoder.named_parameters()]:
        assert p.grad is not None, name
    unmoved = [name for name, p in decoder.named_parameters() if p.grad.abs().sum() == 0]
    # Softmax takes out what a key's bias adds to all scores.
    assert all(name.endswith('k_proj.bias') for name in unmoved), unmoved


def test_one_file_gives_every_part_its_weights(whole_file, tmp_path):
    """By `init_cfg` of two parts, or converted once for `load_from`."""
    cfg = Config.fromfile(CONFIG).model
    cfg.pop('data_preprocessor')
    cfg.backbone.init_cfg.checkpoint = cfg.decode_head.init_cfg.checkpoint = whole_file
    model = MODELS.build(cfg)
    model.init_weights()
    converted = convert_checkpoint('efficient-sam', whole_file, tmp_path / 'converted.pth')
    assert converted.model == 'EncoderDecoder'
    assert not [key for key in converted.left_out if key.startswith('image_encoder.')]
    assert any(key.startswith('prompt_encoder.bbox_top_left') for key in converted.left_out)
    state = load_checkpoint(tmp_path / 'converted.pth')['state_dict']
    load_strict(MODELS.build(cfg), state, 'converted.pth')
    own = model.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in state.items())
    encoder = convert_checkpoint('sam', whole_file, tmp_path / 'encoder.pth')
    assert (encoder.model, encoder.arguments) == ('SAMViT', {'rel_pos': False})
    SAMViT('t', **PLAIN).load_pretrained(str(tmp_path / 'encoder.pth'))
    # Position embeddings of a larger image are interpolated once, as in each forward pass.
    net = SAMViT('t', **PLAIN | {'img_size': 256})
    net.load_pretrained(whole_file)
    expected = GOLDEN['t']['maps']['256x256']
    with torch.no_grad():
        assert golden_difference(net.eval()(image(0, 1, 3, 256, 256).float())[0], expected) < 1e-4


def test_own_checkpoint_of_the_head(tmp_path):
    torch.save(head().state_dict(), tmp_path / 'head.pth')
    other = head()
    other.load_pretrained(str(tmp_path / 'head.pth'))
    assert torch.equal(other.no_prompt.weight, torch.load(tmp_path / 'head.pth')['no_prompt.weight'])


@pytest.mark.parametrize(
    ('part', 'change', 'message'),
    [
        (lambda: SAMViT('t'), {}, 'rel_pos_h'),
        (lambda: SAMViT('s', **PLAIN), {}, 'another shape'),
        (lambda: SAMViT('t', **PLAIN), {'image_encoder.pos_embed': torch.ones(1, 190, 192)}, r'pos_embed.*190'),
        (lambda: SAMViT('t', **PLAIN), {'image_encoder.cls_token': torch.ones(1)}, 'cls_token'),
        (lambda: SAMViT('t', **PLAIN), {'image_encoder.blocks.0.attn.rel_pos_h': torch.ones(1)}, 'rel_pos_h'),
        (head, {'mask_decoder.stray.weight': torch.ones(1)}, 'stray'),
        (lambda: head(channels=128), {}, 'another shape'),
    ],
)
def test_what_does_not_fit_is_an_error(part, change, message, tmp_path):
    torch.save({'model': released() | change}, tmp_path / 'efficient_sam.pt')
    with pytest.raises(CheckpointError, match=rf'efficient_sam\.pt.*{message}'):
        part().load_pretrained(str(tmp_path / 'efficient_sam.pt'))


def test_arguments():
    with pytest.raises(ValueError, match='num_prompts=0'):
        head(num_prompts=0)
