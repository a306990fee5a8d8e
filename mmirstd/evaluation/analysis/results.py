"""Metrics of one set under several protocols: as tables for the terminal, Markdown and CSV, and as plain data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from mmirstd.evaluation.functional.counts import Counts
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.evaluation.functional.protocols import METRIC_NAMES, Protocol
from mmirstd.io.tables import csv_rows, format_cell, markdown_rows, plain, text_rows

HEADINGS = {'Fa': 'Fa (1e-6)'}
NOTE = '(In parentheses: by the rules of the preset, but its repository does not report it.)'


@dataclass(frozen=True, kw_only=True)
class ProtocolResult:
    """Metrics under one protocol: fractions, Fa in 1e-6, nan where undefined; and the bounds of their intervals."""

    protocol: Protocol
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    counts: Mapping[str, int | float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, protocol: Protocol, counts: Counts, intervals: Mapping[str, tuple[float, float]] | None = None
    ) -> 'ProtocolResult':
        """Make one of the counts of a set."""
        return cls(
            protocol=protocol,
            metrics=compute_metrics(counts, protocol),
            intervals=intervals or {},
            counts=asdict(counts),
        )

    @property
    def name(self) -> str:
        """Of the protocol."""
        return self.protocol.name


def text_table(results: Sequence[ProtocolResult]) -> str:
    """A table for the terminal; of ``exact`` alone, without its name."""
    columns = _columns(results)
    if [r.name for r in results] == ['exact']:
        del columns['protocol']
    return _with_note(text_rows(_rows(results, columns, '\n'), columns), results, columns)


def markdown_table(results: Sequence[ProtocolResult]) -> str:
    """The same in Markdown, always with the names."""
    columns = _columns(results)
    return _with_note(markdown_rows(_rows(results, columns, ' '), columns) + '\n', results, columns).strip()


def csv_table(results: Sequence[ProtocolResult]) -> bytes:
    """A row per protocol and metric: protocol, metric, value, low, high, and whether the repository reports it.

    Values have all their digits; what is undefined is empty.
    """
    rows = []
    for result in results:
        for name, value in result.metrics.items():
            low, high = result.intervals.get(name, (math.nan, math.nan))
            reported = str(name in result.protocol.reported).lower()
            row = {'protocol': result.name, 'metric': name, 'value': value, 'low': low, 'high': high}
            rows.append({**row, 'reported': reported})
    return csv_rows(rows, ['protocol', 'metric', 'value', 'low', 'high', 'reported'])


def plain_results(results: Sequence[ProtocolResult]) -> list[dict[str, Any]]:
    """Plain data for JSON: settings, metrics, intervals and counts of each protocol; None for what is undefined."""
    return plain(
        [
            {
                'name': r.name,
                'settings': asdict(r.protocol),
                'metrics': r.metrics,
                'reported': [name for name in r.metrics if name in r.protocol.reported],
                'intervals': r.intervals,
                'counts': r.counts,
            }
            for r in results
        ]
    )


def settings_table(protocols: Sequence[Protocol]) -> str:
    """In what the protocols differ, in Markdown: a column each."""
    names = [f.name for f in fields(Protocol) if f.name not in ('name', 'reported', 'source')]
    values = {name: [_setting(getattr(p, name)) for p in protocols] for name in names}
    same = ', '.join(f'{name} {row[0]}' for name, row in values.items() if len(set(row)) == 1)
    rows = [
        {'setting': name, **dict(zip((p.name for p in protocols), row, strict=True))}
        for name, row in values.items()
        if len(set(row)) > 1
    ]
    return f'{markdown_rows(rows)}\n\nAlike in all: {same}.' if rows else f'Settings: {same}.'


def _columns(results: Sequence[ProtocolResult]) -> dict[str, str]:
    """Names and headings of all metrics but those that are undefined everywhere and reported by none."""
    names = [
        name
        for name in METRIC_NAMES
        if any(name in r.protocol.reported or not math.isnan(r.metrics.get(name, math.nan)) for r in results)
    ]
    return {'protocol': 'protocol', **{name: HEADINGS.get(name, name) for name in names}}


def _rows(results: Sequence[ProtocolResult], columns: Mapping[str, str], separator: str) -> list[dict[str, str]]:
    return [{name: r.name if name == 'protocol' else _cell(r, name, separator) for name in columns} for r in results]


def _cell(result: ProtocolResult, name: str, separator: str = ' ') -> str:
    """One metric with its interval; in parentheses where the repository does not report it."""
    value, digits = result.metrics.get(name, math.nan), 2 if name == 'Fa' else 4
    text = format_cell(value, digits)
    if math.isnan(value):
        return text
    text = text if name in result.protocol.reported else f'({text})'
    if name in result.intervals:
        low, high = result.intervals[name]
        text += f'{separator}[{low:.{digits}f}, {high:.{digits}f}]'
    return text


def _with_note(table: str, results: Sequence[ProtocolResult], columns: Mapping[str, str]) -> str:
    names = [name for name in columns if name != 'protocol']
    return f'{table}\n{NOTE}' if any(_cell(r, name).startswith('(') for r in results for name in names) else table


def _setting(value: Any) -> str:
    if value is None:
        return 'none'
    if isinstance(value, tuple):
        return ' x '.join(map(str, value))
    return f'{value:.3g}' if isinstance(value, float) else format_cell(value)
