"""Target masks: the one rule by which the pixels of a mask file become targets, in training and in evaluation.

1. Of colors the largest channel counts, alpha does not.
2. A mask with no values but 0 and 1 holds labels, whatever its type.
3. Otherwise a pixel is target where its value is above a threshold, 127 by default, in the units of the file. Deep
   files are not scaled down first: {0, 255}, {0, 4095} and {0, 65535} mean the same.
4. A mask that has values, but none above the threshold, is an error: its targets would be lost without notice. So is
   one whose colors hold nothing while its alpha channel does.

A :class:`MaskRule` changes this for masks that are made otherwise. Training needs the labels (:func:`mask_labels`). The
protocols of evaluation have rules of their own for values between 0 and 255 (:func:`mask_values`); where such values
are above 127, the default labels are 1.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmirstd.io.images import drop_alpha, read_image, refuse_non_finite

MASK_THRESHOLD = 127
IGNORED = 255  # label of pixels that count nowhere


def _numbers(name: str, given: float | Iterable[float] | None) -> tuple[float, ...] | None:
    if given is None:
        return None
    numbers = tuple(given) if isinstance(given, (list, tuple, set, frozenset)) else (given,)
    if not numbers or not all(map(_is_number, numbers)):
        raise ValueError(f'{name} of masks must be a number, or several, got {given!r}')
    return tuple(sorted({*numbers}))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class MaskRule:
    """Which pixels of a mask are targets, and which count nowhere.

    Args:
        threshold: A pixel is target when its value is above, in the units of the file. Masks of 0 and 1 are labels.
        target_value: The value, or values, of target pixels; all other pixels are background. None: ``threshold``
            decides. ``0`` reads masks whose targets are black.
        ignore_value: The value, or values, of pixels that count neither in a loss nor in a metric.

    Raises:
        ValueError: If a value is no finite number, the threshold is negative, or a value is both.
    """

    threshold: float = MASK_THRESHOLD
    target_value: float | tuple[float, ...] | None = None
    ignore_value: float | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ('target_value', 'ignore_value'):
            object.__setattr__(self, name, _numbers(name, getattr(self, name)))
        if not _is_number(self.threshold) or self.threshold < 0:
            raise ValueError(f'the threshold of masks must be a number that is not negative, got {self.threshold!r}')
        if both := {*(self.target_value or ())} & {*(self.ignore_value or ())}:
            raise ValueError(f'target_value and ignore_value of masks share {sorted(both)}')

    @property
    def is_default(self) -> bool:
        """Whether the values of files are what protocols of evaluation expect."""
        return self.threshold == MASK_THRESHOLD and self.target_value is None


DEFAULT_RULE = MaskRule()


def mask_labels(mask: np.ndarray, rule: MaskRule | float = DEFAULT_RULE, source: str = 'mask') -> np.ndarray:
    """Turn a decoded mask into labels.

    Args:
        mask: (H, W) or (H, W, C) of any type, as :func:`mmirstd.io.images.decode_image` returns it.
        rule: What is target; a number is a threshold.
        source: Name of the file for messages.

    Returns:
        (H, W) uint8: 1 target, 0 background, 255 ignored.

    Raises:
        ValueError: If the mask has values, but none that makes a target, or values that are NaN or infinite, or only
            its alpha channel holds something; the message names ``source``.

    >>> mask_labels(np.array([[0, 100, 200, 4095]], np.uint16)).tolist()
    [[0, 0, 1, 1]]
    >>> mask_labels(np.array([[0, 1, 255]], np.uint8), MaskRule(ignore_value=255)).tolist()
    [[0, 1, 255]]
    """
    rule = rule if isinstance(rule, MaskRule) else MaskRule(rule)
    values, ignored = _split(mask, rule, source)
    if rule.target_value is not None:
        labels = np.isin(values, rule.target_value).astype(np.uint8)
    else:
        labels = (values if _is_labels(values) else _above(values, rule.threshold, source)).astype(np.uint8)
    if ignored is not None:
        labels[ignored] = IGNORED
    return labels


def mask_values(
    mask: np.ndarray, rule: MaskRule = DEFAULT_RULE, source: str = 'mask'
) -> tuple[np.ndarray, np.ndarray | None]:
    """Turn a decoded mask into the values that the mask rules of the evaluation protocols are about.

    Args:
        mask: As in :func:`mask_labels`.
        rule: Likewise. With a threshold or target values of its own, targets are 255 and all else is 0.
        source: Name of the file for messages.

    Returns:
        values: (H, W) uint8: the values of the file; 255 for any value above, 0 for any below 0; labels 0 and 1 as 0
            and 255; ignored pixels are 0.
        ignored: (H, W) bool; None where the rule ignores none.

    Raises:
        ValueError: As :func:`mask_labels`.

    >>> mask_values(np.array([[0, 100, 200, 4095]], np.uint16))[0].tolist()
    [[0, 100, 200, 255]]
    """
    if not rule.is_default:
        labels = mask_labels(mask, rule, source)
        return (labels == 1) * np.uint8(255), None if rule.ignore_value is None else labels == IGNORED
    values, ignored = _split(mask, rule, source)
    if _is_labels(values):
        return values.astype(np.uint8) * np.uint8(255), ignored
    _above(values, MASK_THRESHOLD, source)
    if values.dtype != np.uint8:
        # Rounded up, so that a fraction stays above the whole number that it is above.
        values = np.ceil(np.clip(values, 0, 255)).astype(np.uint8)
    return values, ignored


def read_mask(
    path: str | Path, rule: MaskRule = DEFAULT_RULE, backend_args: dict | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read values and ignored pixels of a mask file, see :func:`mask_values`.

    Raises:
        ValueError: If the file cannot be decoded or is no mask; the message names it.
    """
    return mask_values(read_image(path, backend_args), rule, str(path))


def largest_channel(mask: np.ndarray, source: str) -> np.ndarray:
    """Return the largest of the colors of every pixel, (H, W), of a decoded mask; alpha does not count.

    Raises:
        ValueError: If values are NaN or infinite, or only the alpha channel holds something.
    """
    values = drop_alpha(mask)
    if values.ndim == 3:
        values = values.max(axis=2)
    refuse_non_finite(values, source)
    if mask.ndim == 3 and mask.shape[2] in (2, 4) and not values.any():
        alpha = mask[..., -1]
        if (alpha != alpha.flat[0]).any():
            raise ValueError(
                f'{source}: its colors hold nothing and its alpha channel does, which does not count in a mask; save '
                'the alpha channel as an image of its own'
            )
    return values


def _split(mask: np.ndarray, rule: MaskRule, source: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Values with those of ignored pixels set to 0, and the ignored pixels."""
    values = largest_channel(mask, source)
    if rule.ignore_value is None:
        return values, None
    ignored = np.isin(values, rule.ignore_value)
    if rule.target_value is None:  # otherwise 0 may mean target, and ignored values are no target anyway
        values = np.where(ignored, values.dtype.type(0), values)
    return values, ignored


def _is_labels(values: np.ndarray) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _above(values: np.ndarray, threshold: float, source: str) -> np.ndarray:
    target = values > threshold
    if not target.any():
        raise ValueError(
            f'{source}: values up to {values.max()}, none above the threshold of {threshold:g}; is this a target mask? '
            'Then say which values are targets (target_value), or rewrite the masks (mmirstd prepare --threshold)'
        )
    return target
