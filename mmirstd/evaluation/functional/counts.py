"""What one image or a set of images adds up to under a protocol.

:func:`protocol_counts` and :func:`image_counts` turn a prediction and a mask into :class:`Counts`, :func:`sum_counts`
adds them up, and :func:`mmirstd.evaluation.functional.metrics.compute_metrics` makes the metrics of them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mmirstd.evaluation.functional.evaluated_image import EvaluatedImage, curve
from mmirstd.evaluation.functional.matching import Matches
from mmirstd.evaluation.functional.protocols import Protocol, ProtocolLike, get_protocol, get_protocols


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts under one protocol; ``a + b`` joins two sets, a before b.

    Each is a number, or an array of one number for each of N thresholds or resamples (N,); curves have an axis more.
    """

    images: int = 0
    target_images: int = 0  # with at least one target
    pixels: int = 0  # all but ignored ones, at the evaluated size
    last_pixels: int = 0  # the same of the last image
    inter: int = 0  # pixels, by the rule for IoU
    union: int = 0
    empty_images: int = 0  # with an empty union by the rule for nIoU: their IoU is 0 / 0
    iou_sum: float = 0.0  # over all but the empty images
    tp: int = 0  # pixels, by the rules for precision, recall and F1
    fp: int = 0
    fn: int = 0
    targets: int = 0
    detected: int = 0
    components: int = 0  # predicted
    false_components: int = 0  # not matched
    false_pixels: int = 0  # numerator of Fa
    fa_pixels: int = 0  # its denominator; not used where that is made of the last image
    fa_images: int = 0  # images that count for Pd and Fa
    auc_false: tuple[int, ...] = ()  # positive pixels outside targets, threshold by threshold
    auc_detected: tuple[int, ...] = ()

    def __add__(self, other: 'Counts') -> 'Counts':
        return sum_counts((self, other))

    def __getitem__(self, index: int) -> 'Counts':
        """The counts at one place of the arrays, as numbers."""
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        return Counts(**{name: v[index].tolist() if isinstance(v, np.ndarray) else v for name, v in values})


def image_counts(
    prediction: np.ndarray,
    labels: np.ndarray,
    protocol: ProtocolLike = 'exact',
    *,
    ignore_index: int = 255,
    **changes: object,
) -> Counts:
    """Counts of one image with labels under one protocol.

    Args:
        prediction: Map of probabilities (H, W), floating in [0, 1], or a mask, bool or {0, 1}; see
            :func:`mmirstd.ops.pairs.checked_pair`.
        labels: (H, W), bool or {0, 1, ignore_index}.
        protocol: What :func:`get_protocol` takes.
        ignore_index: Label of the pixels that count nowhere.
        **changes: Fields of the protocol to change, such as ``threshold=0.3``.

    Raises:
        ValueError: If shapes or values are not as said.

    >>> labels = np.zeros((8, 8), np.uint8)
    >>> labels[2:4, 2:4] = 1
    >>> counts = image_counts(np.where(labels, 0.9, 0.1), labels)
    >>> counts.targets, counts.detected, counts.tp, counts.false_pixels
    (1, 1, 4, 0)
    """
    protocol = get_protocol(protocol, **changes)
    return count_image(EvaluatedImage.from_labels(prediction, labels, ignore_index), protocol)


def protocol_counts(
    prediction: np.ndarray,
    mask: np.ndarray,
    protocols: ProtocolLike | Iterable[ProtocolLike],
    *,
    ignore: np.ndarray | None = None,
    source: str = '',
) -> list[Counts]:
    """Counts of one image with the values of its mask file under each protocol, in order; shared work is done once.

    Args:
        prediction: What :func:`mmirstd.ops.pairs.checked_pair` takes, (H, W).
        mask: What the mask file holds, integers 0 to 255, or labels: bool or {0, 1}, which stand for 0 and 255. Of
            the size of the prediction, or of another where the protocol allows it.
        protocols: What :func:`get_protocols` takes.
        ignore: bool, of the size of the mask: pixels that count nowhere. Predictions there are removed before they are
            labeled.
        source: Name of the image, for errors.

    Raises:
        ValueError: If shapes or values are not as said, or a protocol refuses the sizes.
    """
    if not (isinstance(protocols, list) and all(isinstance(protocol, Protocol) for protocol in protocols)):
        protocols = get_protocols(protocols)
    try:
        image = EvaluatedImage(prediction, mask, ignore)
        return [count_image(image, protocol) for protocol in protocols]
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from error if source else None


def sum_counts(counts: Iterable[Counts]) -> Counts:
    """Add counts of one protocol up, in the order of the images.

    The sum of per-image IoUs is rounded once, so that it does not depend on the order.

    Raises:
        ValueError: If the counts are of protocols with different `auc_bins`.

    >>> sum_counts([Counts(images=1, tp=3), Counts(images=1, tp=4)]).tp
    7
    """
    counts = [c for c in counts if c.images]
    if not counts:
        return Counts()
    curves = {len(c.auc_false) for c in counts}
    if len(curves) > 1:
        raise ValueError(f'these counts are of several protocols: their curves have {sorted(curves)} points')
    total: dict[str, Any] = {}
    for f in fields(Counts):
        values = [getattr(c, f.name) for c in counts]
        if f.type == tuple[int, ...]:
            total[f.name] = tuple(np.sum(values, axis=0, dtype=np.int64).tolist())
        elif f.type is int:
            total[f.name] = sum(values[1:], values[0])
        elif isinstance(values[0], np.ndarray):
            total[f.name] = np.array([math.fsum(column) for column in np.stack(values, axis=1).tolist()])
        else:
            total[f.name] = math.fsum(values)
    return Counts(**{**total, 'last_pixels': counts[-1].last_pixels})


def count_image(image: EvaluatedImage, p: Protocol) -> Counts:
    """Counts of one image under one protocol."""
    mask, found, positive = image.prepared(p)
    inter, union = image.overlap(mask, p.iou_mask, positive)
    image_inter, image_union = inter, union
    if p.niou_mask != p.iou_mask:
        image_inter, image_union = image.overlap(mask, p.niou_mask, positive)
    tp = hit = image.hits(mask, p.f1_mask, positive)
    if p.missed_mask != p.f1_mask:
        hit = image.hits(mask, p.missed_mask, positive)
    targets = image.targets(mask, p.target_mask, p.connectivity)
    objects: dict[str, Any] = {}
    if len(targets) or not p.skip_empty:
        matches = image.matches_of(mask, positive, p)
        denominators = {'pixels': mask.pixels, 'last': mask.pixels, 'background': mask.pixels - targets.rows.size}
        objects = {
            'target_images': int(len(targets) > 0),
            'targets': len(targets),
            'detected': len(targets) - len(matches.missed),
            'components': len(matches.predictions),
            'false_components': len(matches.false),
            'false_pixels': _false_pixels(matches, p.fa)
            if p.fa != 'outside'
            else positive.flat.size - image.hits(mask, p.target_mask, positive),
            'fa_pixels': denominators.get(p.fa_denominator, p.fa_denominator),
            'fa_images': 1,
        }
    if p.auc_bins is not None:
        nothing = p.skip_empty and not len(targets)
        objects['auc_false'], objects['auc_detected'] = (
            [(0,) * (p.auc_bins + 1)] * 2 if nothing else curve(found.values, mask, targets, p.auc_bins)
        )
    return Counts(
        images=1,
        pixels=mask.pixels,
        last_pixels=mask.pixels,
        inter=inter,
        union=union,
        empty_images=int(not image_union),
        iou_sum=image_iou(image_inter, image_union),
        tp=tp,
        fp=positive.flat.size - tp,
        fn=image.pixels(mask, p.missed_mask).size - hit,
        **objects,
    )


def image_iou(inter: int | np.ndarray, union: int | np.ndarray) -> float | np.ndarray:
    """IoU of an image, or of one at each of N thresholds; 0 where the union is empty, which `empty_images` counts.

    >>> image_iou(3, 4), image_iou(0, 0)
    (0.75, 0.0)
    """
    return inter / (union + (union == 0))


def _false_pixels(matches: Matches, rule: str) -> int:
    areas = matches.predictions.area
    if rule == 'legacy' and len(matches.false):
        seen = set(areas[matches.detected[:, 1]].tolist())
        return sum(area for area in areas[matches.false].tolist() if area not in seen)
    return int(areas[matches.false].sum())
