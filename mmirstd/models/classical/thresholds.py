"""Rules that say from which value on a pixel of a target map is a target, and maps on which that value is 0.5."""

from collections.abc import Callable

import cv2
import numpy as np

# Rule -> what its number means, and the default.
RULES: dict[str, tuple[str, float | None]] = {
    'fixed': ('the threshold of the normalized map, in [0, 1)', 0.5),
    'mean_std': ('k in mean + k * standard deviation, not negative', 5.0),
    'otsu': ('nothing', None),
    'budget': ('the largest fraction of pixels above the threshold, in (0, 1)', 1e-3),
}


def normalize_map(values: np.ndarray) -> np.ndarray:
    """Bring a map to [0, 1] by its smallest and largest value; one value everywhere becomes 0."""
    values = np.asarray(values, np.float64)
    low, high = values.min(), values.max()
    return np.zeros_like(values) if low == high else (values - low) / (high - low)


def map_threshold(values: np.ndarray, rule: str = 'fixed', number: float | None = None) -> float:
    """Find the threshold of a map: pixels above are targets.

    - ``'fixed'``: ``number``, whatever the map.
    - ``'mean_std'``: ``mean + number * std`` over the pixels of the map.
    - ``'otsu'``: the value that parts the histogram of 256 levels with the least variance within both parts.
    - ``'budget'``: the smallest value that at most the fraction ``number`` of the pixels exceeds. Nearly all pixels of
      an image are background, so this is a budget of false alarms for each image.

    Args:
        values: (H, W) in [0, 1], see :func:`normalize_map`.
        rule: One of these.
        number: See there; by default 0.5, 5 and 1e-3.

    Returns:
        The threshold, which is above all values where nothing is a target.

    Raises:
        ValueError: If there is no such rule, or the number is not allowed.
    """
    number = check_rule(rule, number)
    if rule == 'fixed':
        return number
    if rule == 'mean_std':
        return float(values.mean() + number * values.std())
    if rule == 'otsu':
        level, _ = cv2.threshold(np.rint(255 * values).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
        return (level + 0.5) / 255
    allowed = int(number * values.size)
    return float(np.partition(values, values.size - 1 - allowed, axis=None)[values.size - 1 - allowed])


def check_rule(rule: str, number: float | None) -> float:
    """Return the number of a rule, or its default.

    Raises:
        ValueError: See :func:`map_threshold`.
    """
    if rule not in RULES:
        raise ValueError(f'threshold rule {rule!r}: there are {", ".join(RULES)}')
    meaning, default = RULES[rule]
    allowed: dict[str, Callable[[float], bool]] = {
        'fixed': lambda n: 0 <= n < 1,
        'mean_std': lambda n: n >= 0,
        'otsu': lambda n: False,
        'budget': lambda n: 0 < n < 1,
    }
    if number is not None and not allowed[rule](number):
        raise ValueError(f'threshold rule {rule!r}: its number is {meaning}; got {number}')
    return default if number is None else number


def center_map(values: np.ndarray, threshold: float) -> np.ndarray:
    """Stretch a map linearly below and above its threshold, so that the threshold becomes 0.5.

    Whatever compares with 0.5 then follows the rule, and the order of the pixels stays.

    Args:
        values: (H, W) in [0, 1].
        threshold: Not negative.

    Returns:
        (H, W) float64 in [0, 1], above 0.5 exactly where the values are above the threshold.
    """
    above = values > threshold
    below = 0.5 * values / threshold if threshold > 0 else np.zeros_like(values)
    stretched = 0.5 + 0.5 * (values - threshold) / max(1 - threshold, np.finfo(float).tiny)
    return np.where(above, np.maximum(stretched, np.nextafter(0.5, 1)), below)
