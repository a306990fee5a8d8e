"""Time a training step of a distillation with the teacher run online and with its cache, loading included.

``python tools/benchmarks/benchmark_distillation.py CONFIG --cache DIR`` draws the same batches for both in turn, in one
process and one thread. Prints a Markdown table of medians over the rounds, in processor time, and their ratio.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, MODELS
from torch.utils.data import Dataset

from mmirstd.apis.configuration import run_config
from mmirstd.io.tables import markdown_rows


def training_step(cfg: Config, cache: str | None, data: Dataset, amp: bool) -> Callable[[list[int]], float]:
    """Return what makes one step on the views of some indices, and returns its seconds of processor time."""
    cfg.model.teacher_cache = cache
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def step(indices: list[int]) -> float:
        begin = time.process_time()
        batch = model.data_preprocessor(pseudo_collate([data[i] for i in indices]), training=True)
        with torch.autocast('cpu', torch.bfloat16, enabled=amp):
            losses, _ = model.parse_losses(model(**batch, mode='loss'))
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
        return time.process_time() - begin

    return step


def batches(data: Dataset, size: int, rounds: int) -> Iterator[list[int]]:
    """Indices of the views of each round, the first of which only warms up."""
    order = np.random.default_rng(0).permutation(len(data))
    yield from (order[np.arange(i * size, (i + 1) * size) % len(order)].tolist() for i in range(rounds + 1))


def main() -> None:
    """Time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('config', help='name or path of the config of a distillation')
    parser.add_argument('--cache', required=True, metavar='DIR', help='what `mmirstd cache-teacher` filled')
    parser.add_argument('--data-root', metavar='DIR')
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--amp', action='store_true', help='the student in bfloat16')
    args = parser.parse_args()
    torch.set_num_threads(1)
    cfg = run_config(args.config, ('train',), cfg_options=args.cfg_options, data_root=args.data_root)
    with DefaultScope.overwrite_default_scope('mmseg'):
        data = DATASETS.build(cfg.train_dataloader.dataset)
    steps = {
        kind: training_step(cfg, cache, data, args.amp) for kind, cache in (('online', None), ('cache', args.cache))
    }
    times: dict[str, list[float]] = {kind: [] for kind in steps}
    for indices in batches(data, args.batch, args.rounds):
        for kind, step in steps.items():
            times[kind].append(step(indices))
    medians = {kind: float(np.median(found[1:])) for kind, found in times.items()}
    rows = [
        {
            'teacher': kind,
            'CPU s per step': f'{value:.3f}',
            'ms per view': f'{1000 * value / args.batch:.0f}',
            'ratio': f'{medians["online"] / value:.2f}',
        }
        for kind, value in medians.items()
    ]
    print(markdown_rows(rows))


if __name__ == '__main__':
    main()
