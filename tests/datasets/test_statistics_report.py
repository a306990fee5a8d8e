import csv
import io
import json

import numpy as np
import pytest

from mmirstd.datasets.statistics_report import (
    BOX,
    TARGET,
    SampleStatistics,
    columns,
    draw_histograms,
    image_rows,
    statistics_table,
    summarize_statistics,
    target_rows,
)
from mmirstd.io.tables import csv_rows
from mmirstd.ops.target_statistics import image_statistics, target_statistics


def measured(name, targets, level=100, contrast=50, size=(20, 30)):
    rng = np.random.default_rng(len(name))
    image = rng.normal(level, 2, size)
    mask = np.zeros(size, np.uint8)
    for y, x, side in targets:
        mask[y : y + side, x : x + side] = 1
    image[mask == 1] += contrast
    return SampleStatistics('set', name, image_statistics(image, mask), target_statistics(image, mask, width=5))


@pytest.fixture
def three():
    return [
        measured('a', [(3, 3, 1), (10, 20, 3)]),
        measured('bb', [], level=20),
        measured('ccc', [(0, 5, 10)], contrast=-30, size=(25, 40)),
    ]


def test_summary_by_hand(three):
    s = summarize_statistics(three, 5)
    assert (s['images'], s['empty'], s['targets'], s['at_border'], s['darker']) == (3, 1, 3, 1, 1)
    assert s['targets_per_image'] == {'0': 1, '1': 1, '2': 1}
    assert s['larger_than_81_pixels'] == 1
    areas = s['quantiles']['target area']
    assert (areas['0'], areas['0.5'], areas['1']) == (1, 9, 100)
    assert s['quantiles']['width'] == dict(zip(areas, [30, 30, 30, 30, 40, 40, 40], strict=True))
    assert s['quantiles']['contrast']['0'] == pytest.approx(-30, abs=2)
    assert json.loads(json.dumps(s, allow_nan=False)) == s


def cells(lines):
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines if line.startswith('|')]
    return {name: values for name, *values in rows}


def test_table_has_the_numbers_of_the_summary(three):
    text = statistics_table('set', summarize_statistics(three, 5))
    head, *rows = text.splitlines()
    assert head == (
        'set: 3 images, 3 targets; images with 0 / 1 / 2 / more targets: 1 / 1 / 1 / 0; targets at the border: 1, '
        'darker than their surroundings: 1, larger than 81 pixels: 1'
    )
    assert len({len(row) for row in rows}) == 1  # columns are aligned
    assert cells(rows)['target area'] == ['1', '1', '1', '9', '100', '100', '100']


def test_a_set_without_targets_has_no_values():
    s = summarize_statistics([measured('a', [])], 5)
    assert s['quantiles']['SCR'] == dict.fromkeys(s['quantiles']['SCR'])
    assert cells(statistics_table('set', s).splitlines())['SCR'] == ['-'] * 7
    assert draw_histograms([measured('a', [])], 'set').shape[2] == 3


def test_the_picture_marks_the_medians_of_the_table(three, monkeypatch):
    labels = []
    monkeypatch.setattr('matplotlib.axes.Axes.axvline', lambda self, x, **kwargs: labels.append(kwargs['label']))
    draw_histograms(three[:2], 'set')
    table = cells(statistics_table('set', summarize_statistics(three[:2], 5)).splitlines())
    shown = ['mean level', 'noise', 'target area', 'contrast', 'clutter', 'SCR']
    assert labels == [f'median {table[name][3]}' for name in shown]


def test_rows_hold_what_was_measured(three):
    rows = list(csv.DictReader(io.StringIO(csv_rows(target_rows(three), ('dataset', 'id', *BOX, *TARGET)).decode())))
    assert [row['id'] for row in rows] == ['a', 'a', 'ccc']
    assert [float(row['contrast']) for row in rows] == pytest.approx(columns(three)['contrast'], rel=1e-5)
    assert [row['at_border'] for row in rows] == ['False', 'False', 'True']
    assert [int(rows[1][key]) for key in BOX] == [10, 20, 13, 23]
    images = list(image_rows(three))
    assert [row['targets'] for row in images] == [2, 0, 1]
    assert images[2]['height'] == 25


def test_histograms_are_a_picture(three):
    picture = draw_histograms(three, 'set')
    assert picture.dtype == np.uint8
    assert picture.shape == (500, 1200, 3)
    assert picture.std() > 10
