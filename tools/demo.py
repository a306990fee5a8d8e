"""The main jobs on synthetic scenes, as ``make demo`` runs them: detect, train, test, draw.

Each run has its own folder.
"""

import argparse
import time
from pathlib import Path

from mmengine.config import Config

from mmirstd.apis import infer, synthesize, test, train
from mmirstd.apis.configuration import read_config
from mmirstd.apis.scheduling import set_iterations

CONFIG = 'simir_repvit-fast_synthetic'
SHORT = 160  # iterations: a minute of two cores
SCENES = 8


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Detect with the weights of the package, then train the fast SimIR.')
    parser.add_argument('--iters', type=int, default=SHORT, help='training iterations (default %(default)s)')
    parser.add_argument('--full', action='store_true', help='train as long as the config says')
    parser.add_argument('--config', default=CONFIG)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/demo'), help='a folder is made in here')
    return parser.parse_args()


def shortened(config: str, iters: int | None) -> Config:
    """The config, logging often enough to watch, with its schedule scaled to ``iters`` iterations."""
    cfg = read_config(config)
    cfg.default_hooks.logger.interval = 20
    if iters is not None:
        set_iterations(cfg, iters, 1 if iters % 2 else 2, 'the demo')
        cfg.default_hooks.logger.interval = max(1, min(20, iters // 4))
    return cfg


def detect(out: Path) -> None:
    """Find the targets of a few scenes with the weights of the package."""
    scenes, found = out / 'scenes', out / 'found'
    print(f'\n$ mmirstd synthesize {scenes} --train 0 --val 0 --test {SCENES}', flush=True)
    synthesize(scenes, train=0, val=0, test=SCENES)
    print(f'$ mmirstd infer {scenes}/images --out {found}', flush=True)
    print(infer(f'{scenes}/images', found), flush=True)


def main() -> None:
    """Run the demo."""
    args = parse_args()
    out = (args.out / time.strftime('%Y%m%d_%H%M%S')).resolve()
    run, pictures = out / 'training', out / 'pictures'
    started = time.monotonic()
    detect(out)
    print(f'\n$ mmirstd train {args.config} --work-dir {run}', flush=True)
    trained = train(shortened(args.config, None if args.full else args.iters), work_dir=run)
    checkpoint = trained.best or trained.last
    print(f'\n$ mmirstd test {args.config} {checkpoint} --show-dir {pictures}', flush=True)
    test(
        args.config,
        checkpoint,
        work_dir=out / 'test',
        show_dir=pictures,
        cfg_options={'default_hooks.logger.interval': 5},
    )
    number = len(list(pictures.iterdir()))
    print(
        f'\nThe demo took {time.monotonic() - started:.0f} s.\n'
        f'What the weights of the package found in {SCENES} scenes:\n'
        f'  {out / "found/pictures"}\n'
        f'What the network that was just trained finds in {number} scenes; its metrics are above. '
        'Red boxes are\ndetected targets, blue ones missed targets, yellow ones false alarms:\n'
        f'  {pictures}\n'
        f'Checkpoint:\n  {checkpoint}'
    )


if __name__ == '__main__':
    main()
