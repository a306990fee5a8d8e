"""Write the validation lists that ship with the package: a seeded tenth of each published training list.

Sources that publish a validation list of their own (NUAA-SIRST's idx_427 and idx_320) keep it. The result is
committed; run this again only when a training list is added. ``--check`` writes nothing and fails on a difference.
"""

import argparse
from pathlib import Path

import numpy as np

from mmirstd.datasets.split_lists import SPLITS_DIR, read_ids

PUBLISHED_VAL = ('idx_427', 'idx_320')


def choose_val(train: list[str], fraction: float, seed: int) -> list[str]:
    """Draw ``round(fraction * len(train))`` ids from the sorted list; the order of ``train`` is kept.

    ``RandomState`` is used because NumPy freezes its stream (NEP 19), which it does not promise for ``Generator``.
    """
    num = round(fraction * len(train))
    drawn = set(np.random.RandomState(seed).choice(sorted(train), num, replace=False).tolist())
    return [i for i in train if i in drawn]


def main() -> None:
    """Write or check ``val.txt`` beside every ``train.txt``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--splits-dir', type=Path, default=SPLITS_DIR)
    parser.add_argument('--fraction', type=float, default=0.1)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--check', action='store_true', help='compare with the files there instead of writing them')
    args = parser.parse_args()
    if not 0 < args.fraction < 1:
        parser.error(f'--fraction must lie between 0 and 1, got {args.fraction}')
    lists = sorted(p for p in args.splits_dir.glob('*/*/train.txt') if p.parent.name not in PUBLISHED_VAL)
    if not lists:
        parser.error(f'no DATASET/SOURCE/train.txt below {args.splits_dir}')
    for path in lists:
        val, target = choose_val(read_ids(path), args.fraction, args.seed), path.with_name('val.txt')
        name = target.relative_to(args.splits_dir)
        if not args.check:
            target.write_text('\n'.join(val) + '\n')
        elif not target.is_file() or read_ids(target) != val:
            raise SystemExit(f'{name}: differs from the list drawn with seed {args.seed}')
        print(f'{name}: {len(val)} ids')


if __name__ == '__main__':
    main()
