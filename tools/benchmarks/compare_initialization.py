"""Train a model from scratch and from a distilled backbone, and compare both on the test split.

``python tools/benchmarks/compare_initialization.py simir_repvit-fast_nudt --student .../student.pth --seeds 0 1 2
--minutes 15 --data-root data/NUDT-SIRST --out work_dirs/compare`` trains each seed of each kind for as many iterations
as fit the minutes (measured once by a short run; both kinds get the same), and tests the checkpoint that the validation
split chose. Results are kept in ``results.json``, and a run that is there is not repeated. Prints a Markdown table.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmirstd.apis import test, train
from mmirstd.apis.configuration import check_checkpoint, read_config
from mmirstd.apis.scheduling import set_iterations
from mmirstd.io.files import write_atomically
from mmirstd.io.tables import markdown_rows

METRICS = ('IoU', 'nIoU', 'Pd', 'Fa')
TIMED = 40  # iterations of the run that is timed
VALIDATIONS = 5


def shortened(cfg: Config, iterations: int, validations: int = VALIDATIONS) -> Config:
    """The config with another number of iterations, over which its schedule is stretched."""
    set_iterations(cfg, iterations, min(validations, iterations), 'the comparison')
    return cfg


def seconds_per_iteration(cfg: Config, out: Path, **options: Any) -> float:
    """Median time of an iteration, loading included, of a short run."""
    cfg = shortened(cfg, TIMED, 1)
    cfg.default_hooks.logger.interval = 1
    curves = train(cfg, work_dir=out, overwrite=True, **options).curves
    records = map(json.loads, Path(curves, 'scalars.json').read_text().splitlines())
    return float(np.median([r['time'] for r in records if 'loss' in r][TIMED // 4 :]))


def run(config: str, student: str | None, seed: int, iterations: int, out: Path, **options: Any) -> dict[str, float]:
    """Train and test once; returns the metrics."""
    cfg = shortened(read_config(config), iterations)
    cfg.randomness.seed = seed
    cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=student) if student else None
    best = train(cfg, work_dir=out, overwrite=True, **options).best
    found = test(cfg, best, work_dir=out / 'test', data_root=options['data_root']).metrics
    return {name: found[name] for name in METRICS}


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('config', help='name or path of the config of the segmentor')
    parser.add_argument('--student', required=True, metavar='FILE', help='student.pth of a distillation')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--minutes', type=float, default=15, help='of training for each run (default 15)')
    parser.add_argument('--iterations', type=int, help='of each run, instead of minutes')
    parser.add_argument('--data-root', metavar='DIR')
    parser.add_argument('--amp', action='store_true', help='mixed precision; bfloat16 on a CPU')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR')
    args = parser.parse_args()
    check_checkpoint(args.student)
    options = {'data_root': args.data_root, 'amp': args.amp}
    path = args.out / 'results.json'
    results = json.loads(path.read_text()) if path.exists() else {}
    if 'iterations' not in results:
        time = (
            None if args.iterations else seconds_per_iteration(read_config(args.config), args.out / 'timed', **options)
        )
        count = args.iterations or max(int(args.minutes * 60 / time), 1)
        results['iterations'] = count - count % min(VALIDATIONS, count)  # the last validation is at the end
    for seed in args.seeds:
        for kind, student in (('scratch', None), ('distilled', args.student)):
            name = f'{kind}, seed {seed}'
            if name not in results:
                out = args.out / f'{kind}_{seed}'
                results[name] = run(args.config, student, seed, results['iterations'], out, **options)
                write_atomically(path, json.dumps(results, indent=1))
    rows = []
    for kind in ('scratch', 'distilled'):
        found = {seed: results[f'{kind}, seed {seed}'] for seed in args.seeds}
        rows += [{'start': kind, 'seed': str(seed)} | _texts(values) for seed, values in found.items()]
        spread = {name: [values[name] for values in found.values()] for name in METRICS}
        means = {name: f'{_text(name, np.mean(v))} ± {_text(name, np.std(v))}' for name, v in spread.items()}
        rows.append({'start': kind, 'seed': f'mean of {len(found)}'} | means)
    print(f'{args.config}, {results["iterations"]} iterations each:\n\n{markdown_rows(rows)}')


def _texts(values: dict[str, float]) -> dict[str, str]:
    return {name: _text(name, value) for name, value in values.items()}


def _text(name: str, value: float) -> str:
    return f'{value:.1f}' if name == 'Fa' else f'{value:.4f}'


if __name__ == '__main__':
    main()
