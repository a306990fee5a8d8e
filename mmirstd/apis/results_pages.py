"""The results pages: tables between markers, pictures, and the metrics in the metafiles, all from records."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmirstd.apis.results_cells import DATASETS, Record, Results, TableError, weights_name
from mmirstd.apis.results_tables import TABLES, timed_models
from mmirstd.apis.run_records import RecordError, protocol_metrics, read_json, read_records
from mmirstd.evaluation.functional.counts import Counts
from mmirstd.evaluation.functional.sweeps import ComponentSweep, PixelSweep
from mmirstd.io.files import encode_png, write_atomically
from mmirstd.utils.configs import describe_configs
from mmirstd.utils.errors import ArgumentError, UserError
from mmirstd.utils.metafiles import DATASET_NAMES, is_tested_on, model_of
from mmirstd.visualization.accuracy_over_latency import AccuracyPoint, draw_accuracy_over_latency
from mmirstd.visualization.curves import draw_pd_fa, draw_pr
from mmirstd.visualization.training_curves import curve_of_lines, draw_curves, read_curve

RECORDS = 'records'
BENCHMARK = 'benchmark.json'
COSTS = 'costs'
LOGS = 'logs'
ABLATIONS = 'ablations'
_BLOCK = re.compile(r'(<!-- table: (?P<words>[^>]*?) -->\n)(?P<body>.*?)(<!-- end of table -->)', re.DOTALL)
_START = re.compile(r'<!-- table: ')
_ENTRY = re.compile(r'^  - Name: (?P<name>\S+)\n(?:(?!  - Name: ).*\n?)*', re.MULTILINE)


class PageError(UserError, ValueError):
    """A page with a marker that is not understood."""


def write_results(
    folder: str | Path,
    *,
    records: str | Path | None = None,
    pictures: str | Path | None = None,
    metafiles: str | Path | None = None,
) -> list[Path]:
    """Write tables, pictures and metafiles again from the records.

    A page has a line ``<!-- table: NAME ARGUMENTS -->`` and later ``<!-- end of table -->``; what is between them is
    replaced. The names are those of :data:`mmirstd.apis.results_tables.TABLES`.

    Args:
        folder: Of the pages, ``*.md``. ``benchmark.json`` in it, by ``mmirstd benchmark``, gives latencies, and
            ``costs/*.json``, by ``mmirstd flops --json``, parameters and multiply-adds of what was not timed.
            ``ablations/*.json`` are by ``mmirstd ablate``. ``logs/NAME.log`` is that of the training by a config, whose
            weights are in the package or lead to such.
        records: Folder of the records; by default ``records`` in ``folder``.
        pictures: Folder for curves; None: none are drawn.
        metafiles: Folder of configs whose metafiles get the metrics of packaged and trained weights; None: none.

    Returns:
        The files that changed.

    Raises:
        FileNotFoundError: If a folder is not there.
        PageError: If a marker is not understood.
        RecordError: If a file is no record.
    """
    folder = Path(folder)
    results = read_results(folder, records)
    made: dict[Path, bytes] = {path: text.encode() for path, text in render_pages(folder, results)}
    if metafiles is not None:
        made |= {path: text.encode() for path, text in render_metafiles(Path(metafiles), results.records)}
    if pictures is not None:
        made |= {Path(pictures, name): encode_png(pixels, 'rgb') for name, pixels in render_pictures(results)}
    changed = [path for path, content in made.items() if not path.is_file() or path.read_bytes() != content]
    for path in changed:
        write_atomically(path, made[path])
    return changed


def read_results(folder: Path, records: str | Path | None = None) -> Results:
    """The records of a folder of pages, its benchmark, and the logs of trainings."""
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no folder of pages {folder}')
    benchmark = folder / BENCHMARK
    timed = read_json(benchmark) if benchmark.is_file() else None
    costs = [read_json(path) for path in sorted((folder / COSTS).glob('*.json'))]
    logs = [folder / LOGS / f'{entry["name"]}.log' for entry in describe_configs()]
    ablations = {path.stem: read_json(path) for path in sorted((folder / ABLATIONS).glob('*.json'))}
    curves = {log.stem: read_curve(log) for log in logs if log.is_file()}
    return Results(read_records(records or folder / RECORDS), timed, costs, ablations=ablations, curves=curves)


def render_pages(folder: Path, results: Results) -> Iterator[tuple[Path, str]]:
    """Yield each page that has a marker, and its text with the tables of these results.

    Raises:
        PageError: If there is no such table, a block has no end, or the arguments do not fit.
    """
    for path in sorted(folder.glob('*.md')):
        text = path.read_text(encoding='utf-8')
        if len(_START.findall(text)) != len(_BLOCK.findall(text)):
            raise PageError(f'{path}: a line <!-- table: ... --> has no <!-- end of table --> after it')
        if _START.search(text):
            yield path, _BLOCK.sub(lambda found, path=path: _block(found, path, results), text)


def render_metafiles(folder: Path, records: Sequence[Record]) -> Iterator[tuple[Path, str]]:
    """Yield each metafile with the metrics of packaged and trained weights under ``exact``: percent, Fa in 1e-6.

    Weights count that were trained as their config says, and those of the package before others.

    Raises:
        ArgumentError: If the folder has no metafile.
    """
    paths = sorted(folder.glob('*/metafile.yml'))
    if not paths:
        raise ArgumentError(f'{folder} holds no */metafile.yml')
    chosen = [*filter(_is_trained_as_configured, records), *(r for r in records if r['weights']['kind'] == 'packaged')]
    metrics = {(r['config'], r['dataset']): _metafile_metrics(r) for r in chosen if not r['options']}
    for path in paths:
        text = path.read_text(encoding='utf-8')
        head, separator, models = text.partition('\nModels:\n')
        yield path, head + separator + _ENTRY.sub(lambda found: _entry(found, metrics), models)


def render_pictures(results: Results) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the pictures by name: curves of each set, accuracy over latency, training curves."""
    for dataset in DATASETS:
        runs = [r for r in results.of_kind('packaged', 'trained', 'published', 'none') if r['dataset'] == dataset]
        if runs:
            sweeps = {weights_name(r): sweeps_of(r) for r in runs}
            stem = dataset.lower()
            yield f'results_pr_{stem}.png', draw_pr({n: s[0] for n, s in sweeps.items()}, dataset)
            yield f'results_pd_fa_{stem}.png', draw_pd_fa({n: s[1] for n, s in sweeps.items()}, dataset)
    if results.benchmark is not None:
        for dataset in DATASETS:
            if points := accuracy_points(results, dataset):
                reference = results.benchmark['reference']
                pixels = draw_accuracy_over_latency(points, f'IoU on {dataset}', reference)
                yield f'results_latency_{dataset.lower()}.png', pixels
    if trained := results.of_kind('trained'):
        curves = [curve_of_lines(weights_name(r), r['training']['validation']) for r in trained]
        yield 'results_trainings.png', draw_curves(curves)


def accuracy_points(results: Results, dataset: str) -> list[AccuracyPoint]:
    """IoU on a set over the ratio of latencies, measured and quoted, of every model that was timed."""
    of_model = {model_of(e['name']): e['collection'] for e in describe_configs()}
    points = []
    for model, row in timed_models(results.benchmark).items():
        ratio = row['ratio']['median']
        for r in results.records:
            if r['model'] == model and r['dataset'] == dataset:
                points.append(AccuracyPoint(weights_name(r), ratio, protocol_metrics(r)['IoU'], measured=True))
        collection = results.collections.get(of_model.get(model))
        quotes = [q for q in (collection.quoted if collection else ()) if q.dataset == dataset and 'IoU' in q.metrics]
        if quote := next((q for q in quotes if q.model in (None, model)), None):
            points.append(AccuracyPoint(model, ratio, quote.metrics['IoU'] / 100, measured=False))
    return points


def sweeps_of(record: Record) -> tuple[PixelSweep, ComponentSweep]:
    """The curves that a record keeps."""
    kept = record['curves']
    thresholds = np.array(kept['thresholds'])
    counts = {key: np.array(value) if isinstance(value, list) else value for key, value in kept['counts'].items()}
    pixels = PixelSweep(thresholds, np.array(kept['target_bins']), np.array(kept['background_bins']))
    return pixels, ComponentSweep(thresholds, Counts(**counts))


def _block(found: re.Match, path: Path, results: Results) -> str:
    name, *arguments = found['words'].split()
    if name not in TABLES:
        raise PageError(f'{path}: there is no table {name}; there are {", ".join(TABLES)}')
    try:
        inspect.signature(TABLES[name]).bind(results, *arguments)
    except TypeError as error:
        raise PageError(f'{path}: table {found["words"]}: {error}') from None
    try:
        table = TABLES[name](results, *arguments)
    except (TableError, RecordError) as error:
        raise PageError(f'{path}: table {found["words"]}: {error}') from None
    return f'{found[1]}\n{table}\n\n{found[4]}'


def _entry(found: re.Match, metrics: Mapping[tuple[str, str], str]) -> str:
    """An entry of a model whose results are those of the records; where there is no record, it stays."""
    text = found[0]
    for (name, dataset), values in metrics.items():
        if name == found['name']:
            pattern = rf'(        Dataset: {re.escape(dataset)}\n        Metrics: )\{{.*\}}'
            text = re.sub(pattern, rf'\g<1>{values}', text)
    return text


def _is_trained_as_configured(record: Record) -> bool:
    """Whether its training had the schedule of its config, which is one for the set that was tested on."""
    training = record['training'] or {}
    return training.get('schedule') == 'config' and is_tested_on(record['config'], _ending(record))


def _metafile_metrics(record: Record) -> str:
    metrics = protocol_metrics(record)
    percent = {name: round(100 * metrics[name], 2) for name in ('IoU', 'nIoU', 'Pd') if metrics[name] is not None}
    values: dict[str, Any] = percent | ({} if metrics['Fa'] is None else {'Fa': round(metrics['Fa'], 2)})
    return '{' + ', '.join(f'{name}: {value:g}' for name, value in values.items()) + '}'


def _ending(record: Record) -> str:
    return {full: short for short, full in DATASET_NAMES.items()}.get(record['dataset'], record['dataset'])
