"""Train a model: ``python tools/train.py CONFIG``."""

import argparse
import os.path as osp

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
from mmengine.hooks import CheckpointHook


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Train a model.')
    parser.add_argument('config', help='config file')
    cli.add_common_arguments(parser)
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='continue the latest run in the work dir (or start if there is none), or from this checkpoint',
    )
    parser.add_argument('--overwrite', action='store_true', help='allow replacing the checkpoints in the work dir')
    parser.add_argument('--amp', action='store_true', help='mixed precision; bfloat16 on a CPU')
    return parser.parse_args()


def use_amp(cfg: Config) -> None:
    """Put the optimizer into an ``AmpOptimWrapper``."""
    kind = cfg.optim_wrapper.setdefault('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise ValueError(f'--amp does not go with optim_wrapper.type={kind}')
    if kind == 'OptimWrapper':
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')


@dist.one_of_many
def main() -> None:
    """Train."""
    args = parse_args()
    with cli.one_line_errors() as state:
        cfg = cli.load_config(args, ('train', 'val'))
        if args.amp:
            use_amp(cfg)
        cli.set_start(cfg, args.resume, args.overwrite)
        state.runner = runner = cli.build_runner(cfg)
        runner.train()
    hook = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
    cli.report(
        last=getattr(hook, 'last_ckpt', None),
        best=getattr(hook, 'best_ckpt_path', None),
        log=osp.join(runner.log_dir, f'{runner.timestamp}.log'),
        curves=osp.join(runner.log_dir, 'vis_data'),
    )


if __name__ == '__main__':
    main()
