"""Tables of trainings, from records and from logs."""

from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from mmirstd.apis.recipe_ablation import VariantResult, table_rows
from mmirstd.apis.results_cells import Results, TableError, fa, fraction, table, weights_name
from mmirstd.visualization.training_curves import TrainingCurve


def training_table(results: Results) -> str:
    """What the trainings took: iterations, the one that was chosen, time and processor time."""
    rows = []
    for r in results.of_kind('trained'):
        t = r['training']
        found = [v['IoU'] for v in t['validation'] if 'IoU' in v]
        rows.append(
            {
                'training': f'`{weights_name(r)}`',
                'iterations': t['iterations'],
                'chosen': t['chosen_iteration'],
                'validation IoU': fraction(max(found, default=None)),
                'minutes': f'{t["seconds"] / 60:.0f}',
                'processor minutes': f'{t["processor_seconds"] / 60:.0f}',
                'hardware': r['hardware'].get('gpu') or r['hardware']['cpu'],
            }
        )
    return table(rows)


def packaged_trainings_table(results: Results, pattern: str = '*') -> str:
    """The trainings that packaged weights come from: what they took, the checkpoint that was chosen, and the log."""
    rows = []
    for name, curve in _matching(results, pattern):
        best = int(np.nanargmax(curve.metrics['IoU']))
        chosen = {metric: float(curve.metrics[metric][best]) for metric in ('IoU', 'nIoU', 'Pd', 'Fa')}
        rows.append(
            {
                'weights': f'[`{name}`](logs/{name}.log)',
                'iterations': int(curve.iterations[-1]),
                'minutes': round(curve.minutes[-1]),
                'chosen iteration': int(curve.iterations[best]),
                **{f'validation {metric}': chosen[metric] for metric in ('IoU', 'nIoU', 'Pd')},
                'validation Fa': fa(chosen['Fa']),
            }
        )
    return table(rows)


def courses_table(results: Results, pattern: str, *minutes: str) -> str:
    """The best validation IoU of these trainings until each of some minutes.

    Raises:
        TableError: If a minute is no whole number.
    """
    if wrong := [m for m in minutes if not m.isdecimal()]:
        raise TableError(f'minutes are whole numbers, got {wrong[0]}')
    rows = []
    for name, curve in _matching(results, pattern):
        row: dict[str, Any] = {'weights': f'`{name}`'}
        for minute in map(int, minutes):
            until = curve.metrics['IoU'][curve.minutes <= minute]
            ended = curve.minutes[-1] <= minute - 10
            row[f'{minute} min'] = '' if ended or not until.size else f'{np.nanmax(until):.3f}'
        rows.append(row)
    return table(rows)


def ablation_table(results: Results, name: str) -> str:
    """The variants of a training, as ``mmirstd ablate`` lists them.

    Raises:
        TableError: If there is no ablation of this name, or its file is none.
    """
    if name not in results.ablations:
        raise TableError(f'there is no ablation {name}; there are {", ".join(results.ablations) or "none"}')
    try:
        found = [VariantResult(**entry) for entry in results.ablations[name]]
        return table(table_rows(found))
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise TableError(f'{name}.json is not what mmirstd ablate writes: {error}') from None


def _matching(results: Results, pattern: str) -> list[tuple[str, TrainingCurve]]:
    return [(name, curve) for name, curve in results.curves.items() if fnmatchcase(name, pattern)]
