"""Time the loading of training samples, with the cache of samples and without, and each transform of it.

``python tools/benchmarks/benchmark_loading.py sgem_unet-s_joint --data-root data`` draws samples at random, as training
does, in this process, one thread. The cache is filled before. Times are of the processor. Prints a Markdown table: the
whole without the cache and with it, and each step with it.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import DefaultScope
from mmseg.datasets import MultiImageMixDataset
from mmseg.registry import DATASETS

from mmirstd.apis.configuration import run_config
from mmirstd.datasets.target_dataset import TargetDataset
from mmirstd.datasets.wrapped import leaves
from mmirstd.io.tables import markdown_rows
from mmirstd.utils.data_root import iter_datasets


def build_training_set(config: str, data_root: str | None, cache: bool) -> Any:
    """Build the training set of a config, with the cache of every part on or off."""
    cfg = run_config(config, ('train',), data_root=data_root)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmseg')):
        for _, leaf in iter_datasets(cfg, ('train',)):
            if issubclass(DATASETS.get(leaf.type), TargetDataset):
                leaf.cache = 'memory' if cache else None
        return DATASETS.build(cfg.train_dataloader.dataset)


def timed(name: str, call: Callable[[Any], Any], costs: Counter) -> Callable[[Any], Any]:
    """Return a function that adds the seconds of each of its calls to a counter."""

    def run(argument: Any) -> Any:
        begin = time.process_time()
        result = call(argument)
        costs[name] += time.process_time() - begin
        return result

    return run


def time_steps(dataset: Any, costs: Counter) -> None:
    """Let the parts of a training set, and the transforms around them, add their seconds to a counter."""
    for part in leaves(dataset):
        part.prepare_data = timed(f'loading from {part.name}', part.prepare_data, costs)
    if isinstance(dataset, MultiImageMixDataset):
        for transform in dataset.pipeline:
            transform.transform = timed(type(transform).__name__, transform.transform, costs)


def draw(dataset: Any, images: int) -> Iterator[Any]:
    """Yield samples at random, the same ones each time."""
    np.random.seed(0)  # noqa: NPY002 - of the transforms
    for index in np.random.default_rng(0).integers(len(dataset), size=images).tolist():
        yield dataset[index]


def time_samples(dataset: Any, images: int) -> float:
    """Return the seconds of processor time of so many random samples."""
    begin = time.process_time()
    for _ in draw(dataset, images):
        pass
    return time.process_time() - begin


def main() -> None:
    """Time, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('configs', nargs='+', help='names or paths')
    parser.add_argument('--data-root', help='folder of the dataset; by default what the config says')
    parser.add_argument('--images', type=int, default=600)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    rows, notes = [], []
    for config in args.configs:
        cached = build_training_set(config, args.data_root, cache=True)
        parts = list(leaves(cached))
        for part in parts:
            for index in range(len(part)):
                part[index]
        costs: Counter = Counter(dict.fromkeys(['without the cache', 'with the cache'], 0.0))
        costs['without the cache'] = time_samples(build_training_set(config, args.data_root, cache=False), args.images)
        costs['with the cache'] = time_samples(cached, args.images)
        time_steps(cached, costs)
        time_samples(cached, args.images)
        rows += [
            {
                'config': f'`{config}`',
                'step': step,
                'ms per image': f'{1e3 * seconds / args.images:.3f}',
                'images per second': f'{args.images / seconds:.0f}',
            }
            for step, seconds in costs.items()
        ]
        size = sum(part.sample_cache.bytes_taken for part in parts) / 2**20
        notes.append(f'{config}: the cache of {sum(map(len, parts))} samples takes {size:.0f} MiB')
    print(markdown_rows(rows))
    print('\n'.join(notes))


if __name__ == '__main__':
    main()
