"""The metric MMEngine runs: a shell around the pure functions of this package."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mmengine import fileio
from mmengine.dist import get_world_size, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmirstd.evaluation.analysis.results import ProtocolResult, text_table
from mmirstd.evaluation.functional.counts import Counts, count_image, sum_counts
from mmirstd.evaluation.functional.evaluated_image import EvaluatedImage
from mmirstd.evaluation.functional.protocols import PRESETS, EmptyPolicy, Protocol, ProtocolLike, get_protocols
from mmirstd.io.files import refuse_overwriting, write_png
from mmirstd.io.masks import MASK_THRESHOLD, MaskRule, read_mask
from mmirstd.io.names import file_names, flat_name, image_id
from mmirstd.ops.components import Connectivity
from mmirstd.ops.pairs import split_labels
from mmirstd.ops.samples import probability_map, refuse_non_finite_output, to_array
from mmirstd.registry import METRICS


@METRICS.register_module()
class IRSTDMetric(BaseMetric):
    """IoU, nIoU, Pd, Fa, precision, recall and F1 of infrared small target detection, in one pass.

    Fa is in false pixels per million pixels, all others are fractions in [0, 1]; pixels with label `ignore_index` count
    nowhere. The metrics are the same on one process and on several. To choose checkpoints by one of them:
    ``save_best='IoU', rule='greater'``.

    The protocol ``exact`` evaluates the labels of the samples, and its metrics have no name before theirs. Other
    presets are those of published evaluation code, named ``dnanet/IoU`` and so on, in the same table, see
    :mod:`mmirstd.evaluation.functional.protocols`. They need probabilities (`seg_logits` of one or two logits), and the
    values of the mask file, ``seg_map_path``, which is read again because the codes differ in what they make
    of them, by its ``mask_rule``. Where there is no such file, as for synthetic scenes, they get the labels of the
    sample.

    Args:
        presets: Names of presets, ``'all'``, or dicts such as ``dict(preset='dnanet', threshold=0.4)``.
        threshold: Changes ``exact``, like the next three: a number in [0, 1) evaluates the pixels with a higher target
            probability; None evaluates `pred_sem_seg` as the segmentor made it.
        distance: A target is detected by a component whose centroid is nearer than this, in pixels.
        connectivity: 4 or 8 neighbors make a component.
        empty: What an image with neither target nor prediction adds to nIoU: nothing (``'skip'``), 0 or 1.
        ignore_index: Label of pixels that do not count.
        collect_device: Where results of several processes meet, ``'cpu'`` or ``'gpu'``.
        collect_dir: Shared directory they meet in where `collect_device` is ``'cpu'``; None: a temporary one.
        prefix: Put before each name, as in ``prefix/IoU``.
        backend_args: mmengine's file backend, for mask files.
        output_dir: Empty folder for the predicted labels, 0 and 1, as MMSegmentation's ``test.py --out`` asks for them:
            ``000012_ID.png``. The position in the dataset comes first, since ``confusion_matrix.py`` pairs by order.
        keep_results: What ``test.py --out`` sets beside it. Nothing depends on it.

    Raises:
        ValueError: If there is no such preset, or a value is not allowed.
        FileExistsError: If `output_dir` is not empty.
    """

    default_prefix = ''  # no prefix is meant: MMEngine warns where it is None

    def __init__(
        self,
        *,
        presets: ProtocolLike | Sequence[ProtocolLike] = ('exact',),
        threshold: float | None = None,
        distance: float | None = None,
        connectivity: Connectivity | None = None,
        empty: EmptyPolicy | None = None,
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
        prefix: str | None = None,
        backend_args: dict | None = None,
        output_dir: str | None = None,
        keep_results: bool = False,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        given = {'threshold': threshold, 'distance': distance, 'connectivity': connectivity, 'niou_empty': empty}
        changes = {name: value for name, value in given.items() if value is not None}
        exact = replace(PRESETS['exact'], **changes)  # refuses wrong ones, whether or not exact is asked for
        self.protocols = [replace(p, **changes) if p.name == exact.name else p for p in get_protocols(presets)]
        self.uses_masks = threshold is None and all(
            p.threshold == PRESETS['exact'].threshold for p in self.protocols if p.name == exact.name
        )
        self.ignore_index = ignore_index
        self.backend_args = backend_args
        self.output_dir = None if output_dir is None else Path(output_dir)
        self._written = 0
        if self.output_dir and is_main_process():
            refuse_overwriting(self.output_dir)

    def process(self, data_batch: object, data_samples: Sequence[Mapping]) -> None:
        """Append the counts of each protocol for each sample, never fewer: MMEngine drops padding by counting.

        Of a dataset without masks (``metainfo['has_masks']`` is False) nothing is evaluated.

        Raises:
            NonFiniteOutputError: If a prediction is NaN or infinite.
        """
        for sample in data_samples:
            name = sample.get('img_path') or sample.get('img_id', 'unnamed')
            refuse_non_finite_output(sample, name)
            if self.output_dir:
                self._write_labels(sample, name)
            if not self._has_masks:
                continue
            try:
                self.results.append(self._count(sample, name))
            except ValueError as error:
                raise error if str(error).startswith(name) else ValueError(f'{name}: {error}') from error

    def directions(self) -> dict[str, str]:
        """``'greater'`` or ``'less'``, whichever is better, for each metric by its name."""
        names = [f'{"" if _is_exact(p) else f"{p.name}/"}{name}' for p in self.protocols for name in p.reported]
        prefix = f'{self.prefix}/' if self.prefix else ''
        return {f'{prefix}{name}': 'less' if name.rpartition('/')[2] == 'Fa' else 'greater' for name in names}

    def evaluate(self, size: int) -> dict[str, float]:
        """Evaluate `size` samples; a dataset without masks has no metrics, and the log says so."""
        if self._has_masks:
            return super().evaluate(size)
        print_log(f'{size} images without masks: nothing is evaluated', logger='current')
        return {}

    @property
    def _has_masks(self) -> bool:
        return (self.dataset_meta or {}).get('has_masks', True)

    def compute_metrics(self, results: list[list[Counts]]) -> dict[str, float]:
        """Add up the counts, print one table and return the metrics; of presets, those their repository reports."""
        totals = [sum_counts(counts) for counts in zip(*results, strict=True)]
        found = [ProtocolResult.of(p, counts) for p, counts in zip(self.protocols, totals, strict=True)]
        metrics: dict[str, float] = {}
        for result in found:
            prefix = '' if _is_exact(result.protocol) else f'{result.name}/'
            metrics.update({prefix + k: v for k, v in result.metrics.items() if k in result.protocol.reported})
        total = next((c for p, c in zip(self.protocols, totals, strict=True) if _is_exact(p)), totals[0])
        print_log(
            f'{total.images} images ({total.images - total.target_images} without target): '
            f'{total.detected} of {total.targets} targets detected, '
            f'{total.false_components} false components of {total.false_pixels} pixels\n{text_table(found)}',
            logger='current',
        )
        if not total.targets:
            print_log(
                f'No mask holds a target: are targets labeled 1? {self.ignore_index} means "ignore".',
                logger='current',
                level=logging.WARNING,
            )
        return metrics

    def _count(self, sample: Mapping, name: str) -> list[Counts]:
        labels = _map(sample, 'gt_sem_seg', name, 'the annotations must be loaded and packed at test time, too')
        images: dict[bool, EvaluatedImage] = {}
        for exact in {_is_exact(p) for p in self.protocols}:
            images[exact] = self._labeled(sample, name, labels) if exact else self._from_file(sample, name, labels)
        return [count_image(images[_is_exact(p)], p) for p in self.protocols]

    def _write_labels(self, sample: Mapping, name: str) -> None:
        labels = _map(sample, 'pred_sem_seg', name, 'the segmentor made no prediction').astype(np.uint8)
        file = flat_name(*file_names([str(sample.get('img_id') or image_id(name))]))
        if get_world_size() > 1 and 'sample_idx' not in sample:
            raise KeyError(f'{name}: output_dir needs sample_idx in the meta_keys of the packing transform')
        index = self._written if get_world_size() == 1 else sample['sample_idx']
        write_png(self.output_dir / f'{index:06d}_{file}.png', labels, flush=False)
        self._written += 1

    def _labeled(self, sample: Mapping, name: str, labels: np.ndarray) -> EvaluatedImage:
        if self.uses_masks:  # mmseg makes them floating 0 and 1
            prediction = _map(sample, 'pred_sem_seg', name, 'the segmentor made no prediction')
        else:
            prediction = probability_map(sample, name)
        return EvaluatedImage.from_labels(prediction, labels, self.ignore_index)

    def _from_file(self, sample: Mapping, name: str, labels: np.ndarray) -> EvaluatedImage:
        prediction = probability_map(sample, name)
        target, unlabeled = mask, ignored = split_labels(labels, self.ignore_index)
        path = sample.get('seg_map_path')
        if path and fileio.isfile(path, backend_args=self.backend_args):
            rule = sample.get('mask_rule')
            mask, of_file = read_mask(path, rule or MaskRule(), self.backend_args)
            if rule is None:
                _refuse_other_labels(mask, target, unlabeled, path)
            ignored = ignored if of_file is None else of_file
            if ignored is not None and mask.shape != ignored.shape:
                raise ValueError(f'{path} is {mask.shape}, so the ignored pixels of {labels.shape} have no place in it')
        return EvaluatedImage(prediction, mask, ignored)


def _is_exact(protocol: Protocol) -> bool:
    return protocol.name == PRESETS['exact'].name


def _refuse_other_labels(values: np.ndarray, target: np.ndarray, ignored: np.ndarray | None, path: str | Path) -> None:
    """See that a file means what the sample was labeled with: a rule that was not packed would be missed in silence."""
    if values.shape != target.shape:  # the labels were resized to the image, by a way that is not known here
        return
    other = (values > MASK_THRESHOLD) != target
    if ignored is not None:
        other &= ~ignored
    if other.any():
        raise ValueError(
            f'{path}: values above {MASK_THRESHOLD} are other pixels than the targets of gt_sem_seg, {other.sum()} of '
            f'{other.size}; add mask_rule to the meta_keys of the packing transform (PackIRSTDInputs has it by '
            'default), or leave seg_map_path out of them to evaluate gt_sem_seg'
        )


def _map(sample: Mapping, key: str, name: str, hint: str) -> np.ndarray:
    """The (H, W) array under a key of a sample, from a (1, H, W) tensor."""
    if key not in sample:
        raise KeyError(f'{name}: no {key} to evaluate; {hint}')
    data = sample[key]['data']
    if data.ndim != 3 or data.shape[0] != 1:
        raise ValueError(f'{name}: {key} must be (1, H, W), got {tuple(data.shape)}; {hint}')
    return to_array(data[0])
