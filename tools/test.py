"""Evaluate a model and draw what it found, missed and invented: ``python tools/test.py CONFIG CHECKPOINT``."""

import argparse
import os.path as osp

try:
    from mmirstd.utils import cli, dist
except ImportError as e:
    if e.name not in ('mmirstd', None):
        raise
    # e.name is None where mmirstd says that its stack is missing.
    root = osp.dirname(osp.dirname(osp.abspath(__file__)))
    advice = f'mmirstd is not installed in this Python: run `make` in {root} and use {root}/.venv/bin/python'
    raise SystemExit(f'error: {advice if e.name else e}') from None


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Evaluate a model on the test set of its config.')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or address')
    cli.add_common_arguments(parser)
    parser.add_argument('--show-dir', metavar='DIR', help='draw every image with its detections into this folder')
    return parser.parse_args()


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
            cfg.custom_hooks = [*hooks, dict(type='mmirstd.SwitchToDeployHook')]
        # Without a folder nothing is drawn: a config's own drawing is for validation, and a test set is large.
        defaults = cfg.setdefault('default_hooks', {})
        defaults.pop('visualization', None)
        if args.show_dir:
            defaults['visualization'] = dict(type='mmirstd.IRSTDVisualizationHook', draw=True, show_dir=args.show_dir)
        state.runner = runner = cli.build_runner(cfg)
        runner.test()
    cli.report(log=osp.join(runner.log_dir, f'{runner.timestamp}.log'), pictures=args.show_dir)


if __name__ == '__main__':
    main()
