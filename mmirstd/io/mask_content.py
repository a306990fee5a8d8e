"""What the masks of a set hold, and whether it is clear what in them is target.

A mask by itself cannot show that its coding is another one than the rule takes it for: this is judged over the set.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from mmirstd.io.check_cache import VerifiedFiles
from mmirstd.io.images import drop_alpha, read_verified
from mmirstd.io.masks import MaskRule, largest_channel
from mmirstd.utils.errors import UserError
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.text import abridge

_KEPT = 256  # values of a mask that are counted one by one
_COMMON = 0.01  # share of the pixels that are not 0 from which on a value is taken for a label
_SMOOTH = 4  # with more labels than these, masks are smooth or JPEG: the threshold cuts values in between
_COLORS = ('blue', 'green', 'red')


class MaskSetError(UserError, ValueError):
    """Masks of which it is not clear what in them is target."""


class MaskContent(NamedTuple):
    """What a mask holds.

    Attributes:
        pixels: How many there are.
        values: Count of each value but 0, by the largest channel; of very many values the rarest count as the largest
            of these.
        colors: In a mask of colors, the number of pixels above 0 in one channel alone, for each that has any; else
            empty.
    """

    pixels: int
    values: dict[float, int]
    colors: dict[str, int]

    def as_plain(self) -> list[Any]:
        """As JSON can hold it; :meth:`of_plain` is the way back."""
        return [self.pixels, [[value, count] for value, count in self.values.items()], self.colors]

    @classmethod
    def of_plain(cls, content: Any) -> 'MaskContent':
        """The inverse of :meth:`as_plain`."""
        pixels, values, colors = content
        return cls(pixels, dict(map(tuple, values)), colors)

    def targets(self, rule: MaskRule) -> int:
        """Number of target pixels by a rule, as :func:`mmirstd.io.masks.mask_labels` has them."""
        if rule.target_value is not None:
            zeros = self.pixels - sum(self.values.values())
            return sum(self.values.get(v, 0) if v else zeros for v in rule.target_value)
        values = self.counted(rule)
        return sum(n for v, n in values.items() if v > (0 if values.keys() <= {1} else rule.threshold))

    def counted(self, rule: MaskRule) -> dict[float, int]:
        """The values that are not ignored by a rule."""
        ignored = rule.ignore_value or ()
        return {v: n for v, n in self.values.items() if v not in ignored}


def mask_content(mask: np.ndarray, source: str) -> MaskContent:
    """Count the values of a decoded mask.

    Args:
        mask: (H, W) or (H, W, C) of any type.
        source: Name of the file for messages.

    Raises:
        ValueError: If values are NaN or infinite, or only the alpha channel holds something.
    """
    largest = largest_channel(mask, source)
    values, counts = np.unique(largest[largest != 0], return_counts=True)
    if len(values) > _KEPT:
        order = np.argsort(-counts, kind='stable')
        rest = order[_KEPT - 1 :]
        last = rest[values[rest].argmax()]
        counts[last] = counts[rest].sum()
        order = np.append(order[: _KEPT - 1], last)
        values, counts = values[order], counts[order]
    return MaskContent(largest.size, dict(zip(values.tolist(), counts.tolist(), strict=True)), _colors(mask))


def mask_contents(paths: Sequence[str]) -> dict[str, MaskContent]:
    """Count the values of mask files; those that are known from before are not decoded again.

    Raises:
        ValueError: If a file cannot be read as a mask; the message names it.
    """
    known = VerifiedFiles(paths)

    def one(path: str) -> MaskContent:
        if 'mask' in (found := known.found(path)):
            return MaskContent.of_plain(found['mask'])
        return mask_content(read_verified(path)[1], path)

    with ThreadPoolExecutor(8) as pool:
        contents = list(progress_bar(pool.map(one, paths), 'masks', len(paths), delay=1))
    contents = dict(zip(paths, contents, strict=True))
    known.add({path: {'mask': content.as_plain()} for path, content in contents.items()})
    return contents


def judge_masks(contents: Mapping[str, MaskContent], rule: MaskRule, name: str, *, empty: int = 0) -> int:
    """Judge the masks of a set together; what is doubtful is logged as a warning.

    Args:
        contents: By file.
        rule: What is target.
        name: Of the set, for messages.
        empty: Number of further images that are known to have no target.

    Returns:
        The number of masks with a target.

    Raises:
        MaskSetError: If it is not clear what is target: 1 and 255 together, values but no target, more target than
            background. The message says what was found, in which files, and which option decides.
    """
    from mmengine.logging import print_log  # imports torch

    def warn(text: str) -> None:
        print_log(f'{name}: {text}', 'current', logging.WARNING)

    targets = {path: content.targets(rule) for path, content in contents.items()}
    if text := _without_target_value(contents, targets, rule) or _ambiguous(contents, rule):
        raise MaskSetError(f'{name}: {text}')
    shares = {path: targets[path] / content.pixels for path, content in contents.items()}
    full = [path for path, share in shares.items() if share > 0.5]
    if full:
        text = f'more than half of the pixels are target in {len(full)} of {len(shares)} masks ({_files(full)})'
        advice = 'where black is target, say target_value=0'
        if 2 * len(full) > len(shares):
            raise MaskSetError(f'{name}: {text}; {advice}')
        warn(f'{text}; {advice}, and keep such masks apart')
    for finding in (_several_labels(contents, rule), _several_colors(contents)):
        if finding:
            warn(finding)
    found = sum(map(bool, targets.values()))
    if contents and not found:
        values = sorted({v for content in contents.values() for v in content.values})
        held = f'their values are 0, {abridge([_text(v) for v in values])}' if values else 'all values are 0'
        warn(
            f'no target in any of {len(contents) + empty} images ({held}; {_files([*contents])}): target_value says '
            "which value is target; images of background alone need no masks with missing_mask='empty'"
        )
    return found


def _without_target_value(contents: Mapping[str, MaskContent], targets: Mapping[str, int], rule: MaskRule) -> str:
    if rule.target_value is not None:
        return ''
    lost = [path for path, content in contents.items() if content.counted(rule) and not targets[path]]
    if not lost:
        return ''
    values = sorted({v for path in lost for v in contents[path].counted(rule)})
    return (
        f'{len(lost)} of {len(contents)} masks have values ({abridge([_text(v) for v in values])}), none above the '
        f'threshold of {rule.threshold:g} ({_files(lost)}); target_value says which values are targets, such as '
        f'target_value={_text(values[-1])}, and ignore_value which ones count nowhere'
    )


def _labels(contents: Mapping[str, MaskContent], rule: MaskRule) -> dict[float, int]:
    """Pixels of the values that are common in the set; none where values are smooth."""
    counts = Counter()
    for content in contents.values():
        counts.update(content.counted(rule))
    total = sum(counts.values())
    labels = {v: n for v, n in sorted(counts.items()) if n >= _COMMON * total or counts.keys() == {1, 255}}
    return labels if len(labels) <= _SMOOTH else {}


def _ambiguous(contents: Mapping[str, MaskContent], rule: MaskRule) -> str:
    labels = _labels(contents, rule)
    if rule.target_value is not None or not labels.keys() >= {1, 255}:
        return ''
    ones, both = ([p for p, c in contents.items() if c.values.keys() >= need] for need in ({1}, {1, 255}))
    return (
        f'masks hold 1 ({labels[1]} pixels) and 255 ({labels[255]} pixels), in {len(both)} of them together '
        f'({_files(both or ones)}): say what is target. ignore_value=255: 1 is target and 255 counts nowhere. '
        'target_value=255: 255 alone is target. target_value=[1, 255]: both are'
    )


def _several_labels(contents: Mapping[str, MaskContent], rule: MaskRule) -> str:
    labels = _labels(contents, rule)
    if rule.target_value is not None or len(labels) < 2:
        return ''
    parts = [f'{_text(v)} ({n} pixels: {"target" if v > rule.threshold else "background"})' for v, n in labels.items()]
    where = [p for p, c in contents.items() if len(c.values.keys() & labels.keys()) > 1] or [*contents]
    return (
        f'masks hold several values: {", ".join(parts)}, as in {_files(where)}; target_value says which of them are '
        'targets, ignore_value which ones count nowhere'
    )


def _several_colors(contents: Mapping[str, MaskContent]) -> str:
    counts = Counter()
    for content in contents.values():
        counts.update(content.colors)
    if len(counts) < 2:
        return ''
    parts = ', '.join(f'{color} ({n} pixels)' for color, n in sorted(counts.items()))
    where = [path for path, content in contents.items() if content.colors]
    return f'masks have colors: {parts}, as in {_files(where)}. Each is a target: the largest channel counts'


def _colors(mask: np.ndarray) -> dict[str, int]:
    mask = drop_alpha(mask)
    if mask.ndim == 2:
        return {}
    set_ = mask > 0
    single = set_.sum(axis=2) == 1
    counts = {color: int((set_[..., i] & single).sum()) for i, color in enumerate(_COLORS)}
    return {color: n for color, n in counts.items() if n}


def _text(value: float) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value)


def _files(paths: list[str]) -> str:
    return abridge(paths, 3)
