"""Tables of the results pages, each a function of the records: no number in them is typed."""

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

from mmirstd.apis.generalization_tables import (
    best_unseen_table,
    cross_set_table,
    empty_table,
    hard_cases_table,
    left_out_table,
)
from mmirstd.apis.planned_run import Kind
from mmirstd.apis.results_cells import (
    Record,
    Results,
    TableError,
    fa,
    fraction,
    percent,
    table,
    trained_on,
    weights_key,
    weights_name,
    with_interval,
)
from mmirstd.apis.run_records import protocol_metrics
from mmirstd.apis.training_tables import ablation_table, courses_table, packaged_trainings_table, training_table
from mmirstd.evaluation.analysis.results import ProtocolResult, markdown_table
from mmirstd.evaluation.functional.protocols import PRESETS
from mmirstd.utils.configs import describe_configs
from mmirstd.utils.metafiles import (
    DATASET_NAMES,
    Collection,
    QuotedResult,
    ReferenceResult,
    model_of,
    published_weights,
)


def main_table(results: Results, *kinds: str) -> str:
    """Metrics under ``exact`` with 95 % intervals of IoU, of weights of the package and trained ones by default.

    Raises:
        TableError: If there is no such kind of weights.
    """
    if unknown := set(kinds) - set(get_args(Kind)):
        raise TableError(f'there is no kind {sorted(unknown)[0]}; there are {", ".join(get_args(Kind))}')
    rows = []
    for r in results.of_kind(*(kinds or ('packaged', 'trained'))):
        metrics = protocol_metrics(r)
        rows.append(
            {
                'weights': f'`{weights_name(r)}`',
                'trained on': trained_on(r),
                'test split': f'{r["dataset"]}, {r["split"]["num"]} images',
                'IoU': with_interval(r, 'IoU'),
                **{name: fraction(metrics[name]) for name in ('nIoU', 'Pd')},
                'Fa': fa(metrics['Fa']),
                'F1': fraction(metrics['F1']),
            }
        )
    return table(rows)


def protocols_table(results: Results, name: str) -> str:
    """One record under all protocols, as in a report of ``mmirstd eval``."""
    found = [
        ProtocolResult(
            protocol=PRESETS[entry['name']],
            metrics={key: math.nan if value is None else value for key, value in entry['metrics'].items()},
        )
        for entry in results.record(name)['protocols']
        if entry['name'] in PRESETS
    ]
    return markdown_table(found)


def protocol_spread_table(results: Results) -> str:
    """The lowest and the highest IoU, Pd and Fa that protocols give to one set of predictions."""
    rows = []
    for r in results.of_kind('packaged', 'trained', 'published', 'none'):
        row = {'weights': f'`{weights_name(r)}`', 'test split': r['dataset']}
        for name in ('IoU', 'Pd', 'Fa'):
            values = [e['metrics'][name] for e in r['protocols'] if e['metrics'].get(name) is not None]
            show = fa if name == 'Fa' else fraction
            row[name] = f'{show(min(values))} to {show(max(values))}' if values else '-'
        rows.append(row)
    return table(rows)


def published_weights_table(results: Results) -> str:
    """Weights of others, measured here beside what was measured outside of this project."""
    known = {w.name: w for w in published_weights()}
    rows = []
    for r in results.of_kind('published'):
        weights, metrics = known.get(r['weights']['name']), protocol_metrics(r)
        reference = weights.reference.get(r['dataset']) if weights else None
        rows.append(
            {
                'weights': f'`{weights_name(r)}`',
                'network': f'`{r["model"]}`',
                'trained on': trained_on(r),
                'test split': r['dataset'],
                'IoU': fraction(metrics['IoU']),
                'reference': '-' if reference is None else _measured_elsewhere(reference),
                'Pd': fraction(metrics['Pd']),
                'Fa': fa(metrics['Fa']),
            }
        )
    return table(rows)


def _measured_elsewhere(reference: ReferenceResult) -> str:
    return f'{reference.iou:g}' + (f' ({reference.conditions})' if reference.conditions else '')


def quotes_table(results: Results) -> str:
    """All published results that the metafiles quote, each with its source."""
    rows = []
    for collection in sorted(results.collections.values(), key=lambda c: c.name.lower()):
        for quote in collection.quoted:
            rows.append(
                {
                    'method': collection.name + (f', `{quote.model}`' if quote.model else ''),
                    'dataset': quote.dataset,
                    **{name: _quoted(quote, name) for name in ('IoU', 'nIoU', 'Pd', 'Fa')},
                    'quoted from': quote.source + (f'; {quote.note}' if quote.note else ''),
                }
            )
    return table(rows)


def side_by_side_table(results: Results) -> str:
    """Every model: its source, what it costs, what is quoted, and what was measured here from which weights."""
    timed = timed_models(results.benchmark)
    measured: dict[str, dict[tuple[str, str | None], dict[str, Record]]] = {}
    for r in results.records:
        measured.setdefault(r['model'], {}).setdefault(weights_key(r), {})[r['dataset']] = r
    counted = {model_of(cost['config']): cost for cost in results.costs} | timed
    of_model = {model_of(e['name']): e['collection'] for e in describe_configs()}
    shown = {m: c for m, c in of_model.items() if m in measured or m in counted}
    for collection in results.collections.values():  # what is known of by quotes alone
        quoted = [q.model for q in collection.quoted if q.model]
        known = [m for m, c in of_model.items() if c == collection.name]
        if quoted or (collection.quoted and collection.name not in shown.values()):
            shown |= dict.fromkeys(quoted or known[:1] or [collection.name], collection.name)
    rows = []
    for model, name in sorted(shown.items(), key=lambda item: (str(item[1]).lower(), item[0])):
        collection = results.collections.get(name) or Collection(name=str(name or '-'))
        row = _source_cells(model, collection) | _cost_cells(model, counted, measured.get(model, {}))
        row |= _quoted_cells(collection, model)
        for (weights, _), runs in measured.get(model, {('-', None): {}}).items():
            cells = {f'measured {short}': percent(runs.get(full)) for short, full in DATASET_NAMES.items()}
            rows.append(row | cells | {'with': weights if weights == '-' else f'`{weights}`'})
            row = dict.fromkeys(row, '')  # one row more for each further file of weights
    return table(rows)


# Name in the marker of a page -> table; words after the name are arguments.
TABLES: dict[str, Callable[..., str]] = {
    'main': main_table,
    'trainings': training_table,
    'packaged-trainings': packaged_trainings_table,
    'courses': courses_table,
    'ablation': ablation_table,
    'protocols': protocols_table,
    'protocol-spread': protocol_spread_table,
    'cross-set': cross_set_table,
    'best-unseen': best_unseen_table,
    'left-out': left_out_table,
    'published-weights': published_weights_table,
    'quotes': quotes_table,
    'side-by-side': side_by_side_table,
    'hard-cases': hard_cases_table,
    'empty': empty_table,
}


def _quoted(quote: QuotedResult, metric: str) -> str:
    return f'{quote.metrics[metric]:g}' if metric in quote.metrics else '-'


def timed_models(benchmark: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """Rows of the benchmark by model; of several forms the first."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in (benchmark or {}).get('models', ()):
        found.setdefault(model_of(row['config']), row)
    return found


def _source_cells(model: str, collection: Collection) -> dict[str, str]:
    code = collection.code
    source = f'[{collection.name}]({code})' if code else collection.name
    return {'model': f'`{model}`', 'source': source, 'license': collection.license or '-'}


def _cost_cells(model: str, counted: Mapping[str, Any], measured: Mapping[Any, Mapping[str, Record]]) -> dict[str, str]:
    """Parameters, multiply-adds and the ratio of latencies; multiply-adds of the size that the network sees."""
    row = counted.get(model) or next((r['costs'] for runs in measured.values() for r in runs.values()), {})
    params, macs = row.get('params'), row.get('macs')
    return {
        'parameters': f'{params / 1e6:.3f} M' if params else '-',
        'multiply-adds': f'{macs / 1e9:.3g} G' if params and macs else '-',
        'latency ratio': f'{row["ratio"]["median"]:.2f}' if 'ratio' in row else '-',
    }


def _quoted_cells(collection: Collection, model: str) -> dict[str, str]:
    """The first quote of each set that is of this model."""
    fitting = [q for q in collection.quoted if q.model in (None, model) and 'IoU' in q.metrics]
    first: dict[str, QuotedResult] = {}
    for quote in fitting:
        first.setdefault(quote.dataset, quote)
    cells = {f'quoted {s}': f'{first[d].metrics["IoU"]:g}' if d in first else '-' for s, d in DATASET_NAMES.items()}
    return cells | {'quoted from': ', '.join(dict.fromkeys(q.source for q in first.values())) or '-'}
