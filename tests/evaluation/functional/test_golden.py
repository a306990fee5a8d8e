"""Every preset against what the published code counts and prints (golden/, made as make_golden.md says)."""

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from golden import cases as golden

from mmirstd.evaluation.functional.counts import image_counts, protocol_counts, sum_counts
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.evaluation.functional.protocols import PRESETS, get_protocol

FOLDER = Path(golden.__file__).parent
FILES = {
    'acm': 'acm',
    'dnanet': 'dnanet',
    'mshnet': 'mshnet',
    'mshnet_512': dict(preset='mshnet', size=512),
    'irsam': 'irsam',
    'simir': 'simir',
    'simir_512': dict(preset='simir', size=512),
    'sctransnet': 'sctransnet',
    'basicirstd': 'basicirstd',
    'rpcanet': 'rpcanet',
    'rpcanet_native': 'rpcanet',
}
PER_IMAGE = ('inter_sigmoid', 'union_sigmoid', 'inter_sample', 'union_sample', 'nIoU')
LOGIT = ('inter', 'union', 'IoU', 'correct', 'targets', 'detected', 'false_area', 'denominator', 'Pd', 'Fa')
# Columns that the repository takes from logits > 0; all others come from probabilities.
FROM_LOGITS = {
    **dict.fromkeys(('acm', 'irsam', 'dnanet', 'mshnet', 'mshnet_512'), LOGIT),
    **dict.fromkeys(('simir', 'simir_512'), ('inter', 'union', 'IoU', 'correct')),
}
# float32 in the published code: agreement to 1e-6
SINGLE = {
    **dict.fromkeys(('simir', 'simir_512'), ('IoU', 'recall', 'precision')),
    **dict.fromkeys(('sctransnet', 'basicirstd'), ('Fa',)),
}


# column: what it is in the counts c and metrics f of the protocol; Fa is a fraction in the files
COLUMNS = {
    **{name: lambda c, f, name=name: getattr(c, name) for name in ('inter', 'union', 'images', 'tp', 'fp', 'fn')},
    **{name: lambda c, f, name=name: getattr(c, name) for name in ('targets', 'detected')},
    'false_area': lambda c, f: c.false_pixels,
    **{name: lambda c, f, name=name: f[name] for name in ('IoU', 'nIoU', 'Pd', 'precision', 'recall', 'F1', 'AUC')},
    'Fa': lambda c, f: f['Fa'] / 1e6,
    'correct': lambda c, f: c.inter,
    'false_pixels': lambda c, f: c.false_pixels,
    'denominator': lambda c, f: c.fa_pixels,
    'background': lambda c, f: c.fa_pixels,
    'roc_tp': lambda c, f: c.tp,
    'roc_fp': lambda c, f: c.fp,
    'roc_pos': lambda c, f: c.tp + c.fn,
    'roc_neg': lambda c, f: c.pixels - c.tp - c.fn,
    'roc_class_pos': lambda c, f: c.tp + c.fp,
}
# Sums that the repositories keep beside those of the preset are those of the preset with one change.
SAMPLES = {column: column.partition('_')[0] for column in PER_IMAGE if column != 'nIoU'}
VARIANTS = {
    **dict.fromkeys(SAMPLES, lambda p: replace(p, iou_mask=p.niou_mask)),
    'labeled': lambda p: replace(p, f1_mask=labeled_rule(p), missed_mask=labeled_rule(p)),
    **dict.fromkeys(('targets_first', 'detected_first', 'false_area_first'), lambda p: replace(p, threshold=0)),
    'unprinted_detected': lambda p: replace(p, matching='greedy', fa='legacy', fa_denominator='pixels'),
}
VARIANTS['unprinted_false_area'] = VARIANTS['unprinted_pixels'] = VARIANTS['unprinted_detected']
VARIANTS['unprinted_targets'] = VARIANTS['unprinted_detected']
COLUMNS |= {
    **{column: COLUMNS[name] for column, name in SAMPLES.items()},
    **{f'{name}_first': COLUMNS[name] for name in ('targets', 'detected', 'false_area')},
    **{f'unprinted_{name}': COLUMNS[name] for name in ('targets', 'detected', 'false_area')},
    'unprinted_pixels': lambda c, f: c.pixels,
    'labeled': lambda c, f: c.tp + c.fn,
}
# An IoU of the map without normalization, with an area of v / maximum >= 0.5: computed there and printed nowhere.
NOT_OURS = {'unprinted_inter', 'unprinted_union', 'unprinted_IoU'}


def labeled_rule(protocol):
    return '255' if protocol.name == 'acm' else '>0'


@cache
def cases():
    stored = json.loads((FOLDER / 'cases.json').read_text())
    found = {case.name: case for case in golden.cases()}
    assert {name: golden.digest(case) for name, case in found.items()} == stored['sha256'], 'numpy draws other cases'
    assert golden.sets() == stored['sets']
    return found, stored['sets']


def rows(name):
    """Name of a case or a set, its numbers by column, and the names of its images."""
    table = json.loads((FOLDER / f'{name}.json').read_text())
    found, sets = cases()
    members = {**{case: [case] for case in found}, **sets}
    assert set(table['cases']) == set(found)
    assert set(table['sets']) == set(sets)
    return [
        (row, dict(zip(table['columns'], values, strict=True)), members[row])
        for row, values in {**table['cases'], **table['sets']}.items()
    ]


def exact_probability(logit):
    """Sigmoid in float64, in which a logit of 1e-8 is more than a half: stands for code that sees logits."""
    return 1 / (1 + np.exp(-logit.astype(np.float64)))


def same(column, value, expected, single):
    if expected is None or (expected == 'ZeroDivisionError' and column != 'Fa'):
        return math.isnan(value)
    if expected == 'ZeroDivisionError':  # get() of some repositories loses Fa with Pd
        return math.isnan(value) or value >= 0
    if column == 'roc_neg' and expected > 2**24:  # added up in float32
        return value == pytest.approx(expected, rel=1e-6)
    if column in ('IoU', 'nIoU', 'Pd', 'Fa', 'precision', 'recall', 'F1', 'AUC'):
        return value == pytest.approx(expected, rel=1e-6 if single else 1e-9, abs=1e-15)
    return value == expected


def check(name, preset, table):
    """Compare all rows of a table, and return how many numbers were."""
    columns = [column for column in table[0][1] if column not in NOT_OURS]
    protocols = {column: VARIANTS.get(column, lambda p: p)(preset) for column in columns}
    keys = {column: (column in FROM_LOGITS.get(name, ()), protocols[column]) for column in columns}
    counts = {}
    for image in dict.fromkeys(image for *_, members in table for image in members):
        case = cases()[0][image]
        native = preset.shape is None or name == 'rpcanet_native'
        logit = case.logit if native else golden.at_size(case.logit, preset.shape)
        for sees_logits in (True, False):
            wanted = list({protocol: None for logits, protocol in keys.values() if logits == sees_logits})
            if wanted:
                prediction = (exact_probability if sees_logits else golden.probability)(logit)
                found = protocol_counts(prediction, case.mask, wanted)
                counts |= {(image, sees_logits, p): c for p, c in zip(wanted, found, strict=True)}
    compared, wrong = 0, []
    for row, numbers, members in table:
        totals = {}
        for column in columns:
            key = keys[column]
            if key not in totals:
                total = sum_counts(counts[(member, *key)] for member in members)
                totals[key] = total, compute_metrics(total, key[1])
            total, metrics = totals[key]
            if column.startswith('unprinted') and total.fa_images < total.images:
                continue  # there an empty mask is one target as large as the image
            value = COLUMNS[column](total, metrics)
            compared += 1
            if not same(column, value, numbers[column], column in SINGLE.get(name, ())):
                wrong.append((row, column, value, numbers[column]))
    assert not wrong, f'{len(wrong)} of {compared}: {wrong[:10]}'
    return compared


@pytest.mark.parametrize('name', FILES)
def test_preset_counts_and_prints_what_its_repository_does(name):
    table = rows(name)
    compared = check(name, get_protocol(FILES[name]), table)
    columns = set(table[0][1]) - NOT_OURS
    assert compared >= len(table) * len([column for column in columns if not column.startswith('unprinted')])


@pytest.mark.parametrize(
    ('name', 'change'),
    [
        ('acm', dict(size=256)),
        ('acm', dict(niou_empty='skip')),
        ('dnanet', dict(fa='exact')),
        ('dnanet', dict(iou_mask='255')),
        ('dnanet', dict(missed_mask='255')),
        ('dnanet', dict(ratio_eps=0)),
        ('mshnet', dict(matching='nearest')),
        ('mshnet', dict(matching='hungarian')),
        ('mshnet', dict(mask_interpolation='opencv-nearest')),
        ('irsam', dict(distance=3.001)),
        ('irsam', dict(connectivity=4)),
        ('simir', dict(target_mask='255')),
        ('sctransnet', dict(f1_eps=0)),
        ('basicirstd', dict(fa='legacy')),
        ('rpcanet', dict(normalize=False)),
        ('rpcanet', dict(skip_empty=False)),
        ('rpcanet', dict(fa='exact')),
        ('rpcanet', dict(fa_denominator='pixels')),
        ('rpcanet', dict(auc_bins=100)),
        ('rpcanet', dict(mask_interpolation='pillow-nearest')),
        ('rpcanet_native', dict(pred_interpolation='pillow-bilinear')),
    ],
)
def test_the_golden_rows_see_every_setting(name, change):
    """That is, the test above can fail. The smaller images are enough."""
    changed = get_protocol(dict(preset=FILES[name], name=name, **change))
    table = [row for row in rows(name) if len(row[2]) == 1 and not row[0].endswith('_512')]
    with pytest.raises(AssertionError, match=r'^\d+ of \d+: '):
        check(name, changed, table)


def test_exact_and_pyirstdmetrics_agree_on_what_both_compute():
    found = cases()[0]
    masks = {name: case.mask > 128 for name, case in found.items()}  # their rule, applied before their code
    protocol = replace(PRESETS['exact'], niou_empty=0)
    counts = {name: protocol_counts(golden.probability(c.logit), masks[name], [protocol]) for name, c in found.items()}
    plain = {name: image_counts(golden.probability(c.logit), masks[name]) for name, c in found.items()}
    compared = 0
    for row, numbers, members in rows('pyirstdmetrics'):
        total = sum_counts(counts[member][0] for member in members)
        ours = {
            'tp': total.tp,
            'fp': total.fp,
            'fn': total.fn,
            'tn': total.pixels - total.tp - total.fp - total.fn,
            'pixels': total.pixels,
            'distance_tp': total.detected,
            'distance_fp': total.false_components,
            'distance_fn': total.targets - total.detected,
            'distance_fp_area': total.false_pixels,
            'shooting_targets': total.targets,
        }
        assert ours == {name: numbers[name] for name in ours}, row
        metrics = compute_metrics(total, protocol)
        metrics |= {'distance_Pd': metrics['Pd'], 'distance_Fa': metrics['Fa'] / 1e6}
        for name in ('IoU', 'nIoU', 'F1', 'precision', 'recall', 'distance_Pd', 'distance_Fa'):
            value = 0 if math.isnan(metrics[name]) else metrics[name]  # 0 / 0 is 0 there
            assert value == pytest.approx(numbers[name], rel=1e-9, abs=1e-12), (row, name)
            compared += 1
        np.testing.assert_equal(
            compute_metrics(total, protocol),
            compute_metrics(sum_counts(plain[member] for member in members), niou_empty=0),
        )
    assert compared == 7 * 142
