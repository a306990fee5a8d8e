"""MDvsFA's discriminator and its training, against the public code's numbers and closed forms."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_state import drawn, image
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmirstd.checkpoints.convert import convert_weights
from mmirstd.models.baselines import ClampedHeads, MaskDiscriminator, ParallelBackbones
from mmirstd.models.losses import class_adversarial_loss, feature_matching_loss

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = json.loads((Path(__file__).parent / 'golden/mdvsfa.json').read_text())


def discriminator_state(state):
    """The public discriminator's keys as this package has them."""
    rules = (
        (r'net(\d)\.model\.0\.', lambda m: f'convs.{int(m[1]) - 1}.0.conv.'),
        (r'net(\d)\.model\.1\.', lambda m: f'convs.{int(m[1]) - 1}.0.bn.'),
        (r'fc(\d)\.', lambda m: f'layers.{3 * int(m[1]) - 3}.'),
        (r'bn(\d)\.', lambda m: f'layers.{3 * int(m[1]) - 2}.'),
    )
    out = {}
    for key, value in state.items():
        (new,) = [re.sub(f'^{rule}', by, key) for rule, by in rules if re.match(rule, key)]
        out[new] = value
    return out


def published(name):
    return {key: drawn(f'{name}.{key}', tuple(shape)) for key, shape in GOLDEN['keys'][name].items()}


@pytest.fixture
def config():
    cfg = Config.fromfile(ROOT / 'configs/baselines/mdvsfa_nudt.py')
    for branch in cfg.model.backbone.branches:
        branch.channels = [width // 16 for width in branch.channels]
    cfg.model.decode_head.update(in_channels=[4, 4], eps=1e-12)
    return cfg


@pytest.fixture
def model(config):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MODELS.build(config.model)


@pytest.fixture
def published_model(model):
    """The model in float64, with the weights and statistics that the public code was given."""
    state = {f'discriminator.{k}': v for k, v in discriminator_state(published('D')).items()}
    for i in range(2):
        for key, value in convert_weights('mdvsfa', published(f'G{i + 1}')).state_dict.items():
            key = key.replace('backbone.', f'backbone.branches.{i}.').replace('conv_seg', f'convs.{i}')
            state[key] = value
    model.double().load_state_dict(state, strict=True)
    return model


@pytest.fixture
def optimizers(config, model):
    with DefaultScope.overwrite_default_scope('mmseg'):
        wrappers = dict(config.optim_wrapper)
        kind = wrappers.pop('constructor')
        return OPTIM_WRAPPER_CONSTRUCTORS.build(dict(type=kind, optim_wrapper_cfg=wrappers))(model)


def sample(label):
    return SegDataSample(gt_sem_seg=PixelData(data=label))


def test_the_discriminator_is_that_of_the_published_code():
    expected = GOLDEN['discriminator']
    net = MaskDiscriminator().double()
    net.load_state_dict(discriminator_state(published('D')), strict=True)
    assert sum(p.numel() for p in net.parameters()) == GOLDEN['discriminator_parameters']
    with torch.no_grad():
        scores, maps = net.eval()(image(expected['seed'], *expected['shape']))
    np.testing.assert_allclose(scores, expected['scores'], rtol=0, atol=1e-9)
    _, first, second = maps.chunk(3)
    assert feature_matching_loss(first, second).item() == pytest.approx(expected['distance'], rel=1e-9)


def test_a_training_is_that_of_the_published_code(published_model, optimizers, monkeypatch):
    """Three iterations: each loss of each part, with what the optimizers and the norms' statistics made of it."""
    model = published_model
    monkeypatch.setattr(model.data_preprocessor, 'forward', lambda data, training: data)
    golden = GOLDEN['training']
    for step, expected in enumerate(golden['steps']):
        shape = (golden['batch'], 1, golden['size'], golden['size'])
        label = (image(20 + step, *shape) > 2).long()
        data = {'inputs': image(10 + step, *shape), 'data_samples': [sample(x) for x in label]}
        logged = model.train().train_step(data, optimizers)
        found = [logged[f'discriminator.loss_source{i}'].item() for i in range(3)]
        assert found == pytest.approx(expected['discriminator'], rel=1e-7)
        for name in ('generator1', 'generator2'):
            *_, weighed, adversarial, matching, total = expected[name]
            keys = ('loss_mdfa', 'loss_adversarial', 'loss_matching', 'loss')
            found = [logged[f'{name}.{key}'].item() for key in keys]
            assert found == pytest.approx([100 * weighed, 10 * adversarial, matching, total], rel=1e-7)
    assert model.training
    prediction = GOLDEN['prediction']
    with torch.no_grad():
        x = image(prediction['seed'], *prediction['shape'])
        out = model.eval().decode_head(model.extract_feat(x)).sigmoid().flatten()
    assert out.mean().item() == pytest.approx(prediction['mean'], rel=1e-7)
    np.testing.assert_allclose(out[:: prediction['every']], prediction['values'], rtol=0, atol=1e-7)


def test_an_optimizer_moves_its_part_alone(model, optimizers):
    data = {'inputs': [torch.randint(0, 256, (1, 40, 56), dtype=torch.uint8) for _ in range(2)]}
    data['data_samples'] = [
        SegDataSample(metainfo=dict(img_shape=(40, 56)), gt_sem_seg=PixelData(data=torch.ones(1, 40, 56).long()))
        for _ in range(2)
    ]
    model.data_preprocessor.size = (40, 56)
    for name in model.trained_parts():
        optimizers[name].optimizer.param_groups[0]['lr'] = 0.0
    optimizers['generator2'].optimizer.param_groups[0]['lr'] = 0.1
    before = {key: p.clone() for key, p in model.named_parameters()}
    model.train().train_step(data, optimizers)
    moved = {key for key, p in model.named_parameters() if not torch.equal(p, before[key])}
    assert moved
    assert all(key.startswith(('backbone.branches.1.', 'decode_head.convs.1.')) for key in moved)
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_ignored_pixels_change_nothing(model):
    torch.manual_seed(0)
    inputs, label = torch.randn(2, 1, 32, 32), (torch.rand(2, 1, 32, 32) > 0.9).long()
    label[..., 16:] = 255
    features = model.eval().extract_feat(inputs)
    masks = [model.decode_head.mask(features, i) for i in range(2)]
    scores, _ = model._discriminate(inputs, label[:, 0], masks)
    masks = [torch.where(label == 255, 3.0, mask) for mask in masks]
    changed, _ = model._discriminate(inputs, label[:, 0], masks)
    torch.testing.assert_close(torch.stack(scores), torch.stack(changed))
    losses = model.part_losses('generator1', inputs, [sample(torch.full_like(x, 255)) for x in label])
    assert losses['loss_mdfa'] == 0


def test_the_discriminator_learns_whatever_the_generators_take_from_it(model):
    torch.manual_seed(0)
    inputs, samples = torch.randn(1, 1, 32, 32), [sample((torch.rand(1, 32, 32) > 0.9).long())]
    expected = model.eval().part_losses('discriminator', inputs, samples)
    model.loss_adversarial.loss_weight = 0.0
    torch.testing.assert_close(model.part_losses('discriminator', inputs, samples), expected)
    assert model.part_losses('generator1', inputs, samples)['loss_adversarial'] == 0


def test_bfloat16_autocast_trains(model):
    inputs, label = torch.randn(2, 1, 32, 32), (torch.rand(2, 1, 32, 32) > 0.9).long()
    plain = model.eval().loss(inputs, [sample(x) for x in label])
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(inputs, [sample(x) for x in label])
    assert {value.dtype for value in losses.values()} == {torch.float32}
    for name, value in losses.items():
        assert value.item() == pytest.approx(plain[name].item(), rel=0.05, abs=1e-3), name


def test_adversarial_loss_is_its_closed_form():
    right, wrong = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
    sure = torch.tensor([[1.0, 0.0, 0.0]])
    assert class_adversarial_loss(sure, 0).item() == pytest.approx((right + 2 * math.log(2)) / 3)
    assert class_adversarial_loss(sure, 1).item() == pytest.approx((wrong + 2 * math.log(2)) / 3)
    both = torch.cat((sure, sure.roll(1, 1)))
    assert class_adversarial_loss(both, 1).item() == pytest.approx((right + wrong + 4 * math.log(2)) / 6)
    assert class_adversarial_loss(both.bfloat16(), 1).dtype == torch.float32
    loss = MODELS.build(dict(type='mmirstd.ClassAdversarialLoss', loss_weight=10.0))
    assert loss(sure, 0).item() == pytest.approx(10 * (right + 2 * math.log(2)) / 3)


def test_feature_matching_loss_is_its_closed_form():
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert feature_matching_loss(maps, torch.zeros_like(maps)).item() == 30 / 4
    assert feature_matching_loss(maps.bfloat16(), maps.bfloat16()).dtype == torch.float32
    loss = MODELS.build(dict(type='mmirstd.FeatureMatchingLoss', loss_weight=0.5))
    assert loss(maps, maps + 2).item() == 2


def test_the_head_predicts_the_mean_or_one_mask():
    loss = dict(type='mmirstd.MissFalseAlarmLoss')
    maps = (torch.rand(1, 3, 6, 5), torch.rand(1, 2, 6, 5))
    torch.manual_seed(0)
    head = ClampedHeads([3, 2], [1, 3], loss_decode=[loss, loss])
    masks = [conv(x).clamp(1e-6, 1 - 1e-6) for conv, x in zip(head.convs, maps, strict=True)]
    torch.testing.assert_close(head(maps).sigmoid(), (masks[0] + masks[1]) / 2)
    for i in range(2):
        one = ClampedHeads([3, 2], [1, 3], predict=i, loss_decode=[loss, loss])
        one.load_state_dict(head.state_dict())
        torch.testing.assert_close(one(maps).sigmoid(), masks[i])


def test_what_does_not_fit_is_refused(config, model):
    loss = dict(type='mmirstd.MissFalseAlarmLoss')
    with pytest.raises(ValueError, match='2 maps, 1 kernel_sizes and 2 losses'):
        ClampedHeads([3, 2], [1], loss_decode=[loss, loss])
    with pytest.raises(ValueError, match='2 maps, 2 kernel_sizes and 1 losses'):
        ClampedHeads([3, 2], [1, 1], loss_decode=loss)
    with pytest.raises(ValueError, match=r"predict=2 is neither 'mean' nor a number from 0 to 1"):
        ClampedHeads([3, 2], [1, 1], predict=2, loss_decode=[loss, loss])
    branches = [dict(type='mmirstd.ContextAggregation', in_channels=n, channels=(4,), dilations=(1,)) for n in (1, 3)]
    with pytest.raises(ValueError, match=r'images of \[1, 3\] channels'):
        ParallelBackbones(branches)
    one = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(TypeError, match='an optimizer for each of discriminator, generator1, generator2'):
        model.train_step({}, one)
    config.model.discriminator.num_sources = 2
    with (
        DefaultScope.overwrite_default_scope('mmseg'),
        pytest.raises(ValueError, match='2 generators need a discriminator with num_sources=3, not 2'),
    ):
        MODELS.build(config.model)
