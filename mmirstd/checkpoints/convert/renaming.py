"""Renaming of keys by rules, and what keys say of a network."""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import zip_longest

from torch import Tensor

from mmirstd.checkpoints.state_dict import StateDict

# A pattern at the start of a key, and what takes its place: a template of `re`, or a function of the match.
Rules = Iterable[tuple[str, str | Callable[[re.Match], str]]]


def rename(key: str, rules: Rules) -> str | None:
    """Replace the start of a key by the first rule that matches it; None if none does."""
    for pattern, replacement in rules:
        new, hits = re.subn(rf'\A(?:{pattern})', replacement, key)
        if hits:
            return new
    return None


def whole_keys(*rules: tuple[str, str]) -> Rules:
    """Let the patterns of rules match whole keys."""
    return tuple((f'(?:{pattern})$', replacement) for pattern, replacement in rules)


def from_zero(template: str) -> Callable[[re.Match], str]:
    """Make a replacement for :data:`Rules` that fills a format string with the matched numbers, each less one."""
    return lambda match: template.format(*(int(number) - 1 for number in match.groups()))


def numbered(template: str, *shifts: int) -> Callable[[re.Match], str]:
    """As :func:`from_zero`, adding to each number its shift, zero for those without."""
    return lambda match: template.format(
        *(int(number) + shift for number, shift in zip_longest(match.groups(), shifts, fillvalue=0))
    )


def conv_bn(conv: str, bn: str, template: str, *shifts: int) -> Rules:
    """Rules for a convolution and its batch norm: here one module; see :func:`numbered`."""
    return (
        (rf'{conv}\.', numbered(f'{template}.conv.', *shifts)),
        (rf'{bn}\.', numbered(f'{template}.bn.', *shifts)),
    )


def without_prefix(key: str) -> str:
    """Take away what a wrapper of the network put before its keys."""
    return key.removeprefix('module.').removeprefix('model.')


def renamed(weights: Mapping[str, Tensor], new_name: Callable[[str], str | None], network: str) -> StateDict:
    """Give weights their new names.

    Args:
        weights: Weights by their old keys.
        new_name: The new key of an old one, None if it has no place.
        network: Name of the network, for messages.

    Raises:
        ValueError: If keys have no place, naming them, or two get the same.
    """
    names = {key: new_name(key) for key in weights}
    if unknown := sorted(key for key, name in names.items() if name is None):
        raise ValueError(f'keys that belong nowhere in {network}: {unknown[:5]}')
    if len(set(names.values())) < len(names):
        raise ValueError(f'several keys are one and the same in {network}: the file mixes two layouts')
    return {names[key]: value for key, value in weights.items()}


def renamed_by(
    weights: Mapping[str, Tensor], rules: Rules, network: str, unused: str = r'(?!)'
) -> tuple[StateDict, list[str]]:
    """Give the weights of a network, maybe wrapped, the names of rules.

    Args:
        weights: Weights by their old keys.
        rules: See :func:`rename`.
        network: Name of the network, for messages.
        unused: Pattern of keys that are left out.

    Returns:
        The converted weights, and the keys that were left out.

    Raises:
        ValueError: As :func:`renamed`.
    """
    weights = {without_prefix(key): value for key, value in weights.items()}
    dropped = [key for key in weights if re.match(unused, key)]
    kept = {key: value for key, value in weights.items() if key not in dropped}
    return renamed(kept, lambda key: rename(key, rules), network), dropped


def stem_prefix(weights: Mapping[str, Tensor], stem: str, what: str) -> str:
    """Return what stands before the one key that is or ends in ``stem``.

    Args:
        weights: Weights of a network, alone or as a part of a model.
        stem: Key of a weight that the network has once.
        what: What the file is taken for, for messages.

    Raises:
        ValueError: If there is no such key, or more than one.
    """
    stems = [key for key in weights if key == stem or key.endswith(f'.{stem}')]
    if len(stems) != 1:
        found = f'{len(stems)} of them, {stems}' if stems else f'its first keys: {list(weights)[:5]}'
        raise ValueError(f"not {what} in its authors' layout; {found}")
    return stems[0].removesuffix(stem)


def stage_depths(weights: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Count the blocks of each stage by keys ``stages.STAGE.BLOCK.`` or ``stages.STAGE.blocks.BLOCK.``."""
    found = (re.match(r'stages\.(\d+)\.(?:blocks\.)?(\d+)\.', key) for key in weights)
    stages = [stage for stage, _ in {match.groups() for match in found if match}]
    return tuple(stages.count(stage) for stage in sorted(set(stages), key=int))
