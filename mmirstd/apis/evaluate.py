"""Evaluation of saved predictions, of any code, by any protocol: files to counts to analysis to one report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

from mmirstd.datasets.published_splits import SPLITS_DIR, load_published
from mmirstd.evaluation.analysis.breakdowns import Fault, ImageRecord, TargetRecord, by_image, worst_images
from mmirstd.evaluation.analysis.pairing import FilePair, pair_files, refuse_misfits
from mmirstd.evaluation.analysis.predictions import hold_labels
from mmirstd.evaluation.analysis.reports import breakdown_tables, markdown_report, provenance, sweep_summary
from mmirstd.evaluation.analysis.results import ProtocolResult, csv_table, plain_results, text_table
from mmirstd.evaluation.analysis.scoring import PairReader, score_pairs
from mmirstd.evaluation.functional.counts import sum_counts
from mmirstd.evaluation.functional.intervals import bootstrap_intervals
from mmirstd.evaluation.functional.protocols import PRESETS, Protocol, get_protocol, get_protocols
from mmirstd.evaluation.functional.sweeps import ComponentSweep, PixelSweep
from mmirstd.evaluation.functional.thresholds import sweep_thresholds
from mmirstd.io.files import refuse_overwriting, write_atomically, write_png
from mmirstd.io.ids import read_ids
from mmirstd.io.mask_content import judge_masks, mask_contents
from mmirstd.io.masks import MASK_THRESHOLD, MaskRule
from mmirstd.io.names import file_names, flat_name
from mmirstd.io.tables import csv_rows, json_bytes, markdown_rows
from mmirstd.utils.errors import UserError
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.text import as_list
from mmirstd.visualization.curves import save_curves
from mmirstd.visualization.detections import draw_detections

WORST_COLUMNS = ('img_id', 'targets', 'missed', 'false_components', 'false_pixels', 'IoU')


class EvaluationError(UserError, ValueError):
    """An option that does not fit the others, or nothing to evaluate."""


class Section(NamedTuple):
    """A part of a report.

    Attributes:
        title: What it is about.
        text: Tables in Markdown.
        key: Name in the plain data of the report.
        value: The same content as plain data.
        pictures: Files of pictures below the folder of the report, by what they show.
    """

    title: str
    text: str
    key: str
    value: Any
    pictures: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class PredictionEvaluation:
    """What the evaluation of a folder of predictions found.

    Attributes:
        results: Metrics, intervals and counts of each protocol.
        records: Targets and false components of each image.
        sweeps: Of pixels and of components over all thresholds; None: not asked for.
        sections: What the report has beside the metrics.
        provenance: What was evaluated, as plain data.
    """

    results: list[ProtocolResult]
    records: list[ImageRecord]
    sweeps: tuple[PixelSweep, ComponentSweep] | None
    sections: list[Section]
    provenance: dict[str, Any]

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Metrics by the name of the protocol."""
        return {result.name: dict(result.metrics) for result in self.results}

    @property
    def report(self) -> dict[str, Any]:
        """All that is needed to compute the metrics again, as plain data."""
        sections = {section.key: section.value for section in self.sections}
        return {**self.provenance, 'protocols': plain_results(self.results), **sections}

    def __str__(self) -> str:
        sections = [f'{section.title}:\n\n{section.text}' for section in self.sections]
        return '\n\n'.join([text_table(self.results), *sections])

    def write(self, folder: Path) -> None:
        """Write report.md, report.json, metrics.csv, images.csv and targets.csv."""
        links = ['\n'.join(f'![{name}]({file})' for name, file in s.pictures.items()) for s in self.sections]
        sections = [(s.title, f'{s.text}\n\n{link}'.strip()) for s, link in zip(self.sections, links, strict=True)]
        targets = [{'img_id': r.img_id, **t._asdict()} for r in self.records for t in r.targets]
        files = {
            'report.json': json_bytes(self.report),
            'report.md': markdown_report(self.provenance, self.results, sections),
            'metrics.csv': csv_table(self.results),
            'images.csv': csv_rows(by_image(self.records)),
            'targets.csv': csv_rows(targets, ('img_id', *TargetRecord._fields)),
        }
        for name, content in files.items():
            write_atomically(folder / name, content)


def evaluate_predictions(
    pred_dir: str | Path,
    mask_dir: str | Path,
    *,
    presets: str | Sequence[str] = ('exact',),
    settings: Mapping[str, Any] | Sequence[str] = (),
    img_dir: str | Path | None = None,
    split: str | None = None,
    nested: bool = False,
    pred_suffix: str | None = None,
    mask_suffix: str | None = None,
    img_suffix: str | None = None,
    key: str | None = None,
    labels: bool | None = None,
    mask_threshold: float = MASK_THRESHOLD,
    target_value: float | Sequence[float] | None = None,
    ignore_value: float | Sequence[float] | None = None,
    missing: Literal['refuse', 'skip', 'empty'] = 'refuse',
    allow_extra: bool = False,
    allow_sizes: bool = False,
    breakdown: bool = False,
    thresholds: int = 0,
    worst: int = 0,
    worst_by: Fault = 'IoU',
    resamples: int = 0,
    seed: int = 0,
    out: str | Path | None = None,
    json: str | Path | None = None,
    overwrite: bool = False,
    workers: int = 2,
    command: str = '',
) -> PredictionEvaluation:
    """Evaluate a folder of saved predictions.

    Args:
        pred_dir: Predictions: images, ``.npz``, ``.npy`` or ``.mat``.
        mask_dir: Masks, as published.
        presets: Names of protocols, or ``'all'``.
        settings: Fields of :class:`Protocol` to change in each, such as ``{'threshold': 0.4}``, or
            ``'KEY=VALUE'`` texts.
        img_dir: Images, for signal-to-clutter ratios and pictures.
        split: Text file of ids, or the name of a published split such as ``'NUAA-SIRST basicirstd/test'``; None: all
            masks.
        nested: Read folders below, too; they belong to the ids.
        pred_suffix: What follows the id in the names of predictions; None: usual ones are known.
        mask_suffix: The same of masks.
        img_suffix: The same of images.
        key: Name of the array in ``.npz`` and ``.mat`` files.
        labels: Whether predictions that are images hold labels 0 and 1; None: if none holds another value.
        mask_threshold: A mask pixel is target when its value is above, see :mod:`mmirstd.io.masks`.
        target_value: Value, or values, of target pixels in masks; all others are background. None: the threshold
            decides.
        ignore_value: Value, or values, of mask pixels that count nowhere.
        missing: What becomes of a mask without a prediction: an error, left out, or an empty prediction.
        allow_extra: Leave out predictions without a mask.
        allow_sizes: Allow predictions of another size than their masks: presets do as their codes do.
        breakdown: Add tables by target area and, with images, by signal-to-clutter ratio.
        thresholds: Number of thresholds of the curves; 0: no curves.
        worst: Number of the worst images to draw; needs `out`.
        worst_by: What makes an image bad: ``'IoU'``, ``'false_pixels'`` or ``'missed'``.
        resamples: Number of resamples of the images for 95 % intervals; 0: no intervals.
        seed: Of the resamples.
        out: Folder for the report, tables and pictures.
        json: File for the report as JSON.
        overwrite: Allow replacing files.
        workers: Number of processes that read and score.
        command: What the report says it was made by.

    Returns:
        Metrics, records, sweeps and the report.

    Raises:
        EvaluationError: If `worst` has no `out`, or there is no prediction of the split.
        FileExistsError: If an output is there already.
        MaskSetError: If it is not clear what in the masks is target.
        FileNotFoundError: If a folder, a split, a mask or an image is missing.
        PairingError: If predictions and masks do not fit.
        ProtocolError: If there is no such preset or setting.
        ScoringError: If a file cannot be evaluated.
    """
    pred_dir, mask_dir = Path(pred_dir), Path(mask_dir)
    img_dir, out, json = (None if path is None else Path(path) for path in (img_dir, out, json))
    if worst and out is None:
        raise EvaluationError('--worst (worst=) needs --out (out=), a folder to write to')
    try:
        mask_rule = MaskRule(mask_threshold, target_value, ignore_value)
    except ValueError as error:
        raise EvaluationError(str(error)) from error
    refuse_overwriting([path for path in (out, json) if path], overwrite)
    protocols, rule = choose_protocols(presets, settings)
    split_name, ids = load_split(split) if split else ('all masks', None)
    pairing = pair_files(
        pred_dir,
        mask_dir,
        img_dir=img_dir,
        ids=ids,
        pred_suffix=pred_suffix,
        mask_suffix=mask_suffix,
        img_suffix=img_suffix,
        nested=nested,
        key=key,
    )
    if json or out:
        read = [file for p in pairing.pairs for file in (p.prediction, p.mask, p.image) if file is not None]
        refuse_overwriting([path for path in (out, json) if path], overwrite, read)
    refuse_misfits(pairing, missing=missing != 'refuse', extra=allow_extra, sizes=allow_sizes)
    pairs = [p for p in pairing.pairs if p.prediction is not None or missing == 'empty']
    predictions = [p.prediction for p in pairs if p.prediction is not None]
    if not predictions:
        raise EvaluationError(f'{pred_dir} holds no prediction of {split_name}')
    judge_masks(mask_contents([str(pair.mask) for pair in pairs]), mask_rule, str(mask_dir))
    labels = hold_labels(predictions) if labels is None else labels
    reader = PairReader(labels=labels, key=key, rule=mask_rule)
    scored = score_pairs(
        pairs,
        protocols,
        reader=reader,
        rule=rule,
        thresholds=curve_thresholds(thresholds) if thresholds else None,
        scr=breakdown,
        workers=workers,
    )
    results = []
    for protocol, counts in zip(protocols, zip(*scored.counts, strict=True), strict=True):
        intervals = bootstrap_intervals(counts, protocol, resamples=resamples, seed=seed) if resamples else {}
        results.append(ProtocolResult.of(protocol, sum_counts(counts), intervals))
    sections = []
    if breakdown:
        sections.append(_breakdown_section(scored.records, with_scr=img_dir is not None))
    if scored.sweeps:
        sections.append(_curves_section(*scored.sweeps, pred_dir.resolve().name, out))
    if worst:
        chosen = worst_images(scored.records, worst_by, worst)
        sections.append(_worst_section(chosen, worst_by, pairs, reader, rule, out))
    about = provenance(
        pred_dir, mask_dir, split_name, pairing, pairs, labels=reader.labels, empty=missing == 'empty', command=command
    )
    about['mask_rule'] = asdict(mask_rule)
    about['bootstrap'] = {'level': 0.95, 'resamples': resamples, 'seed': seed} if resamples else None
    evaluation = PredictionEvaluation(results, scored.records, scored.sweeps, sections, about)
    if json:
        write_atomically(json, json_bytes(evaluation.report))
    if out:
        evaluation.write(out)
    return evaluation


def choose_protocols(
    presets: str | Sequence[str], settings: Mapping[str, Any] | Sequence[str]
) -> tuple[list[Protocol], Protocol]:
    """Return the presets, each changed by the settings, and the rule of breakdowns, curves and pictures.

    The rule is ``exact`` with the threshold, distance and connectivity of the settings.

    Raises:
        ProtocolError: If there is no such preset or field, or a value is not allowed.
    """
    presets = as_list(presets)
    if settings and not isinstance(settings, Mapping):
        from mmirstd.apis.configuration import parse_options  # imports MMSegmentation

        settings = parse_options(settings, '--set')
    settings = dict(settings)
    names = PRESETS if 'all' in presets else dict.fromkeys(presets)
    protocols = get_protocols([{'preset': name, **settings} for name in names])
    changes = {k: v for k, v in settings.items() if k in ('threshold', 'distance', 'connectivity')}
    return protocols, get_protocol('exact', **changes)


def load_split(split: str) -> tuple[str, list[str]]:
    """Return name and ids of a split: a text file, or a published one such as ``'NUAA-SIRST basicirstd/test'``.

    Raises:
        FileNotFoundError: If it is neither.
        ValueError: If the dataset is known and the split is not.
    """
    if Path(split).is_file():
        return Path(split).name, read_ids(split)
    dataset, _, name = split.partition(' ')
    if name and (SPLITS_DIR / dataset).is_dir():
        name, ids = load_published(dataset, name)
        return f'{dataset} {name}', ids
    known = ', '.join(sorted(p.name for p in SPLITS_DIR.iterdir() if p.is_dir()))
    raise FileNotFoundError(
        f"there is no split {split}: give a text file, or the name of a published one such as 'NUAA-SIRST "
        f"basicirstd/test' (of {known})"
    )


def curve_thresholds(number: int) -> np.ndarray:
    """Thresholds of curves: evenly spaced ones, as in PNG files, and far out ones, where networks put their values."""
    return np.unique(np.concatenate([sweep_thresholds(number), sweep_thresholds(number, 'logit')]))


def _breakdown_section(records: Sequence[ImageRecord], with_scr: bool) -> Section:
    tables = breakdown_tables(records, with_scr)
    text = '\n\n'.join(f'{title}:\n\n{markdown_rows(rows)}' for title, rows in tables.items())
    return Section('Breakdown (exact)', text, 'breakdown', tables)


def _curves_section(pixels: PixelSweep, components: ComponentSweep, name: str, out: Path | None) -> Section:
    summary = sweep_summary(pixels, components)
    text = '\n\n'.join(markdown_rows(rows) for rows in summary.values())
    files = save_curves(out, {name: pixels}, {name: components}, overwrite=True) if out else []
    return Section('Curves', text, 'curves', summary, {p.name: p.name for p in files if p.suffix == '.png'})


def _worst_section(
    worst: Sequence[ImageRecord], by: Fault, pairs: Sequence[FilePair], reader: PairReader, rule: Protocol, out: Path
) -> Section:
    by_id = {pair.img_id: pair for pair in pairs}
    pictures = []
    for rank, record in enumerate(progress_bar(worst, 'drawing'), 1):
        content = reader.read(by_id[record.img_id], with_image=True)
        found = content.prediction > rule.threshold
        if content.ignore is not None:
            found &= ~content.ignore
        shown = content.prediction if content.image is None else content.image
        drawn = draw_detections(
            shown[..., ::-1] if shown.ndim == 3 else shown,
            content.mask,
            found,
            name=record.img_id,
            distance=rule.distance,
            connectivity=rule.connectivity,
        )
        pictures.append(f'worst/{rank:03d}_{flat_name(file_names([record.img_id])[0])}.png')
        write_png(out / pictures[-1], drawn, 'rgb')
    ids = [record.img_id for record in worst]
    text = markdown_rows(by_image(worst), WORST_COLUMNS) if worst else 'No image is at fault.'
    value = {'by': by, 'images': ids, 'pictures': pictures}
    return Section(f'Worst images by {by}', text, 'worst', value, dict(zip(ids, pictures, strict=True)))
