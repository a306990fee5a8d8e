"""Measure classical detectors under all threshold rules: each map is computed once, and every rule is applied to it.

``python tools/benchmarks/measure_classical.py pstnn_nudt pstnn_nuaa --data data --images 30`` prints a Markdown table.
``--images 0`` takes the whole test split; otherwise a seeded list of images, whose hash is printed.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, MODELS

import mmirstd.datasets  # noqa: F401
from mmirstd.apis.configuration import read_config
from mmirstd.evaluation.functional.counts import image_counts, sum_counts
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.io.ids import digest
from mmirstd.io.tables import markdown_rows
from mmirstd.models.decode_heads import ThresholdHead
from mmirstd.utils.data_root import set_data_folder
from mmirstd.utils.progress import progress_bar

RULES = {
    '> 0.5': {},
    'mean + 5 std': {'rule': 'mean_std'},
    'Otsu': {'rule': 'otsu'},
    'budget 0.001': {'rule': 'budget'},
}


def measure(config: str, data: Path, number: int, seed: int, options: list[str]) -> list[dict[str, object]]:
    """Return a row for each rule.

    Args:
        config: Name or path of the config of a classical detector.
        data: Folder that holds the folders of the sets.
        number: How many images are drawn from the test split; 0 is all of them.
        seed: Of the drawing.
        options: ``KEY=VALUE`` changes of the config.
    """
    cfg = read_config(config, options)
    set_data_folder(cfg, str(data))
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset, detector = DATASETS.build(cfg.test_dataloader.dataset), MODELS.build(cfg.model.backbone)
    heads = {name: ThresholdHead(**rule) for name, rule in RULES.items()}
    indices = np.arange(len(dataset))
    if number:
        indices = np.sort(np.random.default_rng(seed).choice(indices, min(number, len(indices)), replace=False))
    names = [dataset.get_data_info(i)['img_id'] for i in indices]
    batch = cfg.test_dataloader.batch_size if cfg.model.backbone.method == 'mslstipt' else 1
    counts, seconds = {name: [] for name in heads}, 0.0
    for start in progress_bar(range(0, len(indices), batch), Path(config).stem):
        packed = [dataset[int(i)] for i in indices[start : start + batch]]
        images = torch.stack([p['inputs'] for p in packed]).float()
        before = time.process_time()
        (maps,) = detector(images)
        seconds += time.process_time() - before
        labels = [p['data_samples'].gt_sem_seg.data[0].numpy() for p in packed]
        for name, head in heads.items():
            for logits, label in zip(head((maps,)), labels, strict=True):
                counts[name].append(image_counts(logits[0].numpy() > 0, label))
    rows = []
    for name, found in counts.items():
        metrics = compute_metrics(sum_counts(found))
        row = {
            'config': ' '.join([f'`{Path(config).stem}`', *options]),
            'images': f'{len(names)} ({digest(names)})',
            'rule': name,
        }
        row |= {key: f'{metrics[key]:.3f}' for key in ('IoU', 'nIoU', 'Pd')} | {'Fa, 1e-6': f'{metrics["Fa"]:.0f}'}
        rows.append(row | {'CPU s per image': f'{seconds / len(names):.3f}'})
    return rows


def main() -> None:
    """Measure the configs one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('configs', nargs='+')
    parser.add_argument('--data', type=Path, default=Path('data'), help='folder that holds NUDT-SIRST and so on')
    parser.add_argument('--images', type=int, default=30, help='drawn from the test split; 0: all')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--cfg-options', nargs='+', default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    for config in args.configs:
        print(markdown_rows(measure(config, args.data, args.images, args.seed, args.cfg_options)), flush=True)


if __name__ == '__main__':
    main()
