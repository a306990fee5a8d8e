"""Tables of what weights do on images that they were not made for: other sets, scenes without targets, hard images."""

from collections import Counter
from collections.abc import Sequence

from mmirstd.apis.results_cells import (
    DATASETS,
    Record,
    Results,
    fa,
    fraction,
    num_targets,
    table,
    trained_on,
    weights_key,
    weights_name,
    with_interval,
)
from mmirstd.apis.run_records import protocol_metrics
from mmirstd.utils.metafiles import DATASET_NAMES

HARD_IMAGES = 5


def cross_set_table(results: Results) -> str:
    """Trained on what, tested on what: IoU on each set; in italics where a part of that set was trained on."""
    cells: dict[tuple[str, str | None], dict[str, str]] = {}
    for r in results.of_kind('packaged', 'trained', 'published', 'given', 'none'):
        row = cells.setdefault(weights_key(r), {'weights': f'`{weights_name(r)}`', 'trained on': trained_on(r)})
        value = fraction(protocol_metrics(r)['IoU'])
        seen = any(split['dataset'] == r['dataset'] for split in r['weights']['trained_on'])
        row[r['dataset']] = f'*{value}*' if seen else value
    columns = ['weights', 'trained on', *DATASETS]
    return table([{name: row.get(name, '-') for name in columns} for row in cells.values()])


def best_unseen_table(results: Results) -> str:
    """Of each set the highest IoU of weights that were not trained on it."""
    rows = []
    for dataset in DATASETS:
        if unseen := _unseen(results.records, dataset):
            best = _best(unseen)
            rows.append(
                {
                    'unseen set': dataset,
                    'best weights': f'`{weights_name(best)}`',
                    'trained on': trained_on(best),
                    'IoU': with_interval(best, 'IoU'),
                    'of': f'{len(unseen)} weights',
                }
            )
    return table(rows)


def left_out_table(results: Results) -> str:
    """Trainings that leave a set out, on its test split, beside the best published weights that did not see it."""
    rows = []
    for dataset in DATASETS:
        ending = next(short for short, full in DATASET_NAMES.items() if full == dataset)
        others = _unseen(results.of_kind('published'), dataset)
        for r in results.of_kind('trained'):
            if r['dataset'] == dataset and r['config'].endswith(f'_no-{ending}'):
                row = {'left out': dataset, 'training': f'`{r["config"]}`', 'IoU': with_interval(r, 'IoU')}
                row |= {name: fraction(protocol_metrics(r)[name]) for name in ('nIoU', 'Pd')}
                row['Fa'] = fa(protocol_metrics(r)['Fa'])
                best = _best(others) if others else None
                row['best published weights'] = f'`{weights_name(best)}`' if best else '-'
                row |= {
                    f'their {name}': fraction(best and protocol_metrics(best)[name]) for name in ('IoU', 'nIoU', 'Pd')
                }
                row['their Fa'] = fa(protocol_metrics(best)['Fa']) if best else '-'
                rows.append(row)
    return table(rows)


def _unseen(records: Sequence[Record], dataset: str) -> list[Record]:
    """Those of weights that say what they were trained on, and were not on this set."""
    return [
        r
        for r in records
        if r['dataset'] == dataset
        and protocol_metrics(r)['IoU'] is not None
        and r['weights']['trained_on']
        and all(split['dataset'] != dataset for split in r['weights']['trained_on'])
    ]


def _best(records: Sequence[Record]) -> Record:
    return max(records, key=lambda r: protocol_metrics(r)['IoU'])


def empty_table(results: Results) -> str:
    """False alarms at the threshold 0.5 where there is no target."""
    rows = []
    for r in sorted((r for r in results.records if not num_targets(r)), key=lambda r: weights_name(r).lower()):
        num, false = r['split']['num'], r['faults']['false']
        rows.append(
            {
                'weights': f'`{weights_name(r)}`',
                'trained on': trained_on(r),
                'images': f'{num}, {r["dataset"]}',
                'with a false alarm': f'{len(false) / num:.1%}',
                'false alarms per image': f'{sum(false.values()) / num:.2f}',
                'Fa': fa(protocol_metrics(r)['Fa']),
            }
        )
    return table(rows)


def hard_cases_table(results: Results) -> str:
    """Images whose targets the most weights miss, and by how many they were tested."""
    rows = []
    for dataset in DATASETS:
        runs = [r for r in results.records if r['dataset'] == dataset]
        missed = Counter(img for r in runs for img in r['faults']['missed'])
        ranked = sorted(missed.items(), key=lambda item: (-item[1], item[0]))[:HARD_IMAGES]
        for img_id, count in ranked:
            hit = [weights_name(r) for r in runs if img_id not in r['faults']['missed']]
            rows.append(
                {
                    'set': dataset,
                    'image': img_id,
                    'a target missed by': f'{count} of {len(runs)} weights',
                    'all found by': ', '.join(f'`{name}`' for name in hit[:3]) or '-',
                }
            )
    return table(rows)
