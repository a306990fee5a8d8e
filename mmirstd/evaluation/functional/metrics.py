"""The one set of formulas: metrics from counts, of one set or of many at once (thresholds, resamples)."""

import numpy as np

from mmirstd.evaluation.functional.counts import Counts
from mmirstd.evaluation.functional.protocols import ProtocolLike, get_protocol

Value = float | np.ndarray


def compute_metrics(counts: Counts, protocol: ProtocolLike = 'exact', **changes: object) -> dict[str, Value]:
    """Compute IoU, nIoU, Pd, precision, recall, F1 (fractions), Fa (in 1e-6) and, where the protocol has one, AUC.

    All follow the protocol's rules, also those that its repository does not report (`reported` of a protocol names
    those it does). A metric whose denominator is zero is nan.

    Args:
        counts: Of a set under this protocol; with arrays (N,) in place of numbers the metrics are arrays (N,).
        protocol: What :func:`get_protocol` takes.
        **changes: Fields of the protocol to change, such as ``niou_empty=0``.

    Raises:
        ValueError: If there is no such protocol or a value is not allowed.

    >>> counts = Counts(images=1, inter=6, union=8, tp=6, fp=1, fn=1, iou_sum=0.75, targets=2, detected=1, fa_pixels=64)
    >>> {name: round(value, 4) for name, value in compute_metrics(counts).items()}
    {'IoU': 0.75, 'nIoU': 0.75, 'Pd': 0.5, 'Fa': 0.0, 'precision': 0.8571, 'recall': 0.8571, 'F1': 0.8571}
    """
    c, p = counts, get_protocol(protocol, **changes)
    if p.niou_empty == 'skip':
        niou = ratio(c.iou_sum, c.images - c.empty_images)
    else:
        niou = ratio(c.iou_sum + p.niou_empty * c.empty_images, c.images)
    precision = ratio(c.tp, c.tp + c.fp + p.ratio_eps)
    recall = ratio(c.tp, c.tp + c.fn + p.ratio_eps)
    if p.ratio_eps or p.f1_eps:
        f1 = ratio(2 * recall * precision, recall + precision + p.f1_eps)
    else:
        f1 = ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)
    metrics = {
        'IoU': ratio(c.inter, c.union + p.iou_eps),
        'nIoU': niou,
        'Pd': ratio(c.detected, c.targets),
        'Fa': ratio(c.false_pixels * 1e6, c.last_pixels * c.fa_images if p.fa_denominator == 'last' else c.fa_pixels),
        'precision': precision,
        'recall': recall,
        'F1': f1,
    }
    if p.auc_bins is not None:
        metrics['AUC'] = _area(c)
    return metrics


def ratio(numerator: Value, denominator: Value) -> Value:
    """Divide element by element; nan where the denominator is zero.

    >>> ratio(np.array([1, 0]), np.array([2, 0])).tolist()
    [0.5, nan]
    """
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    result = np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator != 0)
    return result if result.ndim else float(result)


def _area(c: Counts) -> Value:
    """Area under the Pd-Fa curve by the trapezoid rule; the first point is the threshold 0, where all is positive."""
    false, detected = np.asarray(c.auc_false), np.asarray(c.auc_detected)
    if not false.size:
        return np.nan
    x, y = ratio(false, false[..., :1]), ratio(detected, np.asarray(c.targets)[..., None])
    area = ((x[..., :-1] - x[..., 1:]) * (y[..., :-1] + y[..., 1:]) / 2).sum(-1)
    return area if area.ndim else float(area)
