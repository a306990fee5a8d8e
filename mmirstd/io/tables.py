"""The one writer of tables and reports: rows as text, Markdown and CSV, and any values as JSON.

A table is a sequence of rows, each a mapping of column names to values. Integers and text are shown as they are, floats
with a fixed number of digits (in CSV with all of them), and what is undefined (nan or None) as ``-``, in CSV and JSON
as nothing and ``null``.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from prettytable import PrettyTable

Rows = Sequence[Mapping[str, Any]]
Columns = Sequence[str] | Mapping[str, str] | None
Digits = int | Mapping[str, int]


def text_rows(rows: Rows, columns: Columns = None, *, digits: Digits = 4) -> str:
    """Lay out rows as a framed table for a terminal.

    Args:
        rows: The rows; a value that is text may have several lines.
        columns: Names of the columns to show, in order, or a mapping of names to headings; None: all of the first row.
        digits: Digits after the point of floats: one number, or a mapping of names to numbers (others have 4).

    >>> print(text_rows([{'name': 'a', 'IoU': 0.5}, {'name': 'b', 'IoU': float('nan')}]))
    +------+--------+
    | name |  IoU   |
    +------+--------+
    |  a   | 0.5000 |
    |  b   |   -    |
    +------+--------+
    """
    names = _names(rows, columns)
    table = PrettyTable(list(names.values()))
    table.add_rows([[format_cell(row[name], _digits(digits, name)) for name in names] for row in rows])
    return str(table)


def markdown_rows(rows: Rows, columns: Columns = None, *, digits: Digits = 4) -> str:
    """Lay out rows as a Markdown table, columns of numbers aligned to the right; arguments as in :func:`text_rows`.

    >>> print(markdown_rows([{'name': 'a', 'n': 3}], {'name': 'dataset', 'n': 'images'}))
    | dataset | images |
    |---|---:|
    | a | 3 |
    """
    names = _names(rows, columns)
    rules = ['---:' if rows and all(_is_number(row[name]) for row in rows) else '---' for name in names]
    cells = [[format_cell(row[name], _digits(digits, name)).replace('|', '\\|') for name in names] for row in rows]
    lines = [f'| {" | ".join(line)} |' for line in (names.values(), *cells)]
    return '\n'.join([lines[0], f'|{"|".join(rules)}|', *lines[1:]])


def csv_rows(rows: Rows, columns: Columns = None, *, digits: Digits | None = None) -> bytes:
    r"""Write rows as CSV with a header, UTF-8, and lines that end in a newline alone.

    Arguments as in :func:`text_rows`, but that `digits` None keeps all digits of floats.

    >>> csv_rows([{'id': 'a,b', 'IoU': 1 / 3, 'Pd': None}])
    b'id,IoU,Pd\n"a,b",0.3333333333333333,\n'
    """
    names = _names(rows, columns)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(names.values())
    for row in rows:
        values = ((name, plain(row[name])) for name in names)
        writer.writerow(
            f'{v:.{_digits(digits, name)}f}' if digits is not None and isinstance(v, float) else v for name, v in values
        )
    return text.getvalue().encode(errors='backslashreplace')


def json_bytes(value: Any, *, indent: int = 2) -> bytes:
    """Write values as JSON, made plain by :func:`plain`, with a newline at the end.

    Raises:
        TypeError: If a value has no counterpart in JSON.
    """
    text = json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False) + '\n'
    return text.encode(errors='backslashreplace')  # what is no UTF-8 in a file's name: as JSON escapes it


def plain(value: Any) -> Any:
    """Turn values into what JSON has: None for nan, text for infinity, lists for tuples, numbers for NumPy's.

    >>> import numpy as np
    >>> plain({'a': (np.float64(0.5), float('nan')), 'b': np.arange(2)})
    {'a': [0.5, None], 'b': [0, 1]}
    """
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if hasattr(value, 'tolist'):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def format_cell(value: Any, digits: int = 4) -> str:
    """Show one value as a table does.

    >>> [format_cell(v, 2) for v in (1, 0.5, None, float('nan'), True, 'x')]
    ['1', '0.50', '-', '-', 'yes', 'x']
    """
    value = plain(value)
    if value is None:
        return '-'
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return f'{value:.{digits}f}' if isinstance(value, float) else str(value)


def _names(rows: Rows, columns: Columns) -> Mapping[str, str]:
    """Names of the columns and their headings."""
    if isinstance(columns, Mapping):
        return columns
    if columns is None and not rows:
        raise ValueError('a table without rows needs the names of its columns')
    return {name: name for name in (columns if columns is not None else rows[0])}


def _digits(digits: Digits, name: str) -> int:
    return digits.get(name, 4) if isinstance(digits, Mapping) else digits


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, Real) and not isinstance(value, bool))
