"""Splits: the published ones, which ship with the package, and the user's own text files.

``splits/DATASET/SOURCE/PART.txt`` holds one id per line, in the order of publication. Parts of a source:

- ``train`` and ``test`` as published;
- ``val``: published for NUAA-SIRST's ``idx_427`` and ``idx_320`` and for all of SIRST-v2 (and disjoint from their
  ``train``), otherwise a seeded tenth of ``train`` written by ``tools/figures/draw_val_splits.py``;
- ``subtrain``: ``train`` without ``val``, computed. Checkpoints are chosen on ``val``, never on ``test``;
- ``trainval``: where ``val`` is published.

Where folders are published in place of splits, ``official`` has the same parts, made from the files that are there.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mmirstd.io.ids import read_ids
from mmirstd.utils.errors import UserError

SPLITS_DIR = Path(__file__).parent / 'splits'
OFFICIAL_SPLITS = ('official/subtrain', 'official/test', 'official/train', 'official/val')

# DNANet publishes the very splits of BasicIRSTD, order included; RDIAN's are in it too.
ALIASES = {
    ('NUDT-SIRST', 'dnanet'): 'basicirstd',
    ('NUAA-SIRST', 'dnanet'): 'basicirstd',
    ('IRDST', 'rdian'): 'basicirstd',
}


class SplitNotFoundError(UserError, ValueError):
    """No split of that name is published."""


def choose_val(
    train: Sequence[str], fraction: float = 0.1, seed: int = 0, group: Callable[[str], str] | None = None
) -> list[str]:
    """Draw ``round(fraction * len(train))`` ids from the sorted list; the order of ``train`` is kept.

    With ``group``, the given part of the groups is drawn instead, whole: frames of one scene stay together.

    ``RandomState`` is used because NumPy freezes its stream (NEP 19), which it does not promise for ``Generator``.
    """
    group = group or str
    names = sorted({group(i) for i in train})
    drawn = set(np.random.RandomState(seed).choice(names, round(fraction * len(names)), replace=False).tolist())
    return [i for i in train if group(i) in drawn]


def official_prefix(split: str | None, prefixes: Mapping[str, str]) -> str | None:
    """Return what the ids of a split by published folders begin with; None if ``split`` is no such split."""
    if split not in OFFICIAL_SPLITS:
        return None
    return prefixes['test' if split == 'official/test' else 'train']


def hold_out(ids: Sequence[str], split: str) -> list[str]:
    """Return what of a published folder's ids is ``official/val`` or ``official/subtrain``; for others, all."""
    if split not in ('official/val', 'official/subtrain'):
        return list(ids)
    val = set(choose_val(ids))
    return [i for i in ids if (i in val) == (split == 'official/val')]


def published_splits(dataset: str) -> list[str]:
    """Names of the splits that ship for ``dataset``, such as ``'basicirstd/train'``, aliases left out."""
    names = [f'{path.parent.name}/{path.stem}' for path in (SPLITS_DIR / dataset).glob('*/*.txt')]
    sources = {name.split('/')[0] for name in names}
    return sorted(names + [f'{source}/subtrain' for source in sources])


def published_datasets() -> list[str]:
    """Names of the datasets whose splits ship."""
    return sorted(path.name for path in SPLITS_DIR.iterdir() if path.is_dir())


def load_published(dataset: str, split: str, others: Sequence[str] = ()) -> tuple[str, list[str]]:
    """Return the canonical name and the ids of a published split; ``dataset`` is spelled as the folder in ``splits/``.

    ``others`` are splits of other kinds, for the message.

    Raises:
        SplitNotFoundError: If there is no such split; the message lists the known ones.
    """
    source, _, part = split.partition('/')
    source = ALIASES.get((dataset, source), source)
    name = f'{source}/{part}'
    known = published_splits(dataset)
    if name not in known:
        aliases = [f'{alias}/* = {target}/*' for (owner, alias), target in ALIASES.items() if owner == dataset]
        choices = ', '.join([*known, *others, *aliases]) or 'none; give a text file of ids as ann_file'
        raise SplitNotFoundError(f'unknown split {split!r} of {dataset}; known: {choices}')
    if part != 'subtrain':
        return name, read_ids(SPLITS_DIR / dataset / f'{name}.txt')
    train, val = (read_ids(SPLITS_DIR / dataset / source / f'{p}.txt') for p in ('train', 'val'))
    held_out = set(val)
    return name, [i for i in train if i not in held_out]
