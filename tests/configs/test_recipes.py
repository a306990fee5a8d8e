"""The published recipes of the baselines do what the public code does."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.optim import LinearLR  # noqa: F401  registers all schedulers
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmseg.registry import MODELS, TRANSFORMS
from PIL import Image, ImageFilter
from small_configs import ROOT
from torch import nn

# ruff: noqa: NPY002 - the transforms draw from numpy's global generator


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


def pipeline(name):
    return Config.fromfile(ROOT / f'_base_/pipelines/{name}.py').train_pipeline


def build(steps):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return Compose([TRANSFORMS.build(step) for step in steps])


def sample(size=40):
    img = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    mask = np.zeros((size, size), np.uint8)
    mask[3:5, 7:12] = 1
    return dict(img=img, gt_seg_map=mask, seg_fields=['gt_seg_map'], img_shape=(size, size), ori_shape=(size, size))


@pytest.mark.parametrize('name', ['jitter256', 'jitter480', 'jitter512'])
def test_every_second_image_is_blurred_as_by_pil(name):
    (step,) = (s for s in pipeline(name) if s['type'] == 'mmirstd.InfraredPhotometric')
    blur, given = build([step]), sample()
    drawn = [blur(deepcopy(given)) for _ in range(200)]
    radii = [results['photometric'].get('blur') for results in drawn]
    assert all(results['photometric'].keys() <= {'blur'} for results in drawn)
    assert 70 < radii.count(None) < 130
    assert 0 <= min(filter(None, radii)) < 0.1 < 0.9 < max(filter(None, radii)) <= 1
    for results, radius in zip(drawn, radii, strict=True):
        np.testing.assert_array_equal(results['gt_seg_map'], given['gt_seg_map'])
        if radius is None:
            np.testing.assert_array_equal(results['img'], given['img'])
        elif radius > 0.5:  # below, PIL blurs more than a Gaussian at the centers of pixels
            pil = np.asarray(Image.fromarray(given['img']).filter(ImageFilter.GaussianBlur(radius)), int)
            inside = (slice(4, -4), slice(4, -4))
            difference = np.abs(results['img'].astype(int) - pil)[inside].mean()
            # Of white noise, which is the hardest to blur alike: PIL's kernel is piecewise linear.
            assert difference < 0.12 * np.abs(given['img'].astype(int) - pil)[inside].mean()


def test_rdian_does_not_blur():
    assert [s['type'] for s in pipeline('jitter480_sharp')] == [
        'RandomResize', 'mmirstd.TargetAwareCrop', 'RandomFlip', 'mmirstd.PackIRSTDInputs'
    ]  # fmt: skip


@pytest.mark.parametrize('name', ['jitter256', 'jitter480_strong', 'some-jitter480', 'crop256_symmetries'])
def test_padding_is_background(name):
    crop = build([s for s in pipeline(name) if s['type'] == 'mmirstd.TargetAwareCrop'])
    mask = crop(sample())['gt_seg_map']
    assert (mask == 1).sum() == 10
    assert not (mask == 255).any()


def test_isnet_draws_all_symmetries_and_keeps_masks_and_images_together():
    steps = [s for s in pipeline('jitter480_strong') if s['type'] in ('RandomFlip', 'RandomRotFlip')]
    augment, given = build(steps), sample()
    given['img'][:] = given['gt_seg_map'][..., None] * 200
    seen = set()
    for _ in range(200):
        results = augment(deepcopy(given))
        np.testing.assert_array_equal(results['img'][..., 0], results['gt_seg_map'] * 200)
        seen.add(results['gt_seg_map'].tobytes())
    assert len(seen) == 8


def test_egpnet_trains_on_packed_samples_of_its_size():
    for name, size in (('some-jitter256', 256), ('some-jitter480', 480)):
        augment = build(pipeline(name))
        for _ in range(10):
            packed = augment(sample() | dict(img_path='a.png'))
            assert packed['inputs'].shape == (3, size, size)
            assert packed['data_samples'].gt_sem_seg.data.shape == (1, size, size)


def test_uiunet_flips_upside_down_alone():
    (flip,) = (s for s in pipeline('resize320') if s['type'] == 'RandomFlip')
    outcomes = {build([flip])(sample())['gt_seg_map'].tobytes() for _ in range(30)}
    mask = sample()['gt_seg_map']
    assert outcomes == {mask.tobytes(), mask[::-1].tobytes()}


def test_mdvsfa_and_iaanet_do_not_flip():
    given = sample(128)
    packed = build(pipeline('whole128'))(deepcopy(given) | dict(img_path='a.png'))
    np.testing.assert_array_equal(packed['inputs'].numpy().transpose(1, 2, 0), given['img'])


def rates(name):
    """The rate of each iteration of a schedule."""
    cfg = Config.fromfile(ROOT / f'_base_/schedules/{name}.py')
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], cfg.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build(dict(s, optimizer=optimizer)) for s in cfg.param_scheduler]
    found = []
    for _ in range(cfg.train_cfg.max_iters):
        found.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return np.array(found)


def test_sctransnet_warms_up_for_ten_epochs_of_a_thousand():
    found, epoch = rates('sctransnet'), 38
    assert len(found) == 1000 * epoch
    assert found[0] < 1e-5
    assert found[5 * epoch] == pytest.approx(5e-4, rel=0.01)
    assert found[10 * epoch] == pytest.approx(1e-3, rel=1e-3)
    assert found[505 * epoch] == pytest.approx((1e-3 + 1e-5) / 2, rel=1e-3)
    assert found[-1] == pytest.approx(1e-5, rel=1e-3)


def test_basicirstd_trains_at_a_tenth_twice():
    found = rates('basicirstd')
    np.testing.assert_allclose(sorted(set(found.round(9)), reverse=True), [5e-4, 5e-5, 5e-6])
    assert [int((found > rate).sum()) / len(found) for rate in (1e-4, 1e-5)] == [0.5, 0.75]


@pytest.mark.parametrize(
    ('name', 'epoch', 'epochs'), [('abcnet', 19, 1500), ('abcnet_batch16', 38, 1500), ('abcnet_batch4', 180, 500)]
)
def test_abcnet_warms_up_for_five_epochs_and_ends_at_zero(name, epoch, epochs):
    cfg = Config.fromfile(ROOT / f'_base_/schedules/{name}.py')
    warmup, decay = cfg.param_scheduler
    assert (warmup.type, warmup.begin, warmup.end) == ('LinearLR', 0, 5 * epoch)
    assert (decay.type, decay.begin, decay.end, decay.eta_min) == ('PolyLR', 5 * epoch, epochs * epoch, 0)
    assert cfg.train_cfg.max_iters == epochs * epoch


@pytest.mark.parametrize(
    ('network', 'deviation'),
    [
        ('dnanet', lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5),
        ('sctransnet', lambda fan_in, fan_out: (2 / fan_in) ** 0.5),
    ],
)
def test_first_weights_are_drawn_as_published(network, deviation):
    torch.manual_seed(0)
    cfg = Config.fromfile(ROOT / f'baselines/{network}_nudt.py')
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    large = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups == 1 and m.weight.numel() > 5000]
    assert len(large) > 10
    for conv in large:
        area = conv.weight[0, 0].numel()
        expected = deviation(conv.in_channels * area, conv.out_channels * area)
        assert conv.weight.std().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ('network', 'per_image'),
    [('acm-fpn', True), ('rdian', True), ('rpcanet', True), ('acm-unet', False), ('dnanet', False)],
)
def test_soft_iou_is_of_the_image_or_of_the_batch(network, per_image):
    cfg = Config.fromfile(ROOT / f'baselines/{network}_nudt.py').model.decode_head.loss_decode
    with DefaultScope.overwrite_default_scope('mmseg'):
        loss = MODELS.build(dict(cfg, loss_weight=1.0))
    torch.manual_seed(0)
    logits, label = torch.randn(2, 1, 8, 8), torch.zeros(2, 8, 8, dtype=torch.long)
    label[0, 2:5, 2:5] = label[1, 1, 1] = 1
    p, dims = logits.sigmoid()[:, 0], (1, 2) if per_image else (0, 1, 2)
    overlap = (p * label).sum(dims)
    expected = 1 - ((overlap + 1) / (p.sum(dims) + label.sum(dims) - overlap + 1)).mean()
    torch.testing.assert_close(loss(logits, label), expected)
