"""The one table writer."""

import csv
import io
import json
import math

import numpy as np
import pytest

from mmirstd.io.tables import csv_rows, format_cell, json_bytes, markdown_rows, plain, text_rows

ROWS = [{'id': 'a', 'x': 0.5, 'n': 3, 'ok': True}, {'id': 'b,c|d', 'x': math.nan, 'n': None, 'ok': False}]


def test_markdown():
    assert markdown_rows(ROWS).splitlines() == [
        '| id | x | n | ok |',
        '|---|---:|---:|---|',
        '| a | 0.5000 | 3 | yes |',
        r'| b,c\|d | - | - | no |',
    ]
    assert markdown_rows([], ['id', 'x']).splitlines() == ['| id | x |', '|---|---|']


def test_columns_and_digits():
    text = markdown_rows(ROWS, {'x': 'value', 'id': 'name'}, digits={'x': 2})
    assert text.splitlines()[::2] == ['| value | name |', '| 0.50 | a |']
    assert '| 0.5 |' in text_rows(ROWS[:1], ['x'], digits=1)
    with pytest.raises(KeyError, match='missing'):
        markdown_rows(ROWS, ['missing'])


def test_text_has_lines_in_cells():
    lines = text_rows([{'IoU': '0.5\n[0.4, 0.6]'}]).splitlines()
    assert [line.strip('| ') for line in lines if line.startswith('|')] == ['IoU', '0.5', '[0.4, 0.6]']


def test_csv_keeps_all_digits():
    rows = list(
        csv.DictReader(io.StringIO(csv_rows([{'v': 2 / 3, 'w': np.float32(0.5)}, *[{'v': -0.0, 'w': None}]]).decode()))
    )
    assert rows == [{'v': repr(2 / 3), 'w': '0.5'}, {'v': '-0.0', 'w': ''}]
    assert csv_rows(ROWS).decode() == 'id,x,n,ok\na,0.5,3,True\n"b,c|d",,,False\n'
    assert csv_rows(ROWS, {'x': 'value (m)'}, digits=2) == b'value (m)\n0.50\n""\n'
    assert csv_rows([], ['id', 'x']) == b'id,x\n'


@pytest.mark.parametrize('write', [text_rows, markdown_rows, csv_rows])
def test_without_rows_columns_are_needed(write):
    with pytest.raises(ValueError, match='needs the names of its columns'):
        write([])


def test_plain():
    assert plain({'a': (1, np.float64(0.5)), 'b': np.array([1, 2]), 'c': -math.inf, 'd': 'x', 'e': math.nan}) == {
        'a': [1, 0.5],
        'b': [1, 2],
        'c': '-inf',
        'd': 'x',
        'e': None,
    }


def test_json():
    content = json_bytes({'x': np.float32(0.25), 'ö': [math.nan]})
    assert content.endswith(b'}\n')
    assert json.loads(content) == {'x': 0.25, 'ö': [None]}
    with pytest.raises(TypeError):
        json_bytes({'x': object()})


def test_cells():
    assert format_cell(np.float64(0.5), 1) == '0.5'
    assert format_cell(np.float32(0.25)) == '0.2500'
    assert format_cell(-math.inf) == '-inf'
    assert format_cell(10**20) == '100000000000000000000'
