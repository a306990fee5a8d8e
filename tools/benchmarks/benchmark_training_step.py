"""Time a training step of several models in turn, in processor time: forward, losses, backward, optimizer.

``python tools/benchmarks/benchmark_training_step.py sgem_unet-s_nudt simir_repvit-fast_nudt`` takes 16 random crops of
128 x 128 with a target each, one thread, and the channels-last layout. Every round makes one step of each model; the
median over the rounds counts. Prints a Markdown table with ratios to the first model, also for each multiply-add of
inference at 256 x 256.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from mmengine.structures import PixelData

from mmirstd.apis.complexity import as_data, build_model, model_complexity, raw_batch
from mmirstd.apis.configuration import read_config
from mmirstd.io.tables import markdown_rows


def training_step(config: str, batch: int, size: int) -> Callable[[], float]:
    """Return what makes one step of a model, and returns its seconds of processor time."""
    model = build_model(read_config(config)).train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    data = as_data(raw_batch(model, batch, size, size))
    for sample in data['data_samples']:
        mask = torch.zeros(1, size, size, dtype=torch.long)
        mask[:, size // 2 : size // 2 + 4, size // 2 : size // 2 + 4] = 1
        sample.gt_sem_seg = PixelData(data=mask)

    def step() -> float:
        begin = time.process_time()
        prepared = model.data_preprocessor(data, training=True)
        inputs = prepared['inputs'].contiguous(memory_format=torch.channels_last)
        losses, _ = model.parse_losses(model(inputs, prepared['data_samples'], mode='loss'))
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
        return time.process_time() - begin

    return step


def main() -> None:
    """Time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('configs', nargs='+', help='names or paths; the first is the reference')
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--size', type=int, default=128)
    parser.add_argument('--rounds', type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    steps = {config: training_step(config, args.batch, args.size) for config in args.configs}
    for step in steps.values():
        step()  # the first one allocates
    rounds = [{config: step() for config, step in steps.items()} for _ in range(args.rounds)]
    first, rows = args.configs[0], []
    seconds = {config: float(np.median([found[config] for found in rounds])) for config in steps}
    macs = {config: model_complexity(config, 256).total.macs for config in steps}
    for config in steps:
        ratio = float(np.median([found[config] / found[first] for found in rounds]))
        rows.append(
            {
                'config': f'`{config}`',
                'CPU s per step': f'{seconds[config]:.3f}',
                'ratio': f'{ratio:.2f}',
                'per multiply-add': f'{ratio * macs[first] / macs[config]:.2f}',
            }
        )
    print(markdown_rows(rows))


if __name__ == '__main__':
    main()
