"""The metric MMEngine runs: a shell around :mod:`mmirstd.evaluation.functional`."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from prettytable import PrettyTable

from mmirstd.evaluation.functional import Connectivity, Counts, EmptyPolicy, image_counts, sum_counts, summarise
from mmirstd.registry import METRICS


@METRICS.register_module()
class IRSTDMetric(BaseMetric):
    """IoU, nIoU, Pd, Fa, precision, recall and F1 of infrared small target detection, in one pass.

    Fa is in false pixels per million pixels, all others are fractions in [0, 1]; pixels with label `ignore_index` count
    nowhere. The definitions are those of :mod:`mmirstd.evaluation.functional`. The figures are the same on one process
    and on several. To choose checkpoints by one of them: ``save_best='IoU', rule='greater'``.

    Args:
        threshold: None evaluates `pred_sem_seg` as the segmentor made it; a number in [0, 1) evaluates the pixels of
            `seg_logits` (one channel of probabilities) above it.
        distance: A target is detected by a component whose centroid is nearer than this, in pixels.
        connectivity: 4 or 8 neighbours make a component.
        empty: What an image with neither target nor prediction adds to nIoU: nothing (``'skip'``), 0 or 1.
        ignore_index: Label of pixels that do not count.
        collect_device: Where results of several processes meet, ``'cpu'`` or ``'gpu'``.
        collect_dir: Shared directory they meet in where `collect_device` is ``'cpu'``; None: a temporary one.
        prefix: Put before each name, as in ``prefix/IoU``.
    """

    def __init__(
        self,
        *,
        threshold: float | None = None,
        distance: float = 3.0,
        connectivity: Connectivity = 8,
        empty: EmptyPolicy = 'skip',
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if threshold is not None and not 0 <= threshold < 1:
            raise ValueError(f'threshold must be None or lie in [0, 1), not {threshold!r}')
        self.threshold = threshold
        self.empty = empty
        self.matching = {'distance': distance, 'connectivity': connectivity}
        self.ignore_index = ignore_index
        nothing = np.zeros((1, 1), bool)  # a wrong parameter is refused here rather than after an epoch
        summarise(image_counts(nothing, nothing, **self.matching), empty=empty)

    def process(self, data_batch: object, data_samples: Sequence[Mapping]) -> None:
        """Append one :class:`Counts` per sample, never fewer: MMEngine drops the sampler's padding by counting them."""
        threshold = 0.5 if self.threshold is None else self.threshold  # mmseg gives masks as floating 0 and 1
        for sample in data_samples:
            name = sample.get('img_path') or sample.get('img_id', 'unnamed')
            truth = _map(sample, 'gt_sem_seg', name, 'the annotations must be loaded and packed at test time, too')
            if self.threshold is None:
                prediction = _map(sample, 'pred_sem_seg', name, 'the segmentor made no prediction')
            else:
                prediction = _map(sample, 'seg_logits', name, 'a threshold needs probabilities of one channel')
            try:
                counts = image_counts(prediction, truth, threshold=threshold, ignore=self.ignore_index, **self.matching)
            except ValueError as error:
                raise ValueError(f'{name}: {error}') from error
            self.results.append(counts)

    def compute_metrics(self, results: list[Counts]) -> dict[str, float]:
        """Add up the counts, print one table and return the figures."""
        total = sum_counts(results)
        figures = summarise(total, empty=self.empty)
        table = PrettyTable([{'Fa': 'Fa (1e-6)'}.get(name, name) for name in figures])
        table.add_row([f'{value:.2f}' if name == 'Fa' else f'{value:.4f}' for name, value in figures.items()])
        print_log(
            f'{total.images} images ({total.images - total.target_images} without target): '
            f'{total.detected} of {total.targets} targets detected, '
            f'{total.false_components} false components of {total.false_pixels} pixels\n{table}',
            logger='current',
        )
        if not total.targets:
            print_log(
                f'No mask holds a target: are targets labelled 1? {self.ignore_index} means "ignore".',
                logger='current',
                level=logging.WARNING,
            )
        return figures


def _map(sample: Mapping, key: str, name: str, hint: str) -> np.ndarray:
    """The (H, W) array under a key of a sample, from a (1, H, W) tensor."""
    if key not in sample:
        raise KeyError(f'{name}: no {key} to evaluate; {hint}')
    data = sample[key]['data']
    if data.ndim != 3 or data.shape[0] != 1:
        raise ValueError(f'{name}: {key} must be (1, H, W), got {tuple(data.shape)}; {hint}')
    data = data.float() if data.dtype == torch.bfloat16 else data  # numpy has no bfloat16
    return data[0].detach().cpu().numpy()
