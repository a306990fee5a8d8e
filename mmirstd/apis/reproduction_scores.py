"""What a record keeps of saved predictions: metrics under all protocols, curves, and images with faults."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from mmirstd.apis.evaluate import curve_thresholds
from mmirstd.apis.tracing import pipeline_input
from mmirstd.evaluation.analysis.breakdowns import ImageRecord
from mmirstd.evaluation.analysis.pairing import FilePair
from mmirstd.evaluation.analysis.results import ProtocolResult, plain_results
from mmirstd.evaluation.analysis.scoring import PairReader, ScoredSet, score_pairs
from mmirstd.evaluation.functional.counts import sum_counts
from mmirstd.evaluation.functional.intervals import bootstrap_intervals
from mmirstd.evaluation.functional.protocols import PRESETS
from mmirstd.io.files import write_png
from mmirstd.io.masks import DEFAULT_RULE, MaskRule
from mmirstd.io.names import sample_names
from mmirstd.utils.errors import UserError

CURVE_THRESHOLDS = 15
# Decimals of what a record keeps; Fa, in 1e-6, has as many.
DECIMALS = 6


class ReproductionError(UserError, RuntimeError):
    """A run whose outcome cannot be right."""


def check_scorable(dataset: BaseDataset) -> None:
    """See that the predictions of a dataset can be scored.

    Raises:
        ReproductionError: If its masks follow several rules, or its first image has none.
    """
    mask_rule([dataset.get_data_info(i) for i in range(len(dataset))])
    if not dataset.get_data_info(0).get('seg_map_path'):
        rendered_mask(dataset, 0)


def score_predictions(dataset: BaseDataset, folder: Path, workers: int) -> ScoredSet:
    """Count saved predictions of a dataset under all protocols, with curves; masks that are rendered are saved, too.

    Raises:
        ReproductionError: If samples have neither mask files nor rendered masks.
    """
    names = sample_names(dataset)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    pairs = []
    for i, info in enumerate(infos):
        name = names[info['img_path']]
        mask = info.get('seg_map_path')
        if not mask:
            mask = folder / f'{name}_mask.png'
            write_png(mask, 255 * rendered_mask(dataset, i), flush=False)
        pairs.append(FilePair(name, folder / f'{name}.npz', Path(mask)))
    return score_pairs(
        pairs,
        list(PRESETS.values()),
        reader=PairReader(rule=mask_rule(infos)),
        rule=PRESETS['exact'],
        thresholds=curve_thresholds(CURVE_THRESHOLDS),
        workers=workers,
    )


def mask_rule(infos: Sequence[Mapping[str, Any]]) -> MaskRule:
    """The one rule that all masks of a dataset follow.

    Raises:
        ReproductionError: If there are several.
    """
    rules = {info.get('mask_rule') or DEFAULT_RULE for info in infos}
    if len(rules) > 1:
        raise ReproductionError(f'the masks of the dataset follow {len(rules)} rules: test the sets one by one')
    return rules.pop()


def rendered_mask(dataset: BaseDataset, index: int) -> np.ndarray:
    """The mask of an image that has no file of it.

    Raises:
        ReproductionError: If there is none.
    """
    mask = pipeline_input(dataset, index).get('gt_seg_map')
    if mask is None:
        raise ReproductionError('the protocols need a mask for every image of the dataset')
    return mask


def protocol_results(scored: ScoredSet, resamples: int) -> list[ProtocolResult]:
    """Metrics and intervals under all protocols."""
    results = []
    for protocol, counts in zip(PRESETS.values(), zip(*scored.counts, strict=True), strict=True):
        intervals = bootstrap_intervals(counts, protocol, resamples=resamples) if resamples else {}
        results.append(ProtocolResult.of(protocol, sum_counts(counts), intervals))
    return results


def compact_results(results: Sequence[ProtocolResult]) -> list[dict[str, Any]]:
    """Of each protocol what tables show, rounded; the settings are those of its name in this version."""
    found = []
    for entry in plain_results(results):
        kept = {'name': entry['name'], 'reported': entry['reported'], 'metrics': _rounded(entry['metrics'])}
        found.append(kept | {'intervals': {name: _rounded(value) for name, value in entry['intervals'].items()}})
    return found


def curves_of(scored: ScoredSet) -> dict[str, Any]:
    """What the curves are drawn from: pixels between thresholds, and counts above each, of ``exact``."""
    pixels, components = scored.sweeps
    counts = {name: value for name, value in asdict(components.counts).items() if np.any(value)}
    return {
        'thresholds': [float(f'{t:.6g}') for t in pixels.thresholds],
        'target_bins': pixels.target_bins,
        'background_bins': pixels.background_bins,
        'counts': {name: np.round(value, DECIMALS) for name, value in counts.items()},
    }


def faults_of(records: Sequence[ImageRecord]) -> dict[str, dict[str, int]]:
    """Images with missed targets, and with false components, and how many."""
    return {
        'missed': {r.img_id: r.missed for r in records if r.missed},
        'false': {r.img_id: len(r.false) for r in records if r.false},
    }


def _rounded(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _rounded(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_rounded(value) for value in values]
    return round(values, DECIMALS) if isinstance(values, float) else values
