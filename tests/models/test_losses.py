import itertools

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmirstd.models import losses
from mmirstd.models.losses import functional

NAMES = (
    'BinaryCrossEntropyLoss',
    'BinaryDiceLoss',
    'BinaryFocalLoss',
    'SoftIoULoss',
    'MissFalseAlarmLoss',
    'ScaleLocationLoss',
    'MaskGradientLoss',
)


def random_case(seed, batch=3, size=(7, 11), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, *size, generator=generator, dtype=dtype)
    target = (torch.rand(batch, *size, generator=generator) < 0.3).to(dtype)
    valid = torch.rand(batch, *size, generator=generator) < 0.8
    return logits, target, valid


def plain(name, logits, target, valid, smooth=1.0, per_image=True, pos_weight=1.0):
    """Closed forms on the list of valid pixels, in numpy float64."""
    images = [
        (z[v].astype(np.float64), t[v].astype(np.float64))
        for z, t, v in zip(logits.double().numpy(), target.double().numpy(), valid.numpy(), strict=True)
    ]
    if name == 'bce':
        z, t = (np.concatenate(x) for x in zip(*images, strict=True))
        p = 1 / (1 + np.exp(-z))
        return float(-(pos_weight * t * np.log(p) + (1 - t) * np.log(1 - p)).sum() / max(len(z), 1))
    if name == 'focal':
        z, t = (np.concatenate(x) for x in zip(*images, strict=True))
        own = np.where(t == 1, 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z)))
        return float(-(np.where(t == 1, 0.25, 0.75) * (1 - own) ** 2 * np.log(own)).sum() / max(t.sum(), 1))
    if not per_image:
        images = [tuple(np.concatenate(x) for x in zip(*images, strict=True))]
    values = []
    for z, t in images:
        if not len(z):
            continue
        p = 1 / (1 + np.exp(-z))
        overlap, union = (p * t).sum(), (p + t - p * t).sum()
        if name == 'dice':
            values.append(1 - (2 * overlap + smooth) / (p.sum() + t.sum() + smooth))
        elif name == 'squared_dice':
            values.append(1 - (2 * overlap + smooth) / ((p * p).sum() + (t * t).sum() + smooth))
        elif name == 'iou':
            values.append(1 - (overlap + smooth) / (union + smooth))
        else:
            values.append(np.log(union / overlap) if t.any() else np.log(1 + union / smooth))
    return float(np.mean(values))


CALLS = {
    'bce': lambda *a, per_image: functional.binary_cross_entropy(*a),
    'focal': lambda *a, per_image: functional.focal_loss(*a),
    'dice': lambda *a, per_image: functional.dice_loss(*a, smooth=0.7, per_image=per_image),
    'squared_dice': lambda *a, per_image: functional.dice_loss(*a, smooth=0.7, per_image=per_image, squared=True),
    'iou': lambda *a, per_image: functional.soft_iou_loss(*a, smooth=0.7, per_image=per_image),
    'log_iou': lambda *a, per_image: functional.soft_iou_loss(*a, smooth=0.7, per_image=per_image, log=True),
}


@pytest.mark.parametrize(('name', 'per_image', 'seed'), list(itertools.product(CALLS, (True, False), range(5))))
@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float32, 1e-5), (torch.float64, 1e-10), (torch.bfloat16, 1e-5)]
)
def test_losses_equal_their_closed_forms(name, per_image, seed, dtype, tolerance):
    logits, target, valid = random_case(seed)
    target[0] = 0  # an image without a target
    logits = logits.to(dtype)
    got = CALLS[name](logits, target, valid, per_image=per_image)
    assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert got.item() == pytest.approx(plain(name, logits, target, valid, 0.7, per_image), rel=tolerance, abs=tolerance)


def test_pos_weight():
    logits, target, valid = random_case(0)
    got = functional.binary_cross_entropy(logits, target, valid, pos_weight=7.0)
    assert got.item() == pytest.approx(plain('bce', logits, target, valid, pos_weight=7.0))


@pytest.mark.parametrize('name', CALLS)
def test_ignored_pixels_count_nowhere(name):
    logits, target, valid = random_case(1)
    logits.requires_grad_()
    loss = CALLS[name](logits, target, valid, per_image=True)
    (grad,) = torch.autograd.grad(loss, logits)
    assert (grad[~valid] == 0).all()
    assert (grad[valid] != 0).any()
    other = torch.where(valid, logits, 50 * torch.randn_like(logits))
    torch.testing.assert_close(CALLS[name](other, torch.where(valid, target, 1), valid, per_image=True), loss)


@pytest.mark.parametrize('name', CALLS)
def test_gradients(name):
    logits, target, valid = random_case(2, batch=2, size=(3, 4))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: CALLS[name](z, target, valid, per_image=True), logits)


@pytest.mark.parametrize('name', CALLS)
def test_an_image_that_is_all_ignored_neither_crashes_nor_counts(name):
    logits, target, valid = random_case(3)
    logits.requires_grad_()
    valid[1] = False
    keep = [0, 2]
    loss = CALLS[name](logits, target, valid, per_image=True)
    torch.testing.assert_close(loss, CALLS[name](logits[keep], target[keep], valid[keep], per_image=True))
    nothing = CALLS[name](logits, target, torch.zeros_like(valid), per_image=True)
    (grad,) = torch.autograd.grad(nothing, logits)
    assert nothing.item() == 0
    assert (grad == 0).all()


@pytest.mark.parametrize('magnitude', [1e4, 80.0])
@pytest.mark.parametrize('name', CALLS)
def test_saturated_logits_give_finite_gradients(name, magnitude):
    _, target, valid = random_case(4, dtype=torch.float32)
    for sign in (-1.0, 1.0):
        logits = torch.full_like(target, sign * magnitude).requires_grad_()
        loss = CALLS[name](logits, target, valid, per_image=True)
        (grad,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(grad).all()


def train_from_black(log, steps=200):
    """Optimise free logits of a 32 x 32 image with one 3 x 3 target from a black prediction; the final soft IoU."""
    target = torch.zeros(1, 32, 32)
    target[:, 10:13, 20:23] = 1
    valid = torch.ones_like(target, dtype=torch.bool)
    logits = torch.full_like(target, -25.0, requires_grad=True)
    optimizer = torch.optim.SGD([logits], lr=20.0)
    for _ in range(steps):
        optimizer.zero_grad()
        functional.soft_iou_loss(logits, target, valid, log=log).backward()
        optimizer.step()
    return 1 - functional.soft_iou_loss(logits.detach(), target, valid).item()


def test_log_soft_iou_comes_back_from_an_all_black_prediction_and_linear_does_not():
    stuck = train_from_black(log=False)
    assert stuck < 0.11  # smoothing alone gives 1 / (9 + 1)
    assert train_from_black(log=True) > 0.9


def test_target_probability():
    logits = torch.tensor([[[[0.0, 2.0], [5.0, -5.0]]]])
    label = torch.tensor([[[1, 1], [0, 255]]])
    expected = (0.5 + 1 / (1 + np.exp(-2.0))) / 2
    assert losses.target_probability(logits, label).item() == pytest.approx(expected)
    assert losses.target_probability(logits, torch.zeros_like(label)) is None


def test_sampled_points_interpolate_and_are_uncertain():
    torch.manual_seed(0)
    height, width = 16, 24
    x = (torch.arange(width) + 0.5) / width
    logits = (10 * (x - 0.5)).expand(2, height, width)  # linear: its interpolation is exact, and zero in the middle
    target = (x > 0.75).float().expand(2, height, width)
    valid = torch.ones(2, height, width, dtype=torch.bool)
    got, labels, ok = functional.sample_points(logits, target, valid, 400, 3.0, 0.75)
    assert got.shape == labels.shape == ok.shape == (2, 400)
    assert ok.all()
    # The 300 most uncertain of 1,200 uniform points lie in about a quarter of the width around the middle.
    assert (got[:, :300].abs() < 10 * 0.125 * 1.25).all()
    assert got[:, 300:].abs().max() > 3
    uniform = functional.sample_points(logits, target, valid, 4000, 1.0, 0.0)
    assert uniform[1].mean().item() == pytest.approx(0.25, abs=0.02)
    inside = uniform[0][uniform[1] == 1]
    assert (inside >= 10 * 0.25 - 1e-4).all()


def test_every_valid_candidate_may_be_chosen():
    """The chosen points are the most uncertain of all candidates: none is lost to the rounding of its weights."""
    torch.manual_seed(0)
    logits = torch.randn(2, 37, 53)
    valid = torch.ones(2, 37, 53, dtype=torch.bool)
    state = torch.get_rng_state()
    got = functional.sample_points(logits, torch.zeros_like(logits), valid, 1000, 3.0, 0.75)[0][:, :750]
    torch.set_rng_state(state)
    candidates = torch.rand(2, 3000, 2)
    weights = nn.functional.grid_sample(
        valid[:, None].float(), 2 * candidates[:, None] - 1, align_corners=False, padding_mode='border'
    )
    assert 0.005 < (weights < 1).float().mean() < 0.03, 'the sizes of this test show no rounding'
    uncertain = nn.functional.grid_sample(
        logits[:, None], 2 * candidates[:, None] - 1, align_corners=False, padding_mode='border'
    )
    expected = uncertain[:, 0, 0].abs().sort(dim=1).values[:, :750]
    assert torch.equal(got.abs().sort(dim=1).values, expected)


def test_sampled_points_leave_ignored_pixels_out():
    torch.manual_seed(0)
    logits = torch.full((1, 20, 20), 4.0)
    logits[:, :, 10:] = 0.0  # the uncertain half is ignored
    valid = torch.ones(1, 20, 20, dtype=torch.bool)
    valid[:, :, 10:] = False
    target = torch.where(valid, 1, 255)
    got, labels, ok = functional.sample_points(logits, target, valid, 100, 3.0, 0.75)
    assert 70 <= ok.sum() <= 95
    assert ((labels[ok] - 1).abs() < 1e-5).all()
    assert ((got[ok] - 4).abs() < 1e-4).all()


def test_point_sampled_loss_equals_the_dense_one_on_constant_halves():
    """Where logits and labels are constant, sampling must not change the mean."""
    torch.manual_seed(0)
    inner = [
        dict(type='mmirstd.BinaryCrossEntropyLoss', loss_weight=5.0),
        dict(type='mmirstd.BinaryDiceLoss', loss_weight=5.0, smooth=1e-6),
    ]
    loss = MODELS.build(dict(type='mmirstd.PointSampledLoss', num_points=500, losses=inner, loss_weight=2.0))
    pred = torch.full((2, 1, 16, 16), 0.8, requires_grad=True)
    target = torch.ones(2, 16, 16, dtype=torch.long)
    p = 1 / (1 + np.exp(-0.8))
    value = loss(pred, target)
    assert value.item() == pytest.approx(2 * (5 * -np.log(p) + 5 * (1 - 2 * p / (1 + p))), rel=1e-4)
    value.backward()
    assert (pred.grad < 0).any()
    assert loss(pred, torch.full_like(target, 255)).item() == 0


@pytest.mark.parametrize('name', NAMES)
def test_registered_losses_are_weighted_shells(name):
    loss = MODELS.build(dict(type=f'mmirstd.{name}', loss_weight=3.0))
    logits, target, valid = random_case(5)
    label = torch.where(valid, target, 255).long()
    expected = 3 * loss.compute(logits, target, valid)
    torch.testing.assert_close(loss(logits[:, None], label, ignore_index=255), expected)
    assert loss.loss_name.startswith('loss_')
    assert isinstance(loss, nn.Module)


@pytest.mark.parametrize('name', NAMES)
def test_registered_losses_refuse_what_they_cannot_train(name):
    loss = MODELS.build(dict(type=f'mmirstd.{name}'))
    label = torch.zeros(1, 4, 4, dtype=torch.long)
    with pytest.raises(ValueError, match='got 2: set out_channels=1'):
        loss(torch.zeros(1, 2, 4, 4), label)
    with pytest.raises(ValueError, match=r'labels \[0, 7\]'):
        loss(torch.zeros(1, 1, 4, 4), torch.where(torch.eye(4).bool(), 7, label))
    with pytest.raises(ValueError, match='pixel weights'):
        loss(torch.zeros(1, 1, 4, 4), label, weight=torch.ones(1, 4, 4))


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_has_a_gradient_where_a_pixel_is_surely_right(gamma):
    logits = torch.tensor([[20.0, -200.0, 0.5]], requires_grad=True)
    loss = functional.focal_loss(logits, torch.tensor([[1.0, 0, 1]]), torch.ones(1, 3, dtype=torch.bool), gamma, None)
    loss.backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 2] < 0


def test_abstract_and_misbuilt_losses():
    with pytest.raises(NotImplementedError):
        losses.BinaryLoss()(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long))
    with pytest.raises(ValueError, match=r'gamma=2.0 must not be negative, and alpha=1 in \(0, 1\)'):
        losses.BinaryFocalLoss(alpha=1)
    with pytest.raises(ValueError, match="SoftIoULoss: loss_name='iou' must begin with 'loss_'"):
        losses.SoftIoULoss(loss_name='iou')
    with pytest.raises(ValueError, match='losses of mmirstd'):
        losses.PointSampledLoss(losses=[])
    with pytest.raises(ValueError, match='importance_ratio=2'):
        losses.PointSampledLoss(losses=[dict(type='mmirstd.BinaryDiceLoss')], importance_ratio=2)


@pytest.mark.parametrize('seed', range(3))
def test_structure_consistency_is_its_closed_form(seed):
    logits, target, valid = random_case(seed)
    p = np.where(valid, 1 / (1 + np.exp(-logits.numpy())), 0)
    t = np.where(valid, target.numpy(), 0)

    def local(x):
        x = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        return sum(x[:, i : i + 7, j : j + 11] for i in range(3) for j in range(3)) / 9

    expected = np.abs(local(p) - local(t)) + np.abs(np.abs(p - local(p)) - np.abs(t - local(t)))
    found = functional.structure_consistency_loss(logits, target, valid)
    assert found.item() == pytest.approx(expected[valid.numpy()].mean(), rel=1e-12)


@pytest.mark.parametrize('seed', range(3))
def test_miss_false_alarm_is_its_closed_form(seed):
    logits, target, valid = random_case(seed)
    p, t, seen = 1 / (1 + np.exp(-logits.numpy())), target.numpy(), valid.numpy()
    misses, false_alarms = ((p - t) ** 2 * t)[seen].sum(), ((p - t) ** 2 * (1 - t))[seen].sum()
    found = functional.miss_false_alarm_loss(logits, target, valid, 100.0, 3.0)
    assert found.item() == pytest.approx((100 * misses + 3 * false_alarms) / seen.sum(), rel=1e-12)


@pytest.mark.parametrize('location', [False, True])
@pytest.mark.parametrize('seed', range(3))
def test_scale_location_is_its_closed_form(seed, location):
    logits, target, valid = random_case(seed)
    values = []
    for z, t, seen in zip(logits.numpy(), target.numpy(), valid.numpy(), strict=True):
        p, t = np.where(seen, 1 / (1 + np.exp(-z)), 0), np.where(seen, t, 0)
        distance = ((p.sum() - t.sum()) / 2) ** 2
        scale = (min(p.sum(), t.sum()) + distance) / (max(p.sum(), t.sum()) + distance)
        loss = 1 - scale * (p * t).sum() / (p + t - p * t).sum()
        y, x = np.mgrid[: p.shape[0], : p.shape[1]] / np.reshape(p.shape, (2, 1, 1))
        (ax, ay), (bx, by) = (((x * m).mean(), (y * m).mean()) for m in (p, t))
        lengths = np.hypot(ax, ay), np.hypot(bx, by)
        angle = np.arctan2(ay, ax) - np.arctan2(by, bx)
        values.append(loss + location * (1 - min(lengths) / max(lengths) + 4 / np.pi**2 * angle**2))
    found = functional.scale_location_loss(logits, target, valid, location)
    assert found.item() == pytest.approx(np.mean(values), rel=1e-6)


def test_scale_location_loss_is_smallest_for_the_right_mask():
    """Larger, smaller and shifted masks cost more; a shift costs by the location term alone where nothing overlaps."""
    target = torch.zeros(1, 32, 32, dtype=torch.float64)
    target[0, 10:14, 10:14] = 1
    valid = target >= 0

    def cost(rows, columns, location=True):
        logits = torch.full_like(target, -40)
        logits[0, rows, columns] = 40
        return functional.scale_location_loss(logits, target, valid, location).item()

    right = slice(10, 14)
    assert cost(right, right) == pytest.approx(0, abs=1e-5)
    assert 0.2 < cost(slice(10, 13), right) < cost(slice(10, 12), right)
    assert 0.2 < cost(slice(9, 14), right) < cost(slice(8, 14), right)
    assert cost(slice(0, 4), right, location=False) == cost(slice(20, 24), right, location=False) == pytest.approx(1)
    assert cost(slice(20, 24), right) > 1.2


@pytest.mark.parametrize('repeated_sigmoid', [True, False])
@pytest.mark.parametrize('seed', range(3))
def test_mask_gradient_loss_is_its_closed_form(seed, repeated_sigmoid):
    logits, target, _ = random_case(seed)
    valid = torch.ones_like(target, dtype=torch.bool)
    valid[0, 2, 5] = False
    got = functional.mask_gradient_loss(logits, target, valid, bce_weight=7.0, repeated_sigmoid=repeated_sigmoid)
    cross_entropy, overlaps = [], []
    for z, t, v in zip(logits.numpy(), np.where(valid, target, 0), valid.numpy(), strict=True):
        t = np.pad(t, 1)
        edge = np.sqrt((t[2:, 1:-1] - t[:-2, 1:-1]) ** 2 + (t[1:-1, 2:] - t[1:-1, :-2]) ** 2 + 1e-6).clip(max=1)
        seen = np.ones_like(v)
        for i, j in np.argwhere(~v):
            seen[i - 1 : i + 2, j - 1 : j + 2] = False
        p, edge = 1 / (1 + np.exp(-z[seen])), edge[seen]
        cross_entropy += list(-edge * np.log(p) - (1 - edge) * np.log(1 - p))
        q = 1 / (1 + np.exp(-p)) if repeated_sigmoid else p
        overlaps.append(1 - (q * edge).sum() / (q + edge - q * edge).sum())
    assert got.item() == pytest.approx(7 * np.mean(cross_entropy) + np.mean(overlaps), rel=1e-10)


def test_mask_gradient_loss_is_smallest_on_the_edge():
    target = torch.zeros(1, 12, 12)
    target[:, 4:8, 5:9] = 1
    valid = torch.ones_like(target, dtype=torch.bool)
    edge = torch.zeros_like(target)
    edge[:, 3:9, 5:9] = edge[:, 4:8, 4:10] = 1
    edge[:, 5:7, 6:8] = 0
    losses = [functional.mask_gradient_loss(20 * mask - 10, target, valid).item() for mask in (edge, target, 1 - edge)]
    assert losses == sorted(losses)
    assert losses[0] < 0.9 * losses[1]


def test_iou_without_smoothing_of_an_ignored_image_is_finite():
    logits = torch.zeros(2, 4, 4, requires_grad=True)
    target, valid = torch.ones(2, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool)
    valid[1] = False
    loss = functional.soft_iou_loss(logits, target, valid, smooth=0.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert logits.grad.isfinite().all()


BASELINE_LOSSES = [functional.miss_false_alarm_loss, functional.scale_location_loss, functional.mask_gradient_loss]


@pytest.mark.parametrize('function', BASELINE_LOSSES)
def test_gradients_of_the_losses_of_baselines(function):
    logits, target, valid = random_case(2, batch=2, size=(3, 4))
    target[0] = 0
    assert torch.autograd.gradcheck(lambda z: function(z, target, valid), logits.requires_grad_())


@pytest.mark.parametrize(
    'function',
    [functional.structure_consistency_loss, functional.miss_false_alarm_loss, functional.scale_location_loss],
)
def test_losses_of_ignored_images_are_zero_with_a_graph(function):
    logits, target, valid = random_case(0)
    loss = function(logits.requires_grad_(), target, torch.zeros_like(valid))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.mark.parametrize('name', NAMES)
def test_only_the_first_batch_waits_for_the_device(name):
    """Tensors of the meta device have no values: whatever needs one, as a wait for a GPU does, is an error there."""
    loss = MODELS.build(dict(type=f'mmirstd.{name}'))
    pred, target = torch.zeros(2, 1, 4, 4, device='meta'), torch.zeros(2, 4, 4, dtype=torch.long, device='meta')
    with pytest.raises(RuntimeError, match='meta'):
        loss(pred, target)
    loss(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.long))
    assert loss(pred, target).device.type == 'meta'
    with pytest.raises(ValueError, match=r'labels \[0, 7\]'):
        loss(torch.zeros(1, 1, 1, 2), torch.tensor([[[0, 7]]]))
