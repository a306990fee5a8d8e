"""The main job on synthetic scenes, as ``make demo`` runs it: train, evaluate, draw. Each run gets its own folder."""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / 'configs/simir/simir_repvit-fast_synthetic.py'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Train and evaluate the fast SimIR on synthetic scenes.')
    parser.add_argument('--iters', type=int, help='training iterations, by default what the config says')
    parser.add_argument('--config', type=Path, default=CONFIG)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'), help='a folder is made in here')
    return parser.parse_args()


def schedule(config: Path, iters: int | None) -> list[str]:
    """Options that log often enough to watch, and scale a config's schedule to ``iters`` iterations."""
    if iters is None:
        return ['default_hooks.logger.interval=20']
    from mmengine.config import Config

    import mmirstd  # noqa: F401  before a config is read

    cfg = Config.fromfile(config)
    factor = iters / cfg.train_cfg.max_iters
    options = [
        f'train_cfg.max_iters={iters}',
        f'train_cfg.val_interval={iters}',
        f'default_hooks.logger.interval={max(1, min(20, iters // 4))}',
    ]
    for i, scheduler in enumerate(cfg.get('param_scheduler') or []):
        begin = round(scheduler.get('begin', 0) * factor)
        options.append(f'param_scheduler.{i}.begin={begin}')
        for key in ('end', 'T_max'):
            if key in scheduler:
                least = begin + 1 if key == 'end' else 1
                options.append(f'param_scheduler.{i}.{key}={max(least, round(scheduler[key] * factor))}')
    return options


def run(tool: str, *arguments: str | Path) -> None:
    """Show a command and run it."""
    command = [sys.executable, str(ROOT / 'tools' / tool), *map(str, arguments)]
    print(f'\n$ {shlex.join(["python", f"tools/{tool}", *command[2:]])}', flush=True)
    if code := subprocess.run(command).returncode:
        raise SystemExit(code)


def main() -> None:
    """Run the demo."""
    args = parse_args()
    out = args.out / time.strftime('%Y%m%d_%H%M%S')
    started = time.monotonic()
    run('train.py', args.config, '--work-dir', out, '--cfg-options', *schedule(args.config, args.iters))
    checkpoint = next(iter(sorted(out.glob('best_*.pth'))), None) or Path((out / 'last_checkpoint').read_text())
    pictures = out.resolve() / 'pictures'
    progress = ('--cfg-options', 'default_hooks.logger.interval=5')
    run('test.py', args.config, checkpoint, '--work-dir', out / 'test', '--show-dir', pictures, *progress)
    print(
        f'\nThe demo took {time.monotonic() - started:.0f} s. Its metrics are above; red boxes are detected, blue '
        f'missed, yellow false targets in the {len(list(pictures.iterdir()))} pictures in\n  {pictures}\n'
        f'Checkpoint:\n  {checkpoint.resolve()}'
    )


if __name__ == '__main__':
    main()
