"""Write the splits that ship with the package and that nobody published.

- A seeded tenth of each training split is its validation split: of the images, or where the test split holds other
  scenes than the training split, of the scenes. Sources that publish a validation split of their own keep it.
- ``IRDST/sequences``: a seeded fifth of the sequences for testing, since the published splits were drawn by frame.

The result is committed; run this again only when a training split is added. ``--check`` writes nothing and fails on a
difference.
"""

import argparse
from pathlib import Path

from mmirstd.datasets.published_splits import SPLITS_DIR, choose_val
from mmirstd.io.files import refuse_overwriting
from mmirstd.io.ids import read_ids

PUBLISHED_VAL = ('NUAA-SIRST/idx_427', 'NUAA-SIRST/idx_320', 'SIRST-v2/full', 'SIRST-v2/v1', 'SIRST-v2/v1fullv2target')
SCENES = {'NUDT-SIRST-Sea/basicirstd': lambda img_id: img_id.split('-')[0]}


def draw_splits(splits_dir: Path, fraction: float, seed: int) -> dict[Path, list[str]]:
    """Return what is to be written, by file."""
    splits = {}
    by_frame = splits_dir / 'IRDST' / 'basicirstd'
    if by_frame.is_dir():
        frames = read_ids(by_frame / 'train.txt') + read_ids(by_frame / 'test.txt')
        sequences = sorted({frame.split('/')[0] for frame in frames}, key=int)
        test = choose_val(sequences, 0.2, seed)
        for part, names in (('train', [s for s in sequences if s not in test]), ('test', test)):
            splits[splits_dir / 'IRDST' / 'sequences' / f'{part}.txt'] = [f'{name}/' for name in names]
    for path in sorted({*splits_dir.glob('*/*/train.txt'), *(p for p in splits if p.name == 'train.txt')}):
        source = path.parent.relative_to(splits_dir).as_posix()
        if source not in PUBLISHED_VAL:
            train = splits.get(path) or read_ids(path)
            splits[path.with_name('val.txt')] = choose_val(train, fraction, seed, SCENES.get(source))
    return splits


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--splits-dir', type=Path, default=SPLITS_DIR)
    parser.add_argument('--fraction', type=float, default=0.1)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--check', action='store_true', help='compare with the files there instead of writing them')
    parser.add_argument('--overwrite', action='store_true', help='replace files that differ')
    args = parser.parse_args()
    if not 0 < args.fraction < 1:
        parser.error(f'--fraction must lie between 0 and 1, got {args.fraction}')
    splits = draw_splits(args.splits_dir, args.fraction, args.seed)
    if not splits:
        parser.error(f'no DATASET/SOURCE/train.txt below {args.splits_dir}')
    if not args.check:
        refuse_overwriting([t for t, ids in splits.items() if t.exists() and read_ids(t) != ids], args.overwrite)
    for target, ids in splits.items():
        name = target.relative_to(args.splits_dir)
        if not args.check:
            target.parent.mkdir(exist_ok=True)
            target.write_text('\n'.join(ids) + '\n')
        elif not target.is_file() or read_ids(target) != ids:
            raise SystemExit(f'{name}: differs from the split drawn with seed {args.seed}')
        print(f'{name}: {len(ids)} ids')


if __name__ == '__main__':
    main()
