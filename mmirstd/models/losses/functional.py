"""Losses of one target logit against a mask, as plain functions.

Shapes: logits and target (B, ...), target in [0, 1], valid bool (B, ...). Pixels outside `valid` count nowhere, images
without a valid pixel do not enter the mean, and a batch of such images gives 0 with a graph. Everything is computed in
float32 at least. In the overlap losses the sums run over one image or, with `per_image=False`, over the batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmirstd.ops.gradients import gradient_magnitude

_EPS = 1e-8


def _flatten(logits: Tensor, target: Tensor, valid: Tensor, per_image: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    shape = (logits.shape[0], -1) if per_image else (1, -1)
    valid = valid.reshape(shape)
    target = torch.where(valid, target.reshape(shape).to(logits.dtype), 0)
    return logits.reshape(shape), target, valid


def _mean_over_images(loss: Tensor, valid: Tensor) -> Tensor:
    seen = valid.any(dim=1)
    return torch.where(seen, loss, 0 * loss).sum() / seen.sum().clamp(min=1)


def binary_cross_entropy(logits: Tensor, target: Tensor, valid: Tensor, pos_weight: float = 1.0) -> Tensor:
    """Mean binary cross-entropy over the valid pixels of the batch; targets weigh `pos_weight`."""
    logits, target, valid = _flatten(logits, target, valid)
    loss = F.binary_cross_entropy_with_logits(
        logits, target, reduction='none', pos_weight=logits.new_tensor(pos_weight)
    )
    return torch.where(valid, loss, 0 * loss).sum() / valid.sum().clamp(min=1)


def focal_loss(logits: Tensor, target: Tensor, valid: Tensor, gamma: float = 2.0, alpha: float | None = 0.25) -> Tensor:
    """Binary cross-entropy that weighs a pixel by (1 - p_t)^gamma (Lin et al., ICCV 2017, Eq. 5).

    p_t is the probability of the pixel's own label. `alpha` weighs targets and 1 - `alpha` the background; None weighs
    both by 1. As in the paper the sum over the batch is divided by the number of positives, here of target pixels, at
    least 1: a mean over all pixels would vanish where targets are rare.
    """
    logits, target, valid = _flatten(logits, target, valid)
    error = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    p = logits.sigmoid()
    # Where a pixel is right beyond the precision of its type, the power of 0 has no slope if gamma is below 1.
    distance = (p + target - 2 * p * target).clamp(min=torch.finfo(p.dtype).tiny)
    loss = error * distance**gamma
    if alpha is not None:
        loss = loss * (alpha * target + (1 - alpha) * (1 - target))
    return torch.where(valid, loss, 0 * loss).sum() / target.sum().clamp(min=1)


def dice_loss(
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    smooth: float = 1.0,
    per_image: bool = True,
    squared: bool = False,
) -> Tensor:
    """1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth), or of sum(p^2) + sum(t^2) where `squared`.

    Milletari et al., V-Net, 3DV 2016, have the squares.
    """
    logits, target, valid = _flatten(logits, target, valid, per_image)
    p = torch.where(valid, logits.sigmoid(), 0)
    overlap = (p * target).sum(1)
    sizes = (p**2 + target**2 if squared else p + target).sum(1)
    return _mean_over_images(1 - (2 * overlap + smooth) / (sizes + smooth), valid)


def soft_iou_loss(
    logits: Tensor, target: Tensor, valid: Tensor, smooth: float = 1.0, per_image: bool = True, log: bool = False
) -> Tensor:
    """Soft IoU loss (Rahman and Wang, ISVC 2016): 1 - I / U, I = sum(p t), U = sum(p) + sum(t) - I, both smoothed.

    From an all-black prediction its gradient, p (1 - p) / U a target pixel, is zero to any precision: the training
    that collapses and never comes back. `log=True` is the remedy: -log(I / U), whose gradient on a target pixel is
    (1 - p) p / I, of the order of 1 over the number of target pixels however small p is. log I is then computed from
    log-probabilities, without smoothing; an image without a target gives log(1 + U / smooth).
    """
    logits, target, valid = _flatten(logits, target, valid, per_image)
    p = torch.where(valid, logits.sigmoid(), 0)
    overlap = (p * target).sum(1)
    union = p.sum(1) + target.sum(1) - overlap
    if not log:
        # Without smoothing both are zero in an image that is all ignored.
        least = torch.finfo(union.dtype).tiny
        return _mean_over_images(1 - (overlap + smooth) / (union + smooth).clamp(min=least), valid)
    has_target = target.sum(1) > 0
    # log(t p) where t > 0; elsewhere a constant that keeps logsumexp finite and without gradient.
    weight = torch.where(target > 0, target, 1).log()
    log_p = torch.where(target > 0, F.logsigmoid(logits) + weight, torch.finfo(logits.dtype).min)
    log_overlap = torch.logsumexp(log_p, dim=1)
    with_target = torch.where(has_target, union, 1).log() - torch.where(has_target, log_overlap, 0)
    without = torch.log1p(union / smooth)
    return _mean_over_images(torch.where(has_target, with_target, without), valid)


def structure_consistency_loss(logits: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Compare local means, and how far pixels stand out from them (Han et al., ADGFNet, 2026).

    With m(x) the mean over 3x3 pixels (zero beyond the border and where pixels are ignored), the loss is the mean over
    the valid pixels of |m(p) - m(t)| + ||p - m(p)| - |t - m(t)||.
    """
    shape = (logits.shape[0], 1, *logits.shape[-2:])
    _, target, valid = _flatten(logits, target, valid)
    p = torch.where(valid, logits.reshape(valid.shape).to(target.dtype).sigmoid(), 0)
    (local_p, local_t) = (F.avg_pool2d(x.reshape(shape), 3, stride=1, padding=1).reshape(x.shape) for x in (p, target))
    loss = (local_p - local_t).abs() + ((p - local_p).abs() - (target - local_t).abs()).abs()
    return torch.where(valid, loss, 0 * loss).sum() / valid.sum().clamp(min=1)


def miss_false_alarm_loss(
    logits: Tensor, target: Tensor, valid: Tensor, miss_weight: float = 1.0, false_alarm_weight: float = 1.0
) -> Tensor:
    """Squared errors on targets and on the background, weighed apart (Wang et al., MDvsFA, ICCV 2019, Eq. 3).

    The loss is the mean over the valid pixels of w_miss t (p - t)^2 + w_fa (1 - t) (p - t)^2.
    """
    logits, target, valid = _flatten(logits, target, valid)
    error = (logits.sigmoid() - target).square() * (miss_weight * target + false_alarm_weight * (1 - target))
    return torch.where(valid, error, 0 * error).sum() / valid.sum().clamp(min=1)


def scale_location_loss(logits: Tensor, target: Tensor, valid: Tensor, location: bool = True) -> Tensor:
    """Scale- and location-sensitive loss (Liu et al., MSHNet, CVPR 2024), as the public code (7c5194b) has it.

    With P and T the sums of p and t over an image and I that of p t, the scale term is 1 - w I / (P + T - I) with
    w = (min(P, T) + d) / (max(P, T) + d) and d = ((P - T) / 2)^2. The location term compares the vectors c of the means
    over the image of (x / W, y / H) p and of (x / W, y / H) t, in length and angle:
    1 - min(|c_p|, |c_t|) / max(|c_p|, |c_t|) + (4 / pi^2) (angle(c_p) - angle(c_t))^2. They are not divided by the sum
    of p, so a mask of half the target's size in the right place has a length half as large. In lengths and
    denominators there is 1e-8.

    Args:
        logits: (B, H, W).
        target: (B, H, W) in [0, 1].
        valid: bool (B, H, W).
        location: whether the location term is added.
    """
    height, width = logits.shape[-2:]
    logits, target, valid = _flatten(logits, target, valid)
    p = torch.where(valid, logits.sigmoid(), 0)
    size_p, size_t, overlap = p.sum(1), target.sum(1), (p * target).sum(1)
    distance = ((size_p - size_t) / 2).square()
    # An image that is all ignored has sums of zero.
    scale = (torch.minimum(size_p, size_t) + distance) / (torch.maximum(size_p, size_t) + distance).clamp(min=_EPS)
    loss = 1 - scale * overlap / (size_p + size_t - overlap).clamp(min=_EPS)
    if location:
        loss = loss + _location_term(p, target, height, width)
    return _mean_over_images(loss, valid)


def _location_term(p: Tensor, target: Tensor, height: int, width: int, eps: float = _EPS) -> Tensor:
    x = torch.arange(width, device=p.device, dtype=p.dtype).repeat(height) / width
    y = torch.arange(height, device=p.device, dtype=p.dtype).repeat_interleave(width) / height
    lengths, angles = [], []
    for mask in (p, target):
        center_x, center_y = (x * mask).mean(1), (y * mask).mean(1)
        lengths.append((center_x.square() + center_y.square() + eps).sqrt())
        angles.append((center_y / (center_x + eps)).atan())
    ratio = torch.minimum(*lengths) / (torch.maximum(*lengths) + eps)
    return 1 - ratio + 4 / torch.pi**2 * (angles[0] - angles[1]).square()


def mask_gradient_loss(
    logits: Tensor, target: Tensor, valid: Tensor, bce_weight: float = 10.0, repeated_sigmoid: bool = True
) -> Tensor:
    """Compare a predicted edge with the gradient of the mask (Zhang et al., ISNet, CVPR 2022), as its code (c5a7548).

    With p = sigmoid(logits) and g = min(1, |gradient of the mask|) it is w BCE(p, g) + 1 - I / U, I = sum(q g) and
    U = sum(q) + sum(g) - I of each image. In the public code q = sigmoid(p), which lies between 0.5 and 0.73. Its g is
    sqrt(2) at corners, where BCE has no lower bound; EGPNet's code has the minimum. Pixels around ignored ones are
    ignored.

    Args:
        logits: logits of the edge, (B, H, W).
        target: the mask, (B, H, W) in [0, 1].
        valid: bool (B, H, W).
        bce_weight: w.
        repeated_sigmoid: whether q is sigmoid(p); otherwise it is p.
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    logits = logits.to(wide)
    edge = gradient_magnitude(torch.where(valid, target.to(wide), 0)[:, None])[:, 0].clamp(max=1)
    seen = F.max_pool2d((~valid)[:, None].to(wide), 3, stride=1, padding=1)[:, 0] == 0
    overlap = soft_iou_loss(logits.sigmoid() if repeated_sigmoid else logits, edge, seen, smooth=0.0)
    return bce_weight * binary_cross_entropy(logits, edge, seen) + overlap


def sample_points(
    logits: Tensor,
    target: Tensor,
    valid: Tensor,
    num_points: int = 12544,
    oversample_ratio: float = 3.0,
    importance_ratio: float = 0.75,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample logits and labels at points that are mostly uncertain (Kirillov et al., PointRend, CVPR 2020).

    Of `oversample_ratio * num_points` uniform points, the `importance_ratio * num_points` with the smallest |logit|
    stay; the rest are uniform. Points that touch an ignored pixel are never counted as uncertain and come back invalid.

    Args:
        logits: (B, H, W).
        target: (B, H, W) in [0, 1].
        valid: bool (B, H, W).
        num_points: P.
        oversample_ratio: at least 1.
        importance_ratio: in [0, 1].

    Returns:
        logits, target (bilinear) and valid at the points, each (B, P).
    """
    batch = logits.shape[0]
    num_important = int(importance_ratio * num_points)

    def at(values: Tensor, points: Tensor) -> Tensor:
        out = F.grid_sample(
            values[:, None].float(), 2 * points[:, None] - 1, align_corners=False, padding_mode='border'
        )
        return out[:, 0, 0]

    def valid_at(points: Tensor) -> Tensor:
        # Interpolation weights add up to 1 only to rounding.
        return at(valid, points) > 1 - 1e-4

    target = torch.where(valid, target.float(), 0)
    with torch.no_grad():
        points = torch.rand(batch, int(oversample_ratio * num_points), 2, device=logits.device)
        uncertainty = -at(logits, points).abs()
        uncertainty[~valid_at(points)] = -torch.inf
        best = uncertainty.topk(num_important, dim=1).indices
        points = torch.take_along_dim(points, best[..., None], dim=1)
        rest = torch.rand(batch, num_points - num_important, 2, device=logits.device)
        points = torch.cat((points, rest), dim=1)
        labels, seen = at(target, points), valid_at(points)
    return at(logits, points), labels, seen


def target_probability(logits: Tensor, label: Tensor) -> Tensor | None:
    """Mean predicted probability on the target pixels, detached; None where there are none.

    Args:
        logits: (B, 1, H, W).
        label: (B, H, W), 1 on targets.
    """
    on_target = label == 1
    if not on_target.any():
        return None
    return logits.detach()[:, 0][on_target].sigmoid().mean()


def mask_boundary(label: Tensor, ignore_index: int | None = 255, inner: bool = False) -> Tensor:
    """Mark the boundary of a mask: the pixels with a 4-neighbor of the other label.

    It is two pixels wide, one on each side (dilation minus erosion by a cross); `inner` keeps those of the target. The
    border of the image and of what is ignored is no boundary.

    Canny's edges of a mask, which IRSAM's authors take, lie in it but for less than 0.2 % of their pixels (all masks of
    NUAA-SIRST, NUDT-SIRST and IRSTD-1k), whatever its thresholds. They are about half of it: the outer side above and
    on the left of a target, the inner side below and on the right. A target of 2 x 2 pixels has none.

    Args:
        label: (B, H, W) in {0, 1, ignore_index}.
        ignore_index: label that is neither.
        inner: whether to leave out the background's side.

    Returns:
        (B, H, W), 1 on the boundary and 0 elsewhere; ignored pixels stay ignored.
    """
    valid = torch.ones_like(label, dtype=torch.bool) if ignore_index is None else label != ignore_index
    edge = torch.zeros_like(valid)
    for axis in (1, 2):
        n = label.shape[axis]
        (a, b), (seen_a, seen_b), (edge_a, edge_b) = (
            (x.narrow(axis, 0, n - 1), x.narrow(axis, 1, n - 1)) for x in (label, valid, edge)
        )
        step = (a != b) & seen_a & seen_b
        edge_a |= step
        edge_b |= step
    if inner:
        edge &= label == 1
    return torch.where(valid, edge.to(label.dtype), label)
