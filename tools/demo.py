"""The main job on synthetic scenes, as ``make demo`` runs it: train, evaluate, draw. Each run gets its own folder."""

import argparse
import time
from pathlib import Path

from mmirstd.apis import test, train
from mmirstd.apis.configuration import read_config

CONFIG = 'simir_repvit-fast_synthetic'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Train and evaluate the fast SimIR on synthetic scenes.')
    parser.add_argument('--iters', type=int, help='training iterations, by default what the config says')
    parser.add_argument('--config', default=CONFIG)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'), help='a folder is made in here')
    return parser.parse_args()


def schedule(config: str, iters: int | None) -> dict[str, int]:
    """Options that log often enough to watch, and scale a config's schedule to ``iters`` iterations."""
    if iters is None:
        return {'default_hooks.logger.interval': 20}
    cfg = read_config(config)
    factor = iters / cfg.train_cfg.max_iters
    options = {'train_cfg.max_iters': iters, 'train_cfg.val_interval': iters}
    options['default_hooks.logger.interval'] = max(1, min(20, iters // 4))
    for i, scheduler in enumerate(cfg.get('param_scheduler') or []):
        begin = options[f'param_scheduler.{i}.begin'] = round(scheduler.get('begin', 0) * factor)
        for key in {'end', 'T_max'} & scheduler.keys():
            least = begin + 1 if key == 'end' else 1
            options[f'param_scheduler.{i}.{key}'] = max(least, round(scheduler[key] * factor))
    return options


def main() -> None:
    """Run the demo."""
    args = parse_args()
    out = (args.out / time.strftime('%Y%m%d_%H%M%S')).resolve()
    pictures = out / 'pictures'
    started = time.monotonic()
    print(f'\n$ mmirstd train {args.config} --work-dir {out}', flush=True)
    trained = train(args.config, work_dir=out, cfg_options=schedule(args.config, args.iters))
    checkpoint = trained.best or trained.last
    print(f'\n$ mmirstd test {args.config} {checkpoint} --show-dir {pictures}', flush=True)
    test(
        args.config,
        checkpoint,
        work_dir=out / 'test',
        show_dir=pictures,
        cfg_options={'default_hooks.logger.interval': 5},
    )
    print(
        f'\nThe demo took {time.monotonic() - started:.0f} s. Its metrics are above. Red boxes are detected targets, '
        f'blue ones missed targets, yellow ones false alarms in the {len(list(pictures.iterdir()))} pictures in\n'
        f'  {pictures}\nCheckpoint:\n  {checkpoint}'
    )


if __name__ == '__main__':
    main()
