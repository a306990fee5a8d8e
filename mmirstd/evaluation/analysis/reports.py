"""The report of an evaluation: its sections, what it was made of, and the whole in Markdown."""

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy

from mmirstd.evaluation.analysis.breakdowns import (
    ImageRecord,
    by_false_area,
    by_false_border,
    by_target_area,
    by_target_border,
    by_target_scr,
)
from mmirstd.evaluation.analysis.pairing import FilePair, Pairing
from mmirstd.evaluation.analysis.results import ProtocolResult, markdown_table, settings_table
from mmirstd.evaluation.functional.sweeps import ComponentSweep, PixelSweep
from mmirstd.io.ids import digest
from mmirstd.version import __version__

FALSE_ALARMS = (1, 10, 100)  # in 1e-6


def provenance(
    pred_dir: Path,
    mask_dir: Path,
    split: str,
    pairing: Pairing,
    evaluated: Sequence[FilePair],
    *,
    labels: bool,
    empty: bool,
    command: str,
) -> dict[str, Any]:
    """What a report is of, as plain data.

    Args:
        pred_dir: Folder of the predictions.
        mask_dir: Folder of the masks.
        split: Name of the split.
        pairing: All files of the split.
        evaluated: Those that were evaluated.
        labels: Whether predictions that are images hold labels.
        empty: Whether missing predictions were taken as empty.
        command: What made the report.
    """
    ids, used = ([pair.img_id for pair in pairs] for pairs in (pairing.pairs, evaluated))
    return {
        'predictions': str(pred_dir),
        'masks': str(mask_dir),
        'values': 'images with labels 0 and 1' if labels else 'probabilities; images as value / 255',
        'split': {'name': split, 'num': len(ids), 'sha256': digest(ids)},
        'evaluated': {'num': len(used), 'sha256': digest(used)},
        'missing': pairing.missing,
        'missing_are': 'taken as empty' if empty else 'left out',
        'extra': pairing.extra,
        'unlisted': pairing.unlisted,
        'sizes': pairing.sizes,
        'command': command,
        'versions': versions(),
    }


def markdown_report(
    report: Mapping[str, Any], results: Sequence[ProtocolResult], sections: Sequence[tuple[str, str]]
) -> str:
    """A whole report: the metrics, further sections, and what they were made of.

    Args:
        report: What :func:`provenance` returns, and `bootstrap`: level and resamples, or None.
        results: The metrics of each protocol.
        sections: What comes after the metrics, title and text.
    """
    split, used = report['split'], report['evaluated']
    lines = ['# Evaluation', '', f'{used["num"]} images of {split["name"]}, sha256 of the ids {used["sha256"]}']
    if split['sha256'] != used['sha256']:
        lines[-1] += f' (the whole split: {split["num"]} images, {split["sha256"]})'
    lines[-1] += '.'
    for text, items in (
        (f'without a prediction, {report["missing_are"]}', report['missing']),
        ('predictions without a mask, left out', report['extra']),
        ('of another size than the mask', list(report['sizes'].values())),
    ):
        if items:
            lines += ['', f'**{len(items)} {text}:** {", ".join(items)}.']
    lines += ['', '## Metrics', '', markdown_table(results)]
    if boot := report['bootstrap']:
        lines += ['', f'In brackets: {boot["level"]:.0%} intervals from {boot["resamples"]} resamples of the images.']
    for title, text in sections:
        lines += ['', f'## {title}', '', text]
    lines += ['', '## Made of', '', f'- predictions: `{report["predictions"]}`, {report["values"]}']
    lines += [f'- masks: `{report["masks"]}`', *([f'- command: `{report["command"]}`'] if report['command'] else [])]
    lines += ['- versions: ' + ', '.join(f'{name} {number}' for name, number in report['versions'].items())]
    lines += ['', '## Settings', '', settings_table([r.protocol for r in results])]
    sources = [f'{r.name}: {r.protocol.source}' for r in results if r.protocol.source]
    return '\n'.join([*lines, *(['', f'Sources: {"; ".join(sources)}.'] if sources else []), ''])


def breakdown_tables(records: Sequence[ImageRecord], with_scr: bool) -> dict[str, list[dict[str, Any]]]:
    """Tables of targets and of false components by area, distance to the border and, with an image, SCR of targets."""
    groups = {
        'Targets by area in pixels': by_target_area(records),
        'Targets by pixels to the border': by_target_border(records),
    }
    if with_scr:
        groups['Targets by signal-to-clutter ratio'] = by_target_scr(records)
    tables = {
        title: [
            {'group': g.label, 'targets': g.targets, 'detected': g.detected, 'Pd': g.pd, 'recall': g.recall}
            for g in found
        ]
        for title, found in groups.items()
    }
    false = {
        'False components by area in pixels': by_false_area(records),
        'False components by pixels to the border': by_false_border(records),
    }
    return tables | {
        title: [{'group': g.label, 'components': g.components, 'pixels': g.pixels} for g in found]
        for title, found in false.items()
    }


def sweep_summary(pixels: PixelSweep, components: ComponentSweep) -> dict[str, list[dict[str, Any]]]:
    """Tables of areas under curves, and of what oracle thresholds, chosen on the evaluated images, would have given."""
    best = components.oracle_threshold('IoU')
    points = [(fa, components.pd_at_fa(fa), components.pd_fa_area(fa)) for fa in FALSE_ALARMS]
    return {
        'pixels': [
            {
                'thresholds': len(pixels.thresholds),
                'AUC': pixels.auc(),
                'average precision': pixels.average_precision,
                'best IoU': best.value,
                'oracle threshold': best.threshold,
            }
        ],
        'oracle thresholds': [
            {'Fa at most (1e-6)': fa, 'Pd': p.pd, 'Fa': p.fa, 'oracle threshold': p.threshold, 'area under Pd-Fa': area}
            for fa, p, area in points
        ],
    }


def versions() -> dict[str, str]:
    """Versions of what computes the metrics."""
    modules = {'numpy': np, 'scipy': scipy, 'opencv': cv2}
    found = {name: module.__version__ for name, module in modules.items()}
    return {'mmirstd': __version__, 'python': platform.python_version(), **found}
