"""Write synthetic scenes to disk in the layout of NUDT-SIRST.

``images/000001.png`` and ``masks/000001.png`` ({0, 255}) onwards, ``train.txt``, ``val.txt`` and ``test.txt`` with the
ids of each part, and ``scenes.json`` with all parameters. The pictures are those that
``mmirstd.SyntheticIRSTDDataset`` renders for the same seed, part, index and size. The folder is built beside its final
place and moved there when it is complete; an interrupted run goes on where it stopped.

Train on it with ``dict(type='mmirstd.FolderDataset', data_root=OUT, ann_file='train.txt')`` and paths as usual.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import DictAction
from mmengine.utils import ProgressBar

from mmirstd import __version__
from mmirstd.io.files import write_atomically
from mmirstd.synthesis.config import MIN_SIZE, SceneConfig
from mmirstd.synthesis.scenes import PARTS, render_scene, scene_generator

RECORD = 'scenes.json'


def write_scene(job: tuple[str, int, str], folder: Path, seed: int, size: tuple[int, int], cfg: SceneConfig) -> None:
    """Render scene ``(part, index, id)`` and write its image and, last, its mask."""
    part, index, name = job
    image, mask, _ = render_scene(scene_generator(seed, part, index), size, cfg)
    for kind, pixels in (('images', image), ('masks', mask * np.uint8(255))):
        write_atomically(folder / kind / f'{name}.png', cv2.imencode('.png', pixels)[1].tobytes(), flush=False)


def start_worker() -> None:
    """Leave Ctrl-C to the main process, and parallel work to the number of processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def list_jobs(nums: dict[str, int]) -> Iterator[tuple[str, int, str]]:
    """Part, index in the part and id of every scene; ids run on over the parts."""
    jobs = ((part, index) for part, num in nums.items() for index in range(num))
    for i, (part, index) in enumerate(jobs, 1):
        yield part, index, f'{i:06d}'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write')
    for part, num in zip(PARTS, (1000, 100, 200), strict=True):
        parser.add_argument(f'--{part}', type=int, default=num, metavar='N', help=f'{part} scenes (default {num})')
    parser.add_argument('--size', type=int, nargs=2, default=(256, 256), metavar=('H', 'W'))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--scene', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='fields of SceneConfig'
    )
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes; the result is the same')
    parser.add_argument('--overwrite', action='store_true', help='replace scenes that this tool wrote to OUT before')
    args = parser.parse_args()
    nums = [getattr(args, part) for part in PARTS]
    if min(nums) < 0 or sum(nums) == 0:
        parser.error(f'numbers of scenes must be >= 0 and not all 0, got {nums}')
    if min(args.size) < MIN_SIZE:
        parser.error(f'--size must be at least {MIN_SIZE} {MIN_SIZE}, got {args.size[0]} {args.size[1]}')
    if args.seed < 0 or args.workers < 1:
        parser.error(f'--seed must be >= 0 and --workers >= 1, got {args.seed} and {args.workers}')
    try:
        args.scene = SceneConfig(**args.scene)
    except (TypeError, ValueError) as error:
        parser.error(f'--scene: {error}')
    if args.out.exists():
        if not (args.out / RECORD).is_file():
            parser.error(f'{args.out} exists and is not from this tool')
        if not args.overwrite:
            parser.error(f'{args.out} exists; use --overwrite to replace it')
    return args


def open_work_folder(work: Path, record: str) -> None:
    """Create the folder of unfinished work, or keep it if it was begun with the same parameters."""
    if work.exists() and (not (work / RECORD).is_file() or (work / RECORD).read_text() != record):
        raise SystemExit(f'error: {work} holds unfinished scenes of other parameters; delete it or finish those first')
    for kind in ('images', 'masks'):
        (work / kind).mkdir(parents=True, exist_ok=True)
        for leftover in (work / kind).glob('.*.tmp'):
            leftover.unlink()
    write_atomically(work / RECORD, record.encode())


def main() -> None:
    """Write the scenes."""
    args = parse_args()
    nums = {part: getattr(args, part) for part in PARTS}
    parameters = {
        'version': __version__,
        'seed': args.seed,
        'size': list(args.size),
        'num': nums,
        'scene': asdict(args.scene),
    }
    work = args.out.with_name(args.out.name + '.unfinished')
    open_work_folder(work, json.dumps(parameters, indent=2) + '\n')
    jobs = list(list_jobs(nums))
    todo = [job for job in jobs if not (work / 'masks' / f'{job[2]}.png').is_file()]
    if len(todo) < len(jobs):
        print(f'{len(jobs) - len(todo)} of {len(jobs)} scenes are there from an earlier run')
    write = partial(write_scene, folder=work, seed=args.seed, size=tuple(args.size), cfg=args.scene)
    if todo:
        bar = ProgressBar(len(todo))
        with ExitStack() as stack:
            run = map
            if args.workers > 1:
                # spawn: OpenCV's threads do not survive a fork.
                pool = multiprocessing.get_context('spawn').Pool(min(args.workers, len(todo)), start_worker)
                run = partial(stack.enter_context(pool).imap_unordered, chunksize=8)
            for _ in run(write, todo):
                bar.update()
        print()
    for part in PARTS:
        ids = [name for p, _, name in jobs if p == part]
        write_atomically(work / f'{part}.txt', ''.join(f'{name}\n' for name in ids).encode())
    if args.out.exists():
        old = args.out.with_name(args.out.name + '.old')
        if (old / RECORD).is_file():
            shutil.rmtree(old)
        os.replace(args.out, old)
        os.replace(work, args.out)
        shutil.rmtree(old)
    else:
        os.replace(work, args.out)
    print(f'{len(jobs)} scenes in {args.out}')


if __name__ == '__main__':
    main()
