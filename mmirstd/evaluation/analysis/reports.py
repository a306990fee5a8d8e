"""Figures of one set under several protocols as a table, Markdown, CSV and JSON."""

import csv
import io
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prettytable import PrettyTable

from mmirstd.evaluation.analysis.breakdowns import ImageRecord, by_false_area, by_target_area, by_target_scr
from mmirstd.evaluation.functional.protocols import FIGURES, Protocol
from mmirstd.evaluation.functional.sweeps import ComponentSweep, PixelSweep
from mmirstd.version import __version__

FALSE_ALARMS = (1, 10, 100)  # in 1e-6
UNITS = {'Fa': 'Fa (1e-6)'}
NOTE = '(In parentheses: by the rules of the preset, but its repository does not report it.)'


@dataclass(frozen=True, kw_only=True)
class Result:
    """Figures under one protocol: fractions, Fa in 1e-6, nan where undefined; and the bounds of their intervals."""

    protocol: Protocol
    figures: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    counts: Mapping[str, int | float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the protocol."""
        return self.protocol.name


def text_table(results: Sequence[Result]) -> str:
    """A table for the terminal; of ``exact`` alone, without its name."""
    names = _columns(results)
    labels = _is_labelled(results)
    table = PrettyTable(['protocol'] * labels + [UNITS.get(name, name) for name in names])
    for result in results:
        table.add_row([result.name] * labels + [cell(result, name, '\n') for name in names])
    return f'{table}\n{NOTE}' if _has_parentheses(results, names) else str(table)


def markdown_table(results: Sequence[Result]) -> str:
    """The same in Markdown."""
    names = _columns(results)
    lines = [
        '| protocol | ' + ' | '.join(UNITS.get(name, name) for name in names) + ' |',
        '|---' * (len(names) + 1) + '|',
    ]
    lines += [f'| {r.name} | ' + ' | '.join(cell(r, name) for name in names) + ' |' for r in results]
    if _has_parentheses(results, names):
        lines += ['', NOTE]
    return '\n'.join(lines)


def csv_table(results: Sequence[Result]) -> bytes:
    """A row per protocol and figure: protocol, figure, value, low, high, and whether the repository reports it.

    Values have all their digits; what is undefined is empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['protocol', 'figure', 'value', 'low', 'high', 'reported'])
    for result in results:
        for name, value in result.figures.items():
            bounds = result.intervals.get(name, (math.nan, math.nan))
            numbers = ['' if math.isnan(v) else repr(float(v)) for v in (value, *bounds)]
            writer.writerow([result.name, name, *numbers, str(name in result.protocol.figures).lower()])
    return text.getvalue().encode()


def plain_results(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Plain data for JSON: settings, figures, intervals and counts of each protocol; null for what is undefined."""
    return [
        {
            'name': r.name,
            'settings': plain(asdict(r.protocol)),
            'figures': plain(r.figures),
            'reported': [name for name in r.figures if name in r.protocol.figures],
            'intervals': plain(r.intervals),
            'counts': plain(r.counts),
        }
        for r in results
    ]


def settings_table(protocols: Sequence[Protocol]) -> str:
    """In what the protocols differ, in Markdown: a column each."""
    names = [f.name for f in fields(Protocol) if f.name not in ('name', 'figures', 'source')]
    values = {name: [getattr(p, name) for p in protocols] for name in names}
    differing = {name: row for name, row in values.items() if len({str(value) for value in row}) > 1}
    same = ', '.join(f'{name} {_setting(values[name][0])}' for name in names if name not in differing)
    if not differing:
        return f'Settings: {same}.'
    lines = ['| setting | ' + ' | '.join(p.name for p in protocols) + ' |', '|---' * (len(protocols) + 1) + '|']
    lines += [f'| {name} | ' + ' | '.join(map(_setting, row)) + ' |' for name, row in differing.items()]
    return '\n'.join([*lines, '', f'Alike in all: {same}.'])


def markdown_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of one kind in Markdown: floats with four digits, ``-`` for nan."""
    if not rows:
        return 'None.'
    lines = [f'| {" | ".join(rows[0])} |', '|---' * len(rows[0]) + '|']
    lines += ['| ' + ' | '.join(map(_value, row.values())) + ' |' for row in rows]
    return '\n'.join(lines)


def csv_rows(rows: Sequence[Mapping[str, Any]], header: Sequence[str] | None = None) -> bytes:
    """Rows of one kind as CSV, with all digits; what is undefined is empty. Without rows a header must be given."""
    text = io.StringIO()
    writer = csv.DictWriter(text, header or list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows({k: '' if v is None or v != v else v for k, v in row.items()} for row in rows)
    return text.getvalue().encode()


def markdown_report(report: Mapping[str, Any], results: Sequence[Result], sections: Sequence[tuple[str, str]]) -> str:
    """A whole report: the figures, further sections (title and text), and what they were made of.

    Args:
        report: Plain data: `predictions` and `masks` (folders), `values` (how they were read), `split` and `evaluated`
            (name, num and sha256 of the ids), `missing`, `extra` and `sizes` (what did not fit), `bootstrap`,
            `versions` and `command`.
        results: The figures of each protocol.
        sections: What comes after the figures.
    """
    split, used = report['split'], report['evaluated']
    lines = ['# Evaluation', '', f'{used["num"]} images of {split["name"]}, sha256 of the ids {used["sha256"]}']
    if split['sha256'] != used['sha256']:
        lines[-1] += f' (the whole list: {split["num"]} images, {split["sha256"]})'
    lines[-1] += '.'
    for text, items in (
        (f'without a prediction, {report["missing_are"]}', report['missing']),
        ('predictions without a mask, left out', report['extra']),
        ('of another size than the mask', list(report['sizes'].values())),
    ):
        if items:
            lines += ['', f'**{len(items)} {text}:** {", ".join(items)}.']
    lines += ['', '## Figures', '', markdown_table(results)]
    if boot := report['bootstrap']:
        lines += ['', f'In brackets: {boot["level"]:.0%} intervals from {boot["resamples"]} resamples of the images.']
    for title, text in sections:
        lines += ['', f'## {title}', '', text]
    lines += ['', '## Made of', '', f'- predictions: `{report["predictions"]}`, {report["values"]}']
    lines += [f'- masks: `{report["masks"]}`', f'- command: `{report["command"]}`']
    lines += ['- versions: ' + ', '.join(f'{name} {number}' for name, number in report['versions'].items())]
    lines += ['', '## Settings', '', settings_table([r.protocol for r in results])]
    sources = [f'{r.name}: {r.protocol.source}' for r in results if r.protocol.source]
    return '\n'.join([*lines, *(['', f'Sources: {"; ".join(sources)}.'] if sources else []), ''])


def break_down(records: Sequence[ImageRecord], with_scr: bool) -> dict[str, list[dict[str, Any]]]:
    """Tables by area of targets and of false components and, where records have it, by signal-to-clutter ratio."""
    groups = {'Targets by area in pixels': by_target_area(records)}
    if with_scr:
        groups['Targets by signal-to-clutter ratio'] = by_target_scr(records)
    tables = {
        title: [
            {'group': g.label, 'targets': g.targets, 'detected': g.detected, 'Pd': g.pd, 'recall': g.recall}
            for g in found
        ]
        for title, found in groups.items()
    }
    tables['False components by area in pixels'] = [
        {'group': g.label, 'components': g.components, 'pixels': g.pixels} for g in by_false_area(records)
    ]
    return tables


def sweep_summary(pixels: PixelSweep, components: ComponentSweep) -> dict[str, list[dict[str, Any]]]:
    """Tables of areas under curves, and of what the best thresholds would have given; `in hindsight` says the name."""
    best = components.best_in_hindsight('IoU')
    points = [(fa, components.pd_at_fa(fa), components.pd_fa_area(fa)) for fa in FALSE_ALARMS]
    return {
        'pixels': [
            {
                'thresholds': len(pixels.thresholds),
                'AUC': pixels.auc(),
                'average precision': pixels.average_precision,
                'best IoU in hindsight': best.value,
                'at threshold': best.threshold,
            }
        ],
        'in hindsight': [
            {'Fa at most (1e-6)': fa, 'Pd': p.pd, 'Fa': p.fa, 'at threshold': p.threshold, 'area under Pd-Fa': area}
            for fa, p, area in points
        ],
    }


def versions() -> dict[str, str]:
    """Of what makes the figures."""
    found = {'mmirstd': __version__, 'python': platform.python_version()}
    for names in (('numpy',), ('scipy',), ('opencv-python-headless', 'opencv-python')):
        for name in names:
            try:
                found[name] = version(name)
                break
            except PackageNotFoundError:
                continue
    return found


def cell(result: Result, name: str, separator: str = ' ') -> str:
    """One figure with its interval; in parentheses where the repository does not report it."""
    value = result.figures.get(name, math.nan)
    if math.isnan(value):
        return '-'
    digits = 2 if name == 'Fa' else 4
    text = f'{value:.{digits}f}'
    text = text if name in result.protocol.figures else f'({text})'
    if name in result.intervals:
        low, high = result.intervals[name]
        text += f'{separator}[{low:.{digits}f}, {high:.{digits}f}]'
    return text


def plain(value: Any) -> Any:
    """Values as JSON has them: null for nan, text for infinity, lists for tuples, numbers for NumPy's."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if hasattr(value, 'tolist'):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _columns(results: Sequence[Result]) -> list[str]:
    """All figures but those that are undefined everywhere and reported by none."""
    return [
        name
        for name in FIGURES
        if any(name in r.protocol.figures or not math.isnan(r.figures.get(name, math.nan)) for r in results)
    ]


def _is_labelled(results: Sequence[Result]) -> bool:
    return [r.name for r in results] != ['exact']


def _has_parentheses(results: Sequence[Result], names: Sequence[str]) -> bool:
    return any(cell(r, name).startswith('(') for r in results for name in names)


def _setting(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: 'none', True: 'yes', False: 'no'}[value]
    if isinstance(value, tuple):
        return ' x '.join(map(str, value))
    return f'{value:.3g}' if isinstance(value, float) else str(value)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return '-' if math.isnan(value) else f'{value:.4f}'
    return str(value)
