"""A benchmark as Markdown, CSV, JSON and a picture; and the accuracies that go into the picture."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmirstd.apis.contenders import Contender
from mmirstd.io.files import encode_png, figure_pixels, write_atomically
from mmirstd.io.tables import csv_rows, json_bytes, markdown_rows

FILES = ('benchmark.json', 'benchmark.csv', 'benchmark.md', 'benchmark.png')


def read_accuracy(path: str | Path, models: Sequence[Contender]) -> dict[str, dict[str, float]]:
    """Read values by metric and model; those of a config count for its forms, unless a form has its own.

    Raises:
        ValueError: If the file is not of that form or has a name that is none of the models'.
    """
    try:
        metrics = json.loads(Path(path).read_text())
        given = {metric: {name: float(value) for name, value in values.items()} for metric, values in metrics.items()}
    except (AttributeError, TypeError, ValueError) as e:
        raise ValueError(f'{path} must hold {{"metric": {{"model": number}}}}: {e}') from None
    found, known = {}, {name for m in models for name in (m.name, Path(m.config).stem)}
    for metric, values in given.items():
        if wrong := sorted(values.keys() - known):
            raise ValueError(f'{path}: {metric}: no measured model is called {wrong[0]}; there are {sorted(known)}')
        plain = {m.name: values.get(m.name, values.get(Path(m.config).stem)) for m in models}
        found[metric] = {name: value for name, value in plain.items() if value is not None}
    return found


def write_benchmark(folder: str | Path, result: dict[str, Any], accuracy: dict[str, dict[str, float]]) -> None:
    """Write the files; the picture only where there are accuracies."""
    contents = [json_bytes(result), benchmark_csv(result), benchmark_markdown(result)]
    contents += [draw_benchmark(result, accuracy)] if accuracy else []
    for name, content in zip(FILES, contents, strict=False):
        write_atomically(Path(folder) / name, content)


def with_spread(values: dict[str, float], scale: float, digits: int) -> str:
    """Median and, in brackets, quartiles."""
    q1, median, q3 = (f'{values[key] * scale:.{digits}f}' for key in ('q1', 'median', 'q3'))
    return f'{median} [{q1}, {q3}]'


def benchmark_markdown(result: dict[str, Any]) -> str:
    """Lay out conditions and table."""
    s, m = result['settings'], result['machine']
    height, width = s['shape']
    what = 'from preprocessed images to logits of the size that the network sees'
    what = 'from uint8 images to masks' if s['end_to_end'] else 'from a PNG to its detections' if s['stages'] else what
    load = f'; load average {" before and ".join(f"{x:.1f}" for x in result["load"])} after' if result['load'] else ''
    gpu = f'{m["gpu"]}, CUDA {m["cuda"]}, TF32 {m["tf32"]}, ' if 'gpu' in m else ''
    graphs = ', CUDA graphs' if s['cuda_graphs'] else ''
    lines = [
        f'Images {height} x {width}, batch {s["batch"]}, {s["device"]}{graphs}, {s["threads"]} thread(s); {what}.',
        f'{gpu}{m["cpu"]}, {m["cores"]} cores, torch {m["torch"]}, {result["date"]}{load}.',
        f'{s["rounds"]} interleaved rounds, {s["seconds"]:g} s per model in each; median [quartiles] over the rounds.',
    ]
    if s['cfg_options']:
        lines.append('All configs with ' + ', '.join(f'{key}={value}' for key, value in s['cfg_options'].items()) + '.')
    rows = []
    for row in result['models']:
        memory, ms = row['memory_bytes'], row['latency_s']['median'] * 1e3
        rows.append(
            {
                'model': row['name'],
                'form': row['form'],
                'network sees': '{} x {}'.format(*row['input_size']),
                'parameters': f'{row["params"] / 1e6:.3f} M',
                # A classical detector computes outside of PyTorch.
                'multiply-adds': f'{row["macs"] / 1e9:.3f} G' if row['params'] else '-',
                'latency, ms': with_spread(row['latency_s'], 1e3, 0 if ms >= 1000 else 1 if ms >= 10 else 3),
                'images/s': f'{row["images_per_s"]:.4g}',
                'peak memory': '-' if memory is None else f'{memory / 2**20:.1f} MiB',
                f'latency / {result["reference"]}': with_spread(row['ratio'], 1, 3),
            }
        )
    tables = [markdown_rows(rows)] + ([_stages_markdown(result)] if s['stages'] else [])
    return '\n'.join([' '.join(lines), '', '\n\n'.join(tables)]) + '\n'


def _stages_markdown(result: dict[str, Any]) -> str:
    """Milliseconds and shares of the stages of one image."""
    rows = []
    for row in result['models']:
        stages = row['stages_s']
        whole = sum(stages.values())
        around = whole - stages['network']
        cells = {f'{name}, ms': f'{value * 1e3:.2f} ({value / whole:.0%})' for name, value in stages.items()}
        rows.append({'model': row['name']} | cells | {'all but the network, ms': f'{around * 1e3:.2f}'})
    return markdown_rows(rows)


def benchmark_csv(result: dict[str, Any]) -> bytes:
    """One row per model, units in the names."""
    rows = []
    for row in result['models']:
        flat = {key: row[key] for key in ('name', 'config', 'form', 'precision', 'params', 'macs')}
        flat |= dict(zip(('input_height', 'input_width'), row['input_size'], strict=True))
        for key in ('latency_s', 'ratio'):
            flat |= {f'{key}_{part}': value for part, value in row[key].items()}
        flat |= {f'{stage}_s': value for stage, value in row.get('stages_s', {}).items()}
        rows.append(flat | {key: row[key] for key in ('images_per_s', 'memory_bytes', 'calls')})
    return csv_rows(rows)


def draw_benchmark(result: dict[str, Any], accuracy: dict[str, dict[str, float]]) -> bytes:
    """Draw accuracy against latency, quartiles as bars, as PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter

    figure = Figure((5.5 * len(accuracy), 4), dpi=110, layout='constrained')
    panels = figure.subplots(1, len(accuracy), squeeze=False)
    for panel, (label, values) in zip(panels[0], accuracy.items(), strict=True):
        for row in (row for row in result['models'] if row['name'] in values):
            q1, ms, q3 = (row['latency_s'][key] * 1e3 for key in ('q1', 'median', 'q3'))
            panel.errorbar(ms, values[row['name']], xerr=[[ms - q1], [q3 - ms]], fmt='o', capsize=2)
            point = (ms, values[row['name']])
            panel.annotate(row['name'], point, (0, 6), textcoords='offset points', fontsize=8, ha='center')
        panel.set(xlabel=f'latency, ms (batch {result["settings"]["batch"]})', ylabel=label, xscale='log')
        panel.margins(0.3, 0.15)
        panel.xaxis.set_major_formatter(LogFormatter())  # 50, not 5 x 10^1
        panel.xaxis.set_minor_formatter(LogFormatter())
        panel.grid(alpha=0.3)
    return encode_png(figure_pixels(figure), 'rgb')
