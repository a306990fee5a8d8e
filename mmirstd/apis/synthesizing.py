"""Synthetic scenes on disk, in the layout of NUDT-SIRST."""

import json
import multiprocessing
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmirstd.apis.configuration import parse_options
from mmirstd.apis.running import say
from mmirstd.io.files import refuse_overwriting, write_atomically, write_png
from mmirstd.io.tables import json_bytes
from mmirstd.synthesis.config import MIN_SIZE, SceneConfig
from mmirstd.synthesis.scenes import PARTS, render_scene, scene_generator
from mmirstd.utils.errors import ArgumentError, UserError
from mmirstd.utils.locks import output_lock
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.text import abridge
from mmirstd.version import __version__

RECORD = 'scenes.json'


class SynthesisError(UserError, FileExistsError):
    """The folder to write is in use."""


def synthesize(
    out: str | Path,
    *,
    train: int = 1000,
    val: int = 100,
    test: int = 200,
    size: Sequence[int] = (256, 256),
    seed: int = 0,
    scene: SceneConfig | Mapping[str, Any] | Sequence[str] | None = None,
    workers: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write synthetic scenes: images, masks {0, 255}, the ids of the splits, and ``scenes.json`` with the parameters.

    The pictures are those that ``mmirstd.SyntheticIRSTDDataset`` renders for the same seed, split, index and size. The
    folder is built beside its final place and moved there when it is complete; an interrupted run is continued. Train
    on it with ``dict(type='mmirstd.FolderDataset', data_root=OUT, ann_file='train.txt')``.

    Args:
        out: Folder to write.
        train: Number of scenes for training.
        val: Number of scenes for validation.
        test: Number of scenes for testing.
        size: Height and width in pixels.
        seed: Of all scenes.
        scene: What scenes look like: a :class:`SceneConfig`, its fields, or ``'KEY=VALUE'`` texts.
        workers: Processes; the result is the same with any number. By default one per processor.
        overwrite: Replace scenes that this function wrote to ``out`` before.

    Returns:
        The folder.

    Raises:
        ArgumentError: If a number is out of range or a field is wrong.
        SynthesisError: If ``out`` holds something else, or unfinished scenes of other parameters lie beside it.
        FileExistsError: If ``out`` holds scenes, and ``overwrite`` is false.
    """
    out, size = Path(out), tuple(size)
    nums = dict(zip(PARTS, (train, val, test), strict=True))
    workers = (os.cpu_count() or 1) if workers is None else workers
    if min(nums.values()) < 0 or sum(nums.values()) == 0:
        raise ArgumentError(f'numbers of scenes must be >= 0 and not all 0, got {list(nums.values())}')
    if len(size) != 2 or min(size) < MIN_SIZE:
        raise ArgumentError(f'--size must be at least {MIN_SIZE} {MIN_SIZE}, got {" ".join(map(str, size))}')
    if seed < 0 or workers < 1:
        raise ArgumentError(f'--seed must be >= 0 and --workers >= 1, got {seed} and {workers}')
    cfg = _scene_config(scene)
    if out.exists() and not (out / RECORD).is_file():
        raise SynthesisError(f'{out} exists, and its content was not written by mmirstd synthesize')
    refuse_overwriting(out, overwrite)
    if out.exists() and (others := _files_of_others(out)):
        raise SynthesisError(f'{out} holds {abridge(others)}, not written by mmirstd synthesize; move that away first')
    parameters = {'version': __version__, 'seed': seed, 'size': size, 'num': nums, 'scene': asdict(cfg)}
    work = out.with_name(out.name + '.unfinished')
    with output_lock(out):
        _open_work_folder(work, json_bytes(parameters))
        jobs = list(_list_jobs(nums))
        todo = [job for job in jobs if not (work / 'masks' / f'{job[2]}.png').is_file()]
        if len(todo) < len(jobs):
            say(f'{len(jobs) - len(todo)} of {len(jobs)} scenes are there from an earlier run')
        _render(todo, partial(write_scene, folder=work, seed=seed, size=size, cfg=cfg), workers, len(jobs) - len(todo))
        for part in PARTS:
            write_atomically(work / f'{part}.txt', ''.join(f'{name}\n' for p, _, name in jobs if p == part))
        _move_into_place(work, out)
    return out


def _scene_config(scene: SceneConfig | Mapping[str, Any] | Sequence[str] | None) -> SceneConfig:
    if isinstance(scene, SceneConfig):
        return scene
    given, known = parse_options(scene, '--scene'), [field.name for field in fields(SceneConfig)]
    if unknown := [name for name in given if name not in known]:
        raise ArgumentError(f'--scene: there is no {", ".join(unknown)}; there are {", ".join(known)}')
    try:
        return SceneConfig(**given)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f'--scene: {error}') from None


def _list_jobs(nums: Mapping[str, int]) -> Iterator[tuple[str, int, str]]:
    """Split, index in the split and id of every scene; ids run on over the splits."""
    jobs = ((part, index) for part, num in nums.items() for index in range(num))
    for i, (part, index) in enumerate(jobs, 1):
        yield part, index, f'{i:06d}'


def _open_work_folder(work: Path, record: bytes) -> None:
    """Create the folder of unfinished work, or keep it if it was begun with the same parameters."""
    if work.exists() and (not (work / RECORD).is_file() or (work / RECORD).read_bytes() != record):
        raise SynthesisError(f'{work} holds unfinished scenes of other parameters; delete it or finish those first')
    for kind in ('images', 'masks'):
        (work / kind).mkdir(parents=True, exist_ok=True)
        for leftover in (work / kind).glob('.*.tmp'):
            leftover.unlink()
    write_atomically(work / RECORD, record)


def write_scene(job: tuple[str, int, str], folder: Path, seed: int, size: tuple[int, int], cfg: SceneConfig) -> None:
    """Render scene ``(part, index, id)`` and write its image and, last, its mask."""
    part, index, name = job
    image, mask, _ = render_scene(scene_generator(seed, part, index), size, cfg)
    for kind, pixels in (('images', image), ('masks', mask * np.uint8(255))):
        write_png(folder / kind / f'{name}.png', pixels, flush=False)


def _start_worker() -> None:
    """Leave Ctrl-C to the main process, and parallel work to the number of processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _render(todo: list, write: partial, workers: int, done: int) -> None:
    with ExitStack() as stack:
        run = map
        if workers > 1 and todo:
            # spawn: OpenCV's threads do not survive a fork.
            pool = multiprocessing.get_context('spawn').Pool(min(workers, len(todo)), _start_worker)
            run = partial(stack.enter_context(pool).imap_unordered, chunksize=8)
        bar = stack.enter_context(progress_bar(description='scenes', total=len(todo) + done))
        bar.update(done)
        for _ in run(write, todo):
            bar.update()


def _files_of_others(folder: Path) -> list[str]:
    """Name what is in a folder of scenes beside them; none of it may go with them."""
    try:
        num = json.loads((folder / RECORD).read_bytes())['num']
        ids = [name for _, _, name in _list_jobs({part: int(num[part]) for part in PARTS})]
    except (ValueError, KeyError, TypeError):
        return [RECORD]
    own = {
        RECORD,
        *(f'{part}.txt' for part in PARTS),
        *(f'{kind}/{i}.png' for kind in ('images', 'masks') for i in ids),
    }
    found = (p.relative_to(folder).as_posix() for p in folder.rglob('*') if not p.is_dir() or p.is_symlink())
    return sorted(set(found) - own)


def _move_into_place(work: Path, out: Path) -> None:
    if out.exists():
        old = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', suffix='.old', dir=out.parent))
        os.replace(out, old)
        os.replace(work, out)
        shutil.rmtree(old)
    else:
        os.replace(work, out)
