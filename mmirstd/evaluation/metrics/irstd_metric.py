"""The metric MMEngine runs: a shell around the pure functions of this package."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from mmengine import fileio
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmirstd.evaluation.analysis.reports import Result, text_table
from mmirstd.evaluation.functional.counts import ProtocolCounts, protocol_counts, protocol_figures, sum_protocol_counts
from mmirstd.evaluation.functional.exact import Counts, EmptyPolicy, image_counts, sum_counts, summarise
from mmirstd.evaluation.functional.protocols import PRESETS, ProtocolLike, get_protocols
from mmirstd.io.masks import read_mask
from mmirstd.ops.components import Connectivity
from mmirstd.registry import METRICS


@dataclass(frozen=True, slots=True)  # MMEngine makes lists of tuples
class ImageResult:
    """What is kept of one image: the counts of ``exact`` (None: not asked for), and of the other protocols."""

    exact: Counts | None
    others: tuple[ProtocolCounts, ...] = ()


@METRICS.register_module()
class IRSTDMetric(BaseMetric):
    """IoU, nIoU, Pd, Fa, precision, recall and F1 of infrared small target detection, in one pass.

    Fa is in false pixels per million pixels, all others are fractions in [0, 1]; pixels with label `ignore_index` count
    nowhere. The figures are the same on one process and on several. To choose checkpoints by one of them:
    ``save_best='IoU', rule='greater'``.

    `presets` adds the figures of published evaluation code, named ``dnanet/IoU`` and so on, in the same table, see
    :mod:`mmirstd.evaluation.functional.protocols`. They need probabilities (`seg_logits` of one channel), and the
    values of the mask file, ``seg_map_path``, which is read again because the codes differ in what they make
    of them. Where there is no such file, as for synthetic scenes, they get the labels of the sample.

    Args:
        presets: Names of presets, ``'all'``, or dicts such as ``dict(preset='dnanet', threshold=0.4)``.
        threshold: Of ``exact``, like the next three: None evaluates `pred_sem_seg` as the segmentor made it; a number
            in [0, 1) evaluates the pixels of `seg_logits` (one channel of probabilities) above it.
        distance: A target is detected by a component whose centroid is nearer than this, in pixels.
        connectivity: 4 or 8 neighbours make a component.
        empty: What an image with neither target nor prediction adds to nIoU: nothing (``'skip'``), 0 or 1.
        ignore_index: Label of pixels that do not count.
        collect_device: Where results of several processes meet, ``'cpu'`` or ``'gpu'``.
        collect_dir: Shared directory they meet in where `collect_device` is ``'cpu'``; None: a temporary one.
        prefix: Put before each name, as in ``prefix/IoU``.
        backend_args: mmengine's file backend, for mask files.
    """

    def __init__(
        self,
        *,
        presets: ProtocolLike | Sequence[ProtocolLike] = ('exact',),
        threshold: float | None = None,
        distance: float = 3.0,
        connectivity: Connectivity = 8,
        empty: EmptyPolicy = 'skip',
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
        prefix: str | None = None,
        backend_args: dict | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if threshold is not None and not 0 <= threshold < 1:
            raise ValueError(f'threshold must be None or lie in [0, 1), not {threshold!r}')
        self.protocols = get_protocols(presets)
        self.others = [p for p in self.protocols if p.name != 'exact']
        if any(p.name == 'exact' and p != PRESETS['exact'] for p in self.protocols):
            raise ValueError(
                "presets: give a changed 'exact' another name, or change it with the metric's own arguments"
            )
        self.threshold = threshold
        self.empty = empty
        self.matching = {'distance': distance, 'connectivity': connectivity}
        self.ignore_index = ignore_index
        self.backend_args = backend_args
        nothing = np.zeros((1, 1), bool)  # a wrong parameter is refused here rather than after an epoch
        summarise(image_counts(nothing, nothing, **self.matching), empty=empty)

    def process(self, data_batch: object, data_samples: Sequence[Mapping]) -> None:
        """Append one :class:`ImageResult` per sample, never fewer: MMEngine drops the sampler's padding by counting.

        Of a dataset without masks (``metainfo['has_masks']`` is False) nothing is evaluated.
        """
        if not self._has_masks:
            return
        for sample in data_samples:
            name = sample.get('img_path') or sample.get('img_id', 'unnamed')
            truth = _map(sample, 'gt_sem_seg', name, 'the annotations must be loaded and packed at test time, too')
            try:
                exact = self._exact(sample, name, truth) if len(self.others) < len(self.protocols) else None
                others = self._others(sample, name, truth) if self.others else ()
            except ValueError as error:
                raise error if str(error).startswith(name) else ValueError(f'{name}: {error}') from error
            self.results.append(ImageResult(exact, others))

    def evaluate(self, size: int) -> dict[str, float]:
        """Evaluate `size` samples; a dataset without masks has no metrics, and the log says so."""
        if self._has_masks:
            return super().evaluate(size)
        print_log(f'{size} images without masks: nothing is evaluated', logger='current')
        return {}

    @property
    def _has_masks(self) -> bool:
        return (self.dataset_meta or {}).get('has_masks', True)

    def compute_metrics(self, results: list[ImageResult]) -> dict[str, float]:
        """Add up the counts, print one table and return the figures; of presets, those their repository reports."""
        metrics: dict[str, float] = {}
        rows: dict[str, Result] = {}
        heading = f'{len(results)} images'
        if len(self.others) < len(self.protocols):
            total = sum_counts(r.exact for r in results)
            figures = summarise(total, empty=self.empty)
            rows['exact'] = Result(protocol=PRESETS['exact'], figures=figures, counts=asdict(total))
            metrics.update(figures)
            heading = (
                f'{total.images} images ({total.images - total.target_images} without target): '
                f'{total.detected} of {total.targets} targets detected, '
                f'{total.false_components} false components of {total.false_pixels} pixels'
            )
        for i, protocol in enumerate(self.others):
            counts = sum_protocol_counts(r.others[i] for r in results)
            figures = protocol_figures(counts, protocol)
            rows[protocol.name] = Result(protocol=protocol, figures=figures)
            metrics.update({f'{protocol.name}/{k}': v for k, v in figures.items() if k in protocol.figures})
        table = text_table([rows[p.name] for p in self.protocols])
        print_log(f'{heading}\n{table}', logger='current')
        if 'exact' in rows and not total.targets:
            print_log(
                f'No mask holds a target: are targets labelled 1? {self.ignore_index} means "ignore".',
                logger='current',
                level=logging.WARNING,
            )
        return metrics

    def _exact(self, sample: Mapping, name: str, truth: np.ndarray) -> Counts:
        if self.threshold is None:
            prediction = _map(sample, 'pred_sem_seg', name, 'the segmentor made no prediction')
        else:
            prediction = _map(sample, 'seg_logits', name, 'a threshold needs probabilities of one channel')
        threshold = 0.5 if self.threshold is None else self.threshold  # mmseg gives masks as floating 0 and 1
        return image_counts(prediction, truth, threshold=threshold, ignore=self.ignore_index, **self.matching)

    def _others(self, sample: Mapping, name: str, truth: np.ndarray) -> tuple[ProtocolCounts, ...]:
        prediction = _map(sample, 'seg_logits', name, 'presets need probabilities of one channel')
        ignored = truth == self.ignore_index
        path = sample.get('seg_map_path')
        if path and fileio.isfile(path, backend_args=self.backend_args):
            mask = read_mask(path, self.backend_args)
            if ignored.any() and mask.shape != truth.shape:
                raise ValueError(f'{path} is {mask.shape}, so the ignored pixels of {truth.shape} have no place in it')
        else:
            mask = truth == 1
        ignore = ignored if ignored.any() else None
        return tuple(protocol_counts(prediction, mask, self.others, ignore=ignore, source=name))


def _map(sample: Mapping, key: str, name: str, hint: str) -> np.ndarray:
    """The (H, W) array under a key of a sample, from a (1, H, W) tensor."""
    if key not in sample:
        raise KeyError(f'{name}: no {key} to evaluate; {hint}')
    data = sample[key]['data']
    if data.ndim != 3 or data.shape[0] != 1:
        raise ValueError(f'{name}: {key} must be (1, H, W), got {tuple(data.shape)}; {hint}')
    data = data.float() if data.dtype == torch.bfloat16 else data  # numpy has no bfloat16
    return data[0].detach().cpu().numpy()
