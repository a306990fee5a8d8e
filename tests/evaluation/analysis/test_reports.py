"""Tables and files of metrics."""

import csv
import io
import json
import math
from dataclasses import asdict

import numpy as np
import pytest

import mmirstd
from mmirstd.evaluation.analysis.breakdowns import image_record
from mmirstd.evaluation.analysis.reports import breakdown_tables, markdown_report, sweep_summary, versions
from mmirstd.evaluation.analysis.results import (
    ProtocolResult,
    csv_table,
    markdown_table,
    plain_results,
    settings_table,
    text_table,
)
from mmirstd.evaluation.functional.protocols import PRESETS, get_protocols
from mmirstd.evaluation.functional.sweeps import component_sweep, pixel_sweep, sum_sweeps

METRICS = {'IoU': 0.5, 'nIoU': 0.25, 'Pd': math.nan, 'Fa': 12.3456, 'precision': 1.0, 'recall': 0.5, 'F1': 2 / 3}


def result(name='exact', intervals=None, **metrics):
    return ProtocolResult(
        protocol=PRESETS[name], metrics={**METRICS, **metrics}, intervals=intervals or {}, counts={'tp': 3}
    )


def cells(table):
    return [[c.strip() for c in line.strip('|').split('|')] for line in table.splitlines() if line.startswith('|')]


def test_of_exact_alone_there_is_no_name():
    rows = cells(text_table([result()]))
    assert rows == [
        ['IoU', 'nIoU', 'Pd', 'Fa (1e-6)', 'precision', 'recall', 'F1'],
        ['0.5000', '0.2500', '-', '12.35', '1.0000', '0.5000', '0.6667'],
    ]


@pytest.mark.parametrize('make', [text_table, markdown_table])
def test_unreported_metrics_are_in_parentheses(make):
    text = make([result(), result('dnanet', Pd=0.75), result('rpcanet', AUC=0.9)])
    rows = [row for row in cells(text) if not set(row[0]) <= {'-'}]
    assert rows[0] == ['protocol', 'IoU', 'nIoU', 'Pd', 'Fa (1e-6)', 'precision', 'recall', 'F1', 'AUC']
    assert rows[1][-1] == '-'
    assert rows[2] == ['dnanet', '0.5000', '(0.2500)', '0.7500', '12.35', '1.0000', '0.5000', '(0.6667)', '-']
    assert rows[3][-1] == '0.9000'
    assert text.endswith('its repository does not report it.)')
    assert 'parentheses' not in make([result()])


def test_intervals():
    bounds = {'IoU': (0.4, 0.61234), 'Fa': (1.0, 20.5)}
    rows = cells(markdown_table([result('acm', bounds)]))
    assert rows[2][1] == '0.5000 [0.4000, 0.6123]'
    assert rows[2][3] == '(12.35) [1.00, 20.50]'
    lines = cells(text_table([result('acm', bounds)]))
    assert [line[1] for line in lines] == ['IoU', '0.5000', '[0.4000, 0.6123]']


def test_csv_has_all_digits():
    rows = list(csv.DictReader(io.StringIO(csv_table([result('acm', {'F1': (0.1, 1 / 3)}), result()]).decode())))
    assert len(rows) == 14
    assert rows[6] == {
        'protocol': 'acm',
        'metric': 'F1',
        'value': repr(2 / 3),
        'low': '0.1',
        'high': repr(1 / 3),
        'reported': 'false',
    }
    assert rows[2]['value'] == ''
    assert rows[7] == {'protocol': 'exact', 'metric': 'IoU', 'value': '0.5', 'low': '', 'high': '', 'reported': 'true'}


def test_json_makes_the_protocol_again():
    data = json.loads(json.dumps(plain_results([result('sctransnet')]), allow_nan=False))
    assert data[0]['metrics']['Pd'] is None
    assert data[0]['metrics']['F1'] == 2 / 3
    assert data[0]['reported'] == ['IoU', 'nIoU', 'Pd', 'Fa', 'F1']
    assert data[0]['counts'] == {'tp': 3}
    assert get_protocols([data[0]['settings']]) == [PRESETS['sctransnet']]


def test_settings():
    text = settings_table([PRESETS['exact'], PRESETS['dnanet']])
    assert '| fa | exact | legacy |' in text
    assert '| size | none | 256 |' in text
    assert 'Alike in all: threshold 0.5, normalize no, ' in text
    assert settings_table([PRESETS['exact']]).startswith('Settings: threshold 0.5, ')
    odd = get_protocols([{'preset': 'acm', 'size': (96, 128)}])
    assert 'size 96 x 128' in settings_table(odd)


def report(**changes):
    return {
        'predictions': 'out/pred',
        'masks': 'data/masks',
        'values': 'probabilities',
        'split': {'name': 'test.txt', 'num': 3, 'sha256': 'aaa'},
        'evaluated': {'num': 3, 'sha256': 'aaa'},
        'missing': [],
        'missing_are': 'left out',
        'extra': [],
        'sizes': {},
        'bootstrap': None,
        'command': 'mmirstd eval out/pred data/masks',
        'versions': {'mmirstd': '1'},
        **changes,
    }


def test_a_report_says_what_it_is_of():
    text = markdown_report(report(), [result(), result('acm')], [('More', 'whatever')])
    assert text.startswith('# Evaluation\n\n3 images of test.txt, sha256 of the ids aaa.\n\n## Metrics\n')
    assert '## More\n\nwhatever\n' in text
    assert '- predictions: `out/pred`, probabilities\n- masks: `data/masks`\n- command: `mmirstd eval' in text
    assert f'Sources: acm: {PRESETS["acm"].source}.' in text
    assert '**' not in text
    assert 'intervals' not in text


def test_a_report_says_what_did_not_fit():
    changes = {
        'evaluated': {'num': 2, 'sha256': 'bbb'},
        'missing': ['x'],
        'extra': ['y.png', 'z.png'],
        'sizes': {'w': 'w.png is 3x4, w_gt.png is 5x6'},
        'bootstrap': {'level': 0.95, 'resamples': 100, 'seed': 0},
    }
    text = markdown_report(report(**changes), [result()], [])
    assert '2 images of test.txt, sha256 of the ids bbb (the whole split: 3 images, aaa).' in text
    assert '**1 without a prediction, left out:** x.' in text
    assert '**2 predictions without a mask, left out:** y.png, z.png.' in text
    assert '**1 of another size than the mask:** w.png is 3x4, w_gt.png is 5x6.' in text
    assert 'In brackets: 95% intervals from 100 resamples of the images.' in text


@pytest.fixture
def pair():
    mask = np.zeros((40, 40), np.uint8)
    mask[5:8, 5:8] = mask[20:30, 20:30] = 255
    probabilities = np.zeros(mask.shape, np.float32)
    probabilities[5:8, 5:7], probabilities[35, 35] = 0.9, 0.6
    return probabilities, mask


def test_breakdown(pair):
    image = np.random.default_rng(0).normal(100, 5, pair[1].shape) + pair[1]
    record = image_record(*pair, img_id='a', image=image)
    tables = breakdown_tables([record], with_scr=True)
    assert list(tables) == [
        'Targets by area in pixels',
        'Targets by pixels to the border',
        'Targets by signal-to-clutter ratio',
        'False components by area in pixels',
        'False components by pixels to the border',
    ]
    areas = {row['group']: row for row in tables['Targets by area in pixels']}
    assert areas['1 to 9'] == {'group': '1 to 9', 'targets': 1, 'detected': 1, 'Pd': 1.0, 'recall': 6 / 9}
    assert areas['>= 80'] == {'group': '>= 80', 'targets': 1, 'detected': 0, 'Pd': 0.0, 'recall': 0.0}
    assert sum(row['components'] for row in tables['False components by area in pixels']) == 1
    assert len(breakdown_tables([image_record(*pair, img_id='a')], with_scr=False)) == 4


def test_summary_of_curves(pair):
    thresholds = [0.25, 0.5, 0.75]
    sweeps = [make(*pair, thresholds) for make in (pixel_sweep, component_sweep)]
    summary = sweep_summary(*(sum_sweeps([s, s]) for s in sweeps))
    (pixels,) = summary['pixels']
    assert pixels['thresholds'] == 3
    assert pixels['best IoU'] == 6 / 109
    assert pixels['oracle threshold'] == 0.75
    assert [row['Fa at most (1e-6)'] for row in summary['oracle thresholds']] == [1, 10, 100]
    assert summary['oracle thresholds'][0]['Pd'] == 0.5
    assert summary['oracle thresholds'][0]['oracle threshold'] == 0.75


def test_versions():
    found = versions()
    assert found['mmirstd'] == mmirstd.__version__
    assert found['numpy'] == np.__version__
    assert any(name.startswith('opencv') for name in found)


def test_results_are_plain_data():
    assert asdict(result())['metrics']['F1'] == 2 / 3
