"""Lists of a prepared set: those that are published, and those that are drawn where none is."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.datasets.prepare.checks import FileFinding
from mmirstd.datasets.prepare.sets import SetInfo
from mmirstd.datasets.published_splits import load_published, published_splits
from mmirstd.io.ids import read_ids, resolve_entries
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.text import abridge

PARTS = ('train', 'val', 'test')


def published_ids(dataset: type[IRSTDDataset], ids: Sequence[str]) -> dict[str, list[str]]:
    """Ids of every published list of a set, and of its published folders, by the name of the split."""
    splits = {f'official/{part}': [i for i in ids if i.startswith(p)] for part, p in dataset.OFFICIAL_PARTS.items()}
    if dataset.NAME:
        splits |= {name: load_published(dataset.NAME, name)[1] for name in published_splits(dataset.NAME)}
    return splits


def list_suffixes(info: SetInfo) -> list[str]:
    """What entries of a set's lists may have behind an id."""
    parts = [part.source for layout in (*info.layouts, *info.copies) for part in layout]
    return [suffix for layout in parts for suffix in (*layout.img_suffixes, *layout.mask_suffixes)]


def read_found_lists(
    found: Mapping[str, Path], ids: Sequence[str], suffixes: Sequence[str]
) -> tuple[dict[str, list[str]], list[FileFinding]]:
    """Read list files that came with a set, by where they go; a text file with no known id in it is not one.

    Returns:
        The ids of every list, and what is wrong with files that cannot be read.
    """
    lists, unreadable, known = {}, [], set(ids)
    for to, path in found.items():
        try:
            listed = resolve_entries(read_ids(path), ids, str(path), suffixes)
        except (ValueError, OSError) as error:
            if not path.is_file() or path.stat().st_size:
                unreadable.append(FileFinding('bad-list', to, str(error).removeprefix(str(path)).lstrip(':, ')))
            continue
        if known & set(listed):
            lists[to] = listed
    return lists, unreadable


def find_missing(splits: Mapping[str, Sequence[str]], ids: Sequence[str]) -> list[FileFinding]:
    """Listed ids that have no files, with the lists that name them; ``41/`` stands for what begins so."""
    there = {*ids, *(i[: at + 1] for i in ids for at, c in enumerate(i) if c == '/')}
    names: dict[str, list[str]] = {}
    for name, listed in splits.items():
        for i in listed:
            if i not in there:
                names.setdefault(i, []).append(name)
    return [FileFinding('not-listed-file', i, 'in ' + ', '.join(found)) for i, found in names.items()]


def find_leaks(splits: Mapping[str, Sequence[str]], pixels: Mapping[str, str]) -> list[FileFinding]:
    """Test images that have the same pixels as an image of the same source's training list, under another name.

    The training lists of ``a/test_b.txt`` are ``a/train_b.txt`` and ``a/trainval_b.txt``.
    """
    details: dict[str, list[str]] = {}
    for name, test in splits.items():
        source, slash, part = name.rpartition('/')
        if not part.startswith('test'):
            continue
        partners = (source + slash + part.replace('test', word, 1) for word in ('train', 'trainval'))
        train = [i for partner in partners for i in splits.get(partner, ())]
        seen = {pixels[i]: i for i in reversed(train) if i in pixels}
        for i in test:
            if (twin := seen.get(pixels.get(i, ''))) and twin != i:
                details.setdefault(i, []).append(f'{twin} in {name}')
    return [FileFinding('test-in-training', i, 'same as ' + ', '.join(found)) for i, found in details.items()]


def find_duplicates(pixels: Mapping[str, str], files: Mapping[str, str]) -> list[FileFinding]:
    """Images with the same pixels as an earlier one."""
    first: dict[str, str] = {}
    findings = []
    for i, digest in pixels.items():
        if (earlier := first.setdefault(digest, i)) != i:
            findings.append(FileFinding('duplicate', files[i], f'same as {files[earlier]}'))
    return findings


def draw_lists(pixels: Mapping[str, str], ratios: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Draw ``train``, ``val`` and ``test`` lists at random; images with the same pixels stay together.

    The groups of equal images, in the order of their first ids, are shuffled by ``RandomState(seed)``, whose stream
    NumPy promises to keep; each then goes to the part that lacks the largest part of its share. A part with the
    ratio 0 gets none, any other at least one group.

    Args:
        pixels: Hash of every image by id, or the name of its group.
        ratios: Shares of train, val and test, which add up to 1.
        seed: Of the shuffle.

    Raises:
        ValueError: If there are fewer different images than parts.
    """
    groups: dict[str, list[str]] = {}
    for i in sorted(pixels):
        groups.setdefault(pixels[i], []).append(i)
    order = [list(groups.values())[k] for k in np.random.RandomState(seed).permutation(len(groups))]
    wanted = {part: ratio * len(pixels) for part, ratio in zip(PARTS, ratios, strict=True) if ratio > 0}
    if len(order) < len(wanted):
        raise ValueError(f'{len(order)} different images cannot be divided into {len(wanted)} splits')
    lists: dict[str, list[str]] = {part: [] for part in wanted}
    parts = list(wanted)
    for done, group in enumerate(order):
        left = len(order) - done
        empty = [part for part in parts if not lists[part]]
        # The part that lacks most of its share, but none must stay empty.
        choice = empty if left <= len(empty) else parts
        lack = {part: 1 - len(lists[part]) / wanted[part] for part in choice}
        lists[max(lack, key=lack.get)] += group
    return {part: sorted(listed) for part, listed in lists.items()}


def group_by_sequence(pixels: Mapping[str, str], pattern: str) -> dict[str, str]:
    """Group images so that neither a sequence nor images with the same pixels are divided by :func:`draw_lists`.

    Args:
        pixels: Hash of every image by id.
        pattern: Regular expression that is searched in an id. Its first group, or all that it matches, names the
            sequence: ``'^(.+)/'`` for the folder, ``'^(.+)_'`` for what stands before the last underscore.

    Returns:
        A name of its group for every id. Sequences that share an image are one group.

    Raises:
        ValueError: If the pattern is none, or an id does not match; the message names it.

    >>> group_by_sequence({'a_1': 'x', 'a_2': 'y', 'b_1': 'y', 'c_1': 'z'}, '^(.+)_')
    {'a_1': 'a', 'a_2': 'a', 'b_1': 'a', 'c_1': 'c'}
    """
    try:
        searched = {i: re.search(pattern, i) for i in sorted(pixels)}
    except re.error as error:
        raise ArgumentError(f'the pattern of sequences {pattern!r} is no regular expression ({error})') from error
    if wrong := [i for i, match in searched.items() if match is None or not match[1 if match.re.groups else 0]]:
        raise ArgumentError(f'the pattern of sequences {pattern!r} names none for {len(wrong)} ids: {abridge(wrong)}')
    sequence = {i: match[1 if match.re.groups else 0] for i, match in searched.items()}
    joined = {name: name for name in sequence.values()}

    def first(name: str) -> str:
        while joined[name] != name:
            name = joined[name]
        return name

    seen: dict[str, str] = {}
    for i, name in sequence.items():
        one, other = sorted((first(name), first(seen.setdefault(pixels[i], name))))
        joined[other] = one
    return {i: first(name) for i, name in sequence.items()}
