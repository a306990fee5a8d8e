"""Samples as a segmentor returns them, and one process of a distributed evaluation over them."""

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import distributed
from torch.utils.data import DistributedSampler

from mmirstd.evaluation.metrics import IRSTDMetric


def make_sample(index, size=24):
    rng = np.random.default_rng(index)
    gt = np.zeros((size, size), np.int64)
    for _ in range(index % 3):
        row, col = rng.integers(0, size - 4, 2)
        gt[row : row + 3, col : col + 4] = 1
    prob = np.where(np.roll(gt, index % 4, 1) == 1, 0.8, 0.3 * rng.random(gt.shape))
    if index % 2:
        prob[rng.random(gt.shape) < 0.01] = 0.7
    gt[:, -1] = 255
    prob = torch.from_numpy(prob).float()[None]
    sample = SegDataSample(metainfo={'img_path': f'images/{index:06d}.png', 'img_id': f'{index:06d}'})
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(gt)[None])
    sample.seg_logits = PixelData(data=prob)
    sample.pred_sem_seg = PixelData(data=(prob > 0.5).to(prob))  # floating, as mmseg makes it
    return sample


def evaluate(indices, size, batch=2, **options):
    metric = IRSTDMetric(**options)
    indices = list(indices)
    for start in range(0, len(indices), batch):
        metric.process({}, [make_sample(i).to_dict() for i in indices[start : start + batch]])
    return metric.evaluate(size)


def run(rank, world, size, folder):
    init = f'file://{folder}/rendezvous'
    distributed.init_process_group('gloo', init_method=init, rank=rank, world_size=world)
    indices = DistributedSampler(range(size), world, rank, shuffle=False)  # repeats the first ones to fill up
    metrics = evaluate(indices, size, collect_dir=f'{folder}/collect', presets='all')
    torch.save(metrics, f'{folder}/{rank}.pth')
    distributed.destroy_process_group()
