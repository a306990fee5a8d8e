"""SimIR's released weights load, and give what the authors' code gives (golden/README.md)."""

import copy
import functools
import json
from pathlib import Path

import pytest
import torch
from golden_state import drawn, image
from mmengine.config import Config
from mmseg.registry import MODELS

from mmirstd.checkpoints.convert import convert_checkpoint
from mmirstd.checkpoints.convert.repvit import convert_repvit_state_dict
from mmirstd.checkpoints.convert.simir import convert_simir_backbone, convert_simir_state_dict
from mmirstd.checkpoints.fitting import load_strict
from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.checkpoints.state_dict import CheckpointError

CONFIG = Path(__file__).parents[2] / 'configs/_base_/models/simir_repvit.py'
GOLDEN = json.loads((Path(__file__).parent / 'golden/simir.json').read_text())
UNUSED = 4 * 256 + 256 + 256 + 256 + 3 * 256  # point, not-a-point and no-mask embeddings; mask token; level embeddings


@functools.cache
def released(dtype=torch.float32, part=None):
    """The weights of a released checkpoint, made from their names."""
    tensors = GOLDEN['tensors']
    if part == 'distilled':
        trunk = {k.removeprefix('backbone.'): v for k, v in tensors.items() if k.startswith('backbone.features.')}
        tensors = trunk | GOLDEN['distilled']['tensors']
    weights = {name: drawn(name, tuple(shape)) for name, shape in tensors.items()}
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in weights.items()}


def sample(x):
    x = x.flatten()
    return x[:: len(x) // 50]


def build(part=None):
    cfg = Config.fromfile(CONFIG).model
    cfg.pop('data_preprocessor')
    return MODELS.build(cfg[part] if part else cfg)


@pytest.fixture(scope='module')
def model():
    model = build().requires_grad_(False).eval()
    assert sum(p.numel() for p in model.parameters()) == GOLDEN['parameters'] - UNUSED == 24893224
    return model


def masks(model, x):
    with torch.enable_grad():  # without gradients the early mask is left out
        features = model.extract_feat(x)
        return {'early': features.early_mask, 'neck': features.neck_mask, 'final': model.decode_head(features)}


@pytest.mark.parametrize(
    ('dtype', 'tolerance', 'size', 'batch'),
    [
        (torch.float64, 1e-9, 64, 2),
        (torch.float32, 1e-4, 64, 2),
        pytest.param(torch.float64, 1e-9, 256, 1, marks=pytest.mark.exhaustive),
        pytest.param(torch.float32, 1e-4, 256, 1, marks=pytest.mark.exhaustive),
    ],
)
def test_a_released_model_gives_what_the_authors_code_gives(model, dtype, tolerance, size, batch):
    state, left_out = convert_simir_state_dict(released(dtype))
    load_strict(model.to(dtype), state, 'released.pth')
    assert len(left_out) == 8
    for name, mask in masks(model, image(0, batch, 3, size, size).to(dtype)).items():
        expected = GOLDEN['masks'][str(size)][name]
        assert mask.shape == (batch, 1, size, size)
        values = torch.tensor(expected['values'], dtype=torch.float64)
        assert (sample(mask) - values).norm() < tolerance * values.norm(), name
        assert mask.double().mean().item() == pytest.approx(expected['mean'], abs=tolerance * expected['std'])
        assert mask.double().std().item() == pytest.approx(expected['std'], rel=tolerance)


@pytest.mark.parametrize('prefix', ['', 'model.', 'module.model.'])
def test_prefixes_and_the_criterions_buffer(prefix):
    weights = released() | {'criterion.empty_weight': torch.ones(2)}
    state, left_out = convert_simir_state_dict({prefix + key: value for key, value in weights.items()})
    assert 'criterion.empty_weight' in left_out
    assert state.keys() == convert_simir_state_dict(released())[0].keys()


def test_a_distilled_backbone_loads_into_trunk_and_maps(tmp_path):
    """Its maps end with the batch norm: the GELU behind comes with the queries."""
    weights = released(torch.float64, 'distilled')
    torch.save({'model': weights}, tmp_path / 'distilled.pth')
    encoder = build('backbone')
    before = copy.deepcopy(encoder.sparse.state_dict())
    encoder.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'distilled.pth'))
    encoder.init_weights()
    for key, value in encoder.sparse.state_dict().items():
        assert torch.equal(value, before[key]), key
    encoder = encoder.double().eval()
    state, _ = convert_simir_backbone(weights)  # the file's float64, which the encoder rounded
    encoder.load_state_dict(state, strict=False)
    with torch.no_grad():
        for x, project, expected in zip(
            encoder.backbone(image(0, 2, 3, 64, 64)),
            encoder.maps,
            GOLDEN['distilled']['maps'],
            strict=True,
        ):
            got = project.norm(project.conv(x))
            torch.testing.assert_close(sample(got), torch.tensor(expected['values'], dtype=torch.float64))
    # The trunk alone takes it too, without its maps.
    state, dropped = convert_repvit_state_dict(weights)
    load_strict(encoder.backbone, state, 'distilled.pth')
    assert {key.partition('.')[0] for key in dropped} == {'proj1', 'proj2', 'proj3', 'proj4'}


def test_a_whole_model_gives_the_encoder_its_backbone(tmp_path):
    torch.save({'model': released()}, tmp_path / 'nuaa.pth')
    encoder = build('backbone')
    encoder.load_pretrained(str(tmp_path / 'nuaa.pth'))
    expected = convert_simir_state_dict(released())[0]
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, expected[f'backbone.{key}']), key


def test_an_encoder_without_dense_queries_refuses_a_model_with_them(tmp_path):
    torch.save(released(), tmp_path / 'nuaa.pth')
    cfg = Config.fromfile(CONFIG).model.backbone | dict(dense_channels=0)
    with pytest.raises(CheckpointError, match=r'nuaa.pth: it has weights of dense\.\*'):
        MODELS.build(cfg).load_pretrained(str(tmp_path / 'nuaa.pth'))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: {'stem.weight': torch.ones(1)}, "no.*SimIR checkpoint.*'stem.weight'"),
        (lambda s: s | {'backbone.extra.weight': torch.ones(1)}, r"nowhere in SimIR: \['backbone.extra.weight'\]"),
        (lambda s: s | {'sem_seg_head.extra': torch.ones(1)}, r"nowhere in SimIR: \['sem_seg_head.extra'\]"),
        (lambda s: s | {'other.extra': torch.ones(1)}, r"nowhere in SimIR: \['other.extra'\]"),
        (
            lambda s: s | {'backbone.proj5.0.c.weight': torch.ones(1)},
            r"nowhere in SimIR: \['backbone.proj5.0.c.weight'",
        ),
        (lambda s: {k: v for k, v in s.items() if k.startswith('backbone.')}, "nothing in it becomes 'query_pos.own'"),
        (
            lambda s: {k: v for k, v in s.items() if 'sparse_embed' not in k},
            "nothing in it becomes 'token_pos.sparse'",
        ),
    ],
)
def test_what_is_no_simir_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        convert_simir_state_dict(change(released()))


def test_the_convert_command(tmp_path):
    """A converted model loads into the config's model, a converted distilled backbone into its encoder."""
    for part, name in ((None, 'EncoderDecoder'), ('distilled', 'QueryEncoder')):
        torch.save({'model': released(torch.float32, part)}, tmp_path / 'released.pth')
        converted = convert_checkpoint('simir', tmp_path / 'released.pth', tmp_path / f'{name}.pth')
        assert converted.model == name
    load_strict(build(), load_checkpoint(tmp_path / 'EncoderDecoder.pth')['state_dict'], 'EncoderDecoder.pth')
    encoders = build('backbone'), build('backbone')
    encoders[0].load_pretrained(str(tmp_path / 'QueryEncoder.pth'))
    encoders[1].load_pretrained(str(tmp_path / 'released.pth'))
    for part in ('backbone', 'maps'):
        first, second = (getattr(encoder, part).state_dict() for encoder in encoders)
        assert all(torch.equal(first[key], second[key]) for key in first)
