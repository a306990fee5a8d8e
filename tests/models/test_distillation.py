"""Distillers: losses in closed form, a teacher that does not move, and what of a student is trained and kept."""

import copy
import shutil

import numpy as np
import pytest
import torch
from mmengine.model import MomentumAnnealingEMA
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmirstd.checkpoints.loading import recording
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.models.distillation import FrozenTeacher, functional, teacher_key
from mmirstd.models.distillation.teacher import prepare_views

PREPROCESSOR = dict(type='mmirstd.IRSTDDataPreProcessor', mean=[100.0] * 3, std=[50.0] * 3, bgr_to_rgb=True)
TINY = dict(embed_dims=(8, 8, 8, 8), depths=(1, 1, 1, 1))
REPVIT = dict(type='mmirstd.RepViT', arch=TINY)
STUDENT = dict(
    type='mmirstd.QueryEncoder',
    backbone=dict(type='mmirstd.RepViT', arch=TINY, stem_strides=(1, 2)),
    embed_dims=16,
    num_heads=2,
    feedforward_channels=32,
    dense_update=dict(type='mmirstd.ConvDenseUpdate'),
)
SEGMENTOR = dict(
    type='EncoderDecoder',
    data_preprocessor=PREPROCESSOR,
    backbone=REPVIT,
    decode_head=dict(
        type='mmirstd.ConvHead',
        in_channels=8,
        loss_decode=dict(type='mmirstd.BinaryCrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)


@pytest.fixture(autouse=True)
def scope():
    """That of every config."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def saved(tmp_path, cfg, name='teacher.pth', meta=None):
    """A checkpoint of random weights, whose maps are not near zero."""
    torch.manual_seed(7)
    model = MODELS.build(copy.deepcopy(cfg))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    torch.save({'state_dict': model.state_dict(), 'meta': meta or {}}, tmp_path / name)
    return str(tmp_path / name)


@pytest.fixture
def teacher(tmp_path):
    """Config of a teacher of four maps."""
    return dict(model=REPVIT, checkpoint=saved(tmp_path, REPVIT), data_preprocessor=PREPROCESSOR, dtype=None)


@pytest.fixture
def mask_teacher(tmp_path):
    """Config of a teacher of masks."""
    return dict(model=SEGMENTOR, checkpoint=saved(tmp_path, SEGMENTOR, 'masks.pth'), dtype=None)


def feature_distiller(teacher, **changes):
    torch.manual_seed(0)
    losses = [dict(type='mmirstd.FeatureCosineLoss'), dict(type='mmirstd.FeatureMSELoss', loss_weight=0.5)]
    settings = dict(student=STUDENT, teacher=teacher, losses=losses, student_preprocessor=PREPROCESSOR) | changes
    model = MODELS.build(dict(type='mmirstd.FeatureDistiller', **copy.deepcopy(settings)))
    model.init_weights()
    return model


def mask_distiller(teacher, **changes):
    torch.manual_seed(0)
    losses = [dict(type=f'mmirstd.Mask{kind}DistillationLoss') for kind in ('BCE', 'Dice', 'KL')]
    settings = dict(student=SEGMENTOR, teacher=teacher, losses=losses) | changes
    model = MODELS.build(dict(type='mmirstd.MaskDistiller', **copy.deepcopy(settings)))
    model.init_weights()
    return model


def batch(n=2, size=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=generator) for _ in range(n)]
    return images, [SegDataSample(metainfo=dict(img_shape=(size, size), ori_shape=(size, size))) for _ in images]


# --- losses


def maps(shape=(2, 5, 4, 3)):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(2)]


def test_feature_losses_in_closed_form():
    s, t = maps()
    a, b = s.numpy(), t.numpy()
    exact = dict(rtol=1e-12, atol=0)
    np.testing.assert_allclose(functional.feature_mse(s, t), ((a - b) ** 2).sum() / a.size, **exact)
    cosines = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    np.testing.assert_allclose(functional.feature_cosine(s, t), np.mean(1 - cosines), **exact)
    correlations = [np.corrcoef(a[i, c].ravel(), b[i, c].ravel())[0, 1] for i in range(2) for c in range(5)]
    np.testing.assert_allclose(functional.feature_standardized_mse(s, t), 1 - np.mean(correlations), rtol=1e-10)


def test_standardized_features_ignore_scale_and_offset():
    s, t = maps()
    moved = t * torch.tensor([2.0, 3.0, 0.1, 5.0, 1.0])[:, None, None] + 7
    torch.testing.assert_close(functional.feature_standardized_mse(s, moved), functional.feature_standardized_mse(s, t))
    assert functional.feature_standardized_mse(moved, t).abs() < 1e-12
    flat = torch.full_like(t, 4.0)
    torch.testing.assert_close(functional.feature_standardized_mse(flat, t).item(), 0.5, rtol=1e-5, atol=0)


def test_temperature_kl_in_closed_form():
    s, t = (3 * x for x in maps((2, 1, 4, 3)))
    for temperature in (0.5, 1.0, 2.0):
        p, q = (1 / (1 + np.exp(-x.numpy() / temperature)) for x in (t, s))
        expected = temperature**2 * np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
        torch.testing.assert_close(functional.temperature_kl(s, t, temperature).item(), expected, rtol=1e-10, atol=0)
    assert functional.temperature_kl(t, t).abs() < 1e-15
    # Certain to any precision, on both sides, and no NaN.
    far = functional.temperature_kl(torch.tensor([1000.0, -1000.0]), torch.tensor([-1000.0, -1000.0]))
    assert torch.isfinite(far)


def test_mask_losses_in_closed_form():
    s, t = (2 * x for x in maps((2, 1, 4, 3)))
    p, q = (1 / (1 + np.exp(-x.numpy())) for x in (t, s))
    bce = MODELS.build(dict(type='mmirstd.MaskBCEDistillationLoss', loss_weight=2.0))(s, t)
    expected = -2 * np.mean(p * np.log(q) + (1 - p) * np.log(1 - q))
    torch.testing.assert_close(bce.item(), expected, rtol=1e-10, atol=0)
    dice = MODELS.build(dict(type='mmirstd.MaskDiceDistillationLoss', smooth=0.5))(s, t)
    sums = [(p * q).sum((1, 2, 3)), p.sum((1, 2, 3)) + q.sum((1, 2, 3))]
    torch.testing.assert_close(dice.item(), np.mean(1 - (2 * sums[0] + 0.5) / (sums[1] + 0.5)), rtol=1e-10, atol=0)


def test_gradients_of_losses_are_right():
    s, t = maps()
    for function in (functional.feature_mse, functional.feature_cosine, functional.feature_standardized_mse):
        assert torch.autograd.gradcheck(lambda x, f=function: f(x, t), s.clone().requires_grad_())
    s, t = maps((2, 1, 4, 3))
    assert torch.autograd.gradcheck(lambda x: functional.temperature_kl(x, t, 2.0), s.clone().requires_grad_())


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(type='mmirstd.FeatureMSELoss', loss_name='mse'), "must begin with 'loss_'"),
        (dict(type='mmirstd.MaskKLDistillationLoss', temperature=0), 'temperature=0 must be positive'),
    ],
)
def test_wrong_arguments_of_losses(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)
    with pytest.raises(ValueError, match='differ'):
        MODELS.build(dict(type='mmirstd.FeatureMSELoss'))(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 4))


# --- the teacher


def test_a_teacher_never_trains(teacher):
    built = FrozenTeacher(**teacher)
    images = torch.stack(batch()[0]).float()
    before = built(images)
    built.train()
    assert not any(m.training for m in built.modules())
    after = built(images)
    assert all(torch.equal(a, b) and not a.requires_grad for a, b in zip(before, after, strict=True))
    assert not any(p.requires_grad for p in built.parameters())
    assert [m.shape for m in before] == [(2, 8, 16 >> i, 16 >> i) for i in range(4)]


def test_a_teacher_sees_views_as_its_own_preprocessor_says(teacher):
    images = torch.stack(batch()[0]).float()
    (last,) = FrozenTeacher(**teacher, indices=(-1,))(images)
    assert last.shape == (2, 8, 2, 2)
    larger = dict(teacher, data_preprocessor=dict(PREPROCESSOR, inside_size=128))
    assert FrozenTeacher(**larger)(images)[0].shape == (2, 8, 32, 32)
    model = FrozenTeacher(**teacher)
    model.init_weights()
    expected = model.model((images[:, [2, 1, 0]] - 100) / 50)
    torch.testing.assert_close(model(images), expected)
    half = FrozenTeacher(**dict(teacher, dtype='bfloat16'))(images)
    assert half[0].dtype == torch.float32
    assert not torch.equal(half[0], expected[0])
    torch.testing.assert_close(half[0], expected[0], rtol=0.1, atol=0.1)


def test_channels_of_views_are_those_that_a_network_takes():
    gray = MODELS.build(dict(type='mmirstd.IRSTDDataPreProcessor', mean=[0.0], std=[1.0], bgr_to_rgb=False))
    color = MODELS.build(dict(PREPROCESSOR, mean=[0.0] * 3, std=[1.0] * 3))
    image = torch.arange(64.0).view(1, 1, 8, 8)
    assert torch.equal(prepare_views(image, color), image.expand(1, 3, 8, 8))
    torch.testing.assert_close(prepare_views(image.expand(1, 3, 8, 8), gray), image)
    blue = torch.stack([image[0, 0], 0 * image[0, 0], 0 * image[0, 0]])[None]
    torch.testing.assert_close(prepare_views(blue, gray), 0.114 * image)


def test_views_that_would_be_padded_are_refused():
    padding = MODELS.build(dict(PREPROCESSOR, test_divisor=32))
    assert prepare_views(torch.zeros(1, 3, 64, 32), padding).shape == (1, 3, 64, 32)
    with pytest.raises(ValueError, match='views of 40 x 64 would be padded to 64 x 64'):
        prepare_views(torch.zeros(1, 3, 64, 40), padding)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(checkpoint=None), 'random weights teaches nothing'),
        (dict(data_preprocessor=None), 'needs a data_preprocessor'),
        (dict(output='logits'), 'needs a segmentor'),
        (dict(output='masks'), "output='masks' must be one of"),
        (dict(dtype='int8'), "dtype='int8'"),
    ],
)
def test_wrong_arguments_of_a_teacher(teacher, change, message):
    with pytest.raises(ValueError, match=message):
        FrozenTeacher(**teacher | change)


def test_a_teacher_of_other_weights_is_refused(teacher, tmp_path):
    wrong = dict(teacher, checkpoint=saved(tmp_path, SEGMENTOR, 'other.pth'))
    with pytest.raises(CheckpointError, match=r'other\.pth is a checkpoint of another model'):
        FrozenTeacher(**wrong).init_weights()
    with pytest.raises(ValueError, match=r'indices=\(4,\), and there are 4 maps'):
        FrozenTeacher(**teacher, indices=(4,))(torch.zeros(1, 3, 64, 64))


def test_the_key_follows_what_features_follow_from(teacher, tmp_path):
    key = teacher_key(teacher)
    moved = tmp_path / 'moved.pth'
    shutil.copyfile(teacher['checkpoint'], moved)
    assert teacher_key(dict(teacher, checkpoint=str(moved))) == key
    others = [
        dict(teacher, data_preprocessor=dict(PREPROCESSOR, inside_size=128)),
        dict(teacher, indices=(0,)),
        dict(teacher, dtype='bfloat16'),
        dict(teacher, model=dict(REPVIT, act_cfg=dict(type='ReLU'))),
        dict(teacher, checkpoint=saved(tmp_path, dict(REPVIT, stem_strides=(1, 1)), 'b.pth', {'x': 1})),
    ]
    assert len({key, *map(teacher_key, others)}) == 1 + len(others)


def test_the_teacher_of_a_shipped_config(tmp_path):
    """By name, with the preprocessor of its segmentor, gray; its weights are those of the file alone."""
    from mmengine.config import Config

    from mmirstd.utils.configs import find_config

    cfg = Config.fromfile(find_config('adgfnet-lite_nudt')).model
    built = FrozenTeacher('adgfnet-lite_nudt', saved(tmp_path, cfg), output='logits')
    (logits,) = built(torch.stack(batch()[0]).float())
    assert logits.shape == (2, 1, 64, 64)
    assert logits.std() > 0


# --- distillers


def test_only_student_and_projections_are_trained_and_kept(teacher):
    model = feature_distiller(teacher)
    names = {name.partition('.')[0] for name in model.state_dict()}
    assert names == {'backbone', 'projections'}
    images, samples = batch()
    before = {k: v.clone() for k, v in model._teacher[0].state_dict().items()}
    losses = model.train()(images, samples, mode='loss')
    assert set(losses) == {f'map{i}.loss_{name}' for i in range(4) for name in ('cosine', 'mse')}
    model.parse_losses(losses)[0].backward()
    untrained = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not untrained
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert all(name.startswith(('backbone.dense.mask_', 'backbone.sparse.interaction.')) for name in frozen)
    assert any(name.startswith('backbone.dense.mask_mlp') for name in frozen)
    assert all(torch.equal(v, before[k]) for k, v in model._teacher[0].state_dict().items())
    assert not any(m.training for m in model._teacher[0].modules())


def test_training_brings_the_losses_down(teacher):
    model = feature_distiller(teacher).train()
    images, samples = batch(2, 32)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 5e-3)
    history = []
    for _ in range(15):
        loss = model.parse_losses(model(images, samples, mode='loss'))[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.8 * history[0]


def test_averages_share_the_teacher(teacher):
    model = feature_distiller(teacher)
    average = MomentumAnnealingEMA(model)
    assert average.module._teacher[0] is model._teacher[0]
    assert average.module.backbone is not model.backbone


def test_student_weights_are_those_of_a_backbone(teacher, tmp_path):
    model = feature_distiller(teacher)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'distilled.pth')
    torch.save({'state_dict': model.student_weights(model.state_dict())}, tmp_path / 'student.pth')
    images = torch.stack(batch()[0]).float()
    expected = model.eval().study(images)
    for file, prefix in (('distilled.pth', 'backbone.'), ('student.pth', None)):
        init = dict(type='Pretrained', checkpoint=str(tmp_path / file), prefix=prefix)
        backbone = MODELS.build(dict(copy.deepcopy(STUDENT), init_cfg=init))
        backbone.init_weights()
        got = backbone.eval()(prepare_views(images, model.preprocessor))
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_any_backbone_learns(teacher):
    student = dict(type='ResNetV1c', depth=18, base_channels=8, norm_cfg=dict(type='BN'))
    model = feature_distiller(teacher, student=student).train()
    images, samples = batch()
    assert len(model(images, samples, mode='loss')) == 8


def test_pairs_choose_the_maps(teacher):
    pairs = [dict(student=-1, teacher=0, weight=3.0), dict(student=0, teacher=1)]
    model = feature_distiller(teacher, pairs=pairs).eval()
    images, samples = batch()
    losses = model(images, samples, mode='loss')
    assert set(losses) == {'map3.loss_cosine', 'map3.loss_mse', 'map0.loss_cosine', 'map0.loss_mse'}
    stacked = torch.stack(images).float()
    maps, taught = model.study(stacked), model.teach(stacked, samples)
    enlarged = torch.nn.functional.interpolate(
        model.projections[0](maps[3]), taught[0].shape[2:], mode='bilinear', align_corners=False
    )
    torch.testing.assert_close(losses['map3.loss_mse'], 1.5 * functional.feature_mse(enlarged, taught[0]))
    shrunk = torch.nn.functional.adaptive_avg_pool2d(model.projections[1](maps[0]), taught[1].shape[2:])
    torch.testing.assert_close(losses['map0.loss_mse'], 0.5 * functional.feature_mse(shrunk, taught[1]))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(pairs=[dict(student=4, teacher=0)]), 'the student has 4 maps and the teacher 4'),
        (dict(pairs=[]), 'pairs is empty'),
        (dict(losses=[]), 'takes losses of the kind FeatureLoss'),
        (dict(losses=[dict(type='mmirstd.MaskKLDistillationLoss')]), r"FeatureLoss, got \['MaskKL"),
    ],
)
def test_wrong_arguments_of_a_feature_distiller(teacher, change, message):
    with pytest.raises(ValueError, match=message):
        feature_distiller(teacher, **change)


def test_held_out_losses_are_set_for_each_sample(teacher):
    model = feature_distiller(teacher).eval()
    images, samples = batch(3)
    found = model.val_step(dict(inputs=images, data_samples=samples))
    for image, sample in zip(images, found, strict=True):
        alone = model([image], [sample], mode='loss')
        assert sample.distill_losses == pytest.approx({k: v.item() for k, v in alone.items()})
    with pytest.raises(ValueError, match='must have one size'):
        model([images[0], images[1][:, :32]], samples[:2], mode='loss')


def test_masks_are_learned_from_the_logits_at_view_size(mask_teacher):
    model = mask_distiller(mask_teacher).eval()
    images, samples = batch()
    stacked = torch.stack(images).float()
    (taught,), (logits,) = model.teach(stacked, samples), model.study(stacked)
    assert taught.shape == logits.shape == (2, 1, 64, 64)
    losses = model(images, samples, mode='loss')
    assert set(losses) == {'mask.loss_bce', 'mask.loss_dice', 'mask.loss_kl'}
    torch.testing.assert_close(losses['mask.loss_kl'], functional.temperature_kl(logits, taught, 2.0))
    assert set(model.student_weights(model.state_dict())) == set(MODELS.build(copy.deepcopy(SEGMENTOR)).state_dict())


def test_labels_of_the_students_own_losses(mask_teacher):
    images, samples = batch()
    stacked = torch.stack(images).float()
    model = mask_distiller(mask_teacher, labels='teacher', label_weight=0.5).train()
    found = model(images, samples, mode='loss')
    assert not any('gt_sem_seg' in sample for sample in samples)
    target = (model.teach(stacked, samples)[0] > 0).float()
    with torch.no_grad():
        bce = torch.nn.functional.binary_cross_entropy_with_logits(model.study(stacked)[0], target)
    torch.testing.assert_close(found['decode.loss_bce'], 0.5 * bce, rtol=1e-4, atol=1e-5)
    with pytest.raises(AttributeError, match='gt_sem_seg'):
        mask_distiller(mask_teacher, labels='masks').train()(images, samples, mode='loss')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(labels='some'), "labels='some' must be one of"),
        (dict(label_weight=-1), 'not negative'),
        (dict(losses=[dict(type='mmirstd.FeatureMSELoss')]), 'takes losses of the kind MaskLogitLoss'),
    ],
)
def test_wrong_arguments_of_a_mask_distiller(mask_teacher, change, message):
    with pytest.raises(ValueError, match=message):
        mask_distiller(mask_teacher, **change)
    with pytest.raises(ValueError, match="output must be 'logits'"):
        mask_distiller(dict(mask_teacher, output='neck'))


def test_what_a_teacher_was_trained_on_is_noted(teacher, tmp_path):
    loads = []
    with recording(loads):
        feature_distiller(dict(teacher, checkpoint=saved(tmp_path, REPVIT, 'b.pth', {'trained_on': []})))
    assert [(load.source, load.meta) for load in loads] == [(str(tmp_path / 'b.pth'), {'trained_on': []})]
