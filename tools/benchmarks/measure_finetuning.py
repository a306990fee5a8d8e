"""What fine-tuning on a few images of an unseen camera gives, measured on the other images of a training split.

``python tools/benchmarks/measure_finetuning.py MODEL WEIGHTS --dataset CLASS --data-root data/NUDT-SIRST --out DIR``
draws IMAGES of the split with each seed, fine-tunes on them as ``mmirstd train --finetune`` does, tests on all others
before and after, and prints a Markdown table. WEIGHTS are of a training without that set.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from mmseg.datasets import BaseSegDataset

from mmirstd.apis import finetune, test
from mmirstd.apis.configuration import read_config
from mmirstd.apis.finetuning import set_folder
from mmirstd.apis.inference import checkpoint_for
from mmirstd.io.tables import markdown_rows
from mmirstd.registry import DATASETS

METRICS = ('IoU', 'nIoU', 'Pd', 'Fa')


def make_folder(dataset: BaseSegDataset, indices: np.ndarray, folder: Path) -> None:
    """Copy images and masks of a dataset to ``images/`` and ``masks/`` under their ids, and list these in a file."""
    for part, key in (('images', 'img_path'), ('masks', 'seg_map_path')):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for i in indices:
            source = Path(dataset.get_data_info(i)[key])
            shutil.copyfile(source, folder / part / f'{dataset.img_ids[i]}{source.suffix}')
    (folder / 'ids.txt').write_text(''.join(f'{dataset.img_ids[i]}\n' for i in indices))


def main() -> None:
    """Fine-tune, test, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('model', help='name of a config')
    parser.add_argument('weights', help='a checkpoint that has not seen the set')
    parser.add_argument('--dataset', required=True, help='class of the set')
    parser.add_argument('--data-root', required=True, help='folder of the set')
    parser.add_argument('--split', default='basicirstd/train')
    parser.add_argument('--images', type=int, default=20)
    parser.add_argument('--others', type=int, help='test on so many of the others at most; by default on all')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--amp', action='store_true')
    parser.add_argument('--out', type=Path, required=True, help='a new folder')
    args = parser.parse_args()
    checkpoint_for(args.model, args.weights)  # an error before anything is written
    dataset = DATASETS.build(dict(type=args.dataset, data_root=args.data_root, split=args.split, pipeline=[]))
    if not 0 < args.images < len(dataset):
        raise SystemExit(f'--images: from 1 to {len(dataset) - 1}, since the others are tested on')
    if args.others is not None and args.others < 1:
        raise SystemExit('--others: 1 at least')
    args.out = args.out.absolute()  # a dataset takes relative paths for those below its root
    args.out.mkdir(parents=True)
    rows = []
    for seed in args.seeds:
        order = np.random.default_rng(seed).permutation(len(dataset))
        few, rest = (args.out / f'{name}{seed}' for name in ('few', 'rest'))
        tested = order[args.images :][: args.others]
        make_folder(dataset, order[: args.images], few)
        make_folder(dataset, tested, rest)
        cfg = read_config(args.model)
        set_folder(cfg, str(rest), {part: str(rest / 'ids.txt') for part in ('train', 'val')})
        before = test(cfg, args.weights, work_dir=args.out / f'before{seed}').metrics
        result = finetune(few, args.model, args.weights, work_dir=args.out / f'training{seed}', amp=args.amp)
        after = test(cfg, result.training.best, work_dir=args.out / f'after{seed}').metrics
        for name, held_out, others in (('before', result.before, before), ('after', result.after, after)):
            row = {'seed': seed, 'fine-tuning': name, 'IoU, held out': f'{held_out["IoU"]:.3f}'}
            rows.append(row | {metric: f'{others[metric]:.4g}' for metric in METRICS})
    print(f'{args.images} images, tested on {len(tested)} others\n\n{markdown_rows(rows)}')


if __name__ == '__main__':
    main()
