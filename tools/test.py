"""Evaluate a model and draw what it found, missed and invented: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
import os.path as osp
from typing import Any

try:
    from mmirstd.apis import running as cli
    from mmirstd.engine import distributed as dist
except ImportError as e:
    if e.name not in ('mmirstd', None):
        raise
    # e.name is None where mmirstd says that its stack is missing.
    root = osp.dirname(osp.dirname(osp.abspath(__file__)))
    advice = f'mmirstd is not installed in this Python: run `make` in {root} and use {root}/.venv/bin/python'
    raise SystemExit(f'error: {advice if e.name else e}') from None
from mmengine.config import Config

from mmirstd.evaluation.functional.protocols import PRESETS


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Evaluate a model on the test set of its config.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or address')
    cli.add_common_arguments(parser)
    parser.add_argument('--show-dir', metavar='DIR', help='draw every image with its detections into this folder')
    parser.add_argument(
        '--preset',
        nargs='+',
        action='extend',
        choices=[*PRESETS, 'all'],
        metavar='NAME',
        help=f'evaluate as published code does, side by side: {", ".join(PRESETS)} or all (default: exact)',
    )
    parser.add_argument('--out', metavar='DIR', help='save the predictions into this folder; replaces no file')
    parser.add_argument(
        '--out-format',
        choices=['png', 'npz'],
        default='png',
        help='png: 255 * p, at least 128 where p > 0.5 (default); npz: the probabilities',
    )
    return parser.parse_args()


def set_presets(cfg: Config, presets: list[str]) -> None:
    """Have the metric evaluate with these presets.

    Raises:
        SystemExit: If the config's test_evaluator has no metric that can.
    """
    metrics = [
        m for m in _as_list(cfg.get('test_evaluator')) if m.get('type') in ('mmirstd.IRSTDMetric', 'IRSTDMetric')
    ]
    if not metrics:
        raise SystemExit('error: --preset: the test_evaluator of the config has no mmirstd.IRSTDMetric')
    for metric in metrics:
        metric.presets = list(dict.fromkeys(PRESETS if 'all' in presets else presets))


def _as_list(evaluator: Any) -> list:
    if isinstance(evaluator, dict) and 'metrics' in evaluator:  # an Evaluator
        evaluator = evaluator['metrics']
    return [evaluator] if isinstance(evaluator, dict) else list(evaluator or [])


@dist.one_of_many
def main() -> None:
    """Evaluate."""
    args = parse_args()
    with cli.one_line_errors() as state:
        # Beside the training run: the runner writes its config into the folder.
        cfg = cli.load_config(args, ('test',), subfolder='test')
        cli.check_checkpoint(args.checkpoint)
        cfg.load_from, cfg.resume = args.checkpoint, False
        hooks = cfg.get('custom_hooks') or []
        if not any(h.get('type') == 'mmirstd.SwitchToDeployHook' for h in hooks):
            cfg.custom_hooks = hooks = [*hooks, dict(type='mmirstd.SwitchToDeployHook')]
        if args.preset:
            set_presets(cfg, args.preset)
        if args.out:
            saving = dict(type='mmirstd.SavePredictionsHook', out_dir=args.out, out_format=args.out_format)
            cfg.custom_hooks = [*hooks, saving]
        # Without a folder nothing is drawn: a config's own drawing is for validation, and a test set is large.
        defaults = cfg.setdefault('default_hooks', {})
        defaults.pop('visualization', None)
        if args.show_dir:
            defaults['visualization'] = dict(type='mmirstd.IRSTDVisualizationHook', draw=True, show_dir=args.show_dir)
        state.runner = runner = cli.build_runner(cfg)
        runner.test()
    cli.report(log=osp.join(runner.log_dir, f'{runner.timestamp}.log'), pictures=args.show_dir, out=args.out)


if __name__ == '__main__':
    main()
