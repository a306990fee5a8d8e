"""See what a pipeline does, and what is in a split: ``python tools/analysis_tools/browse_dataset.py CONFIG``.

Draws samples of a config's split after each transform of its pipeline, and with ``--stats`` measures the whole split as
its files are, before any augmentation: printed, and written as CSV, JSON and a picture of histograms.
"""

import argparse
import copy
import io
import json
import os
import os.path as osp
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

try:
    from mmirstd.apis import tool_options as cli
except ImportError as e:
    if e.name not in ('mmirstd', None):
        raise
    # e.name is None where mmirstd says that its stack is missing.
    root = osp.dirname(osp.dirname(osp.dirname(osp.abspath(__file__))))
    advice = f'mmirstd is not installed in this Python: run `make` in {root} and use {root}/.venv/bin/python'
    raise SystemExit(f'error: {advice if e.name else e}') from None
import cv2
import numpy as np
from mmengine.config import Config, DictAction
from mmengine.dataset import BaseDataset, ClassBalancedDataset, Compose, ConcatDataset, RepeatDataset
from mmengine.registry import init_default_scope
from mmengine.utils import track_iter_progress
from mmseg.datasets import MultiImageMixDataset
from mmseg.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmirstd.datasets.statistics_report import (
    BOX,
    TARGET,
    SampleStatistics,
    draw_histograms,
    image_rows,
    statistics_table,
    summarize_statistics,
    target_rows,
)
from mmirstd.engine.seeding import seed_generators
from mmirstd.io.files import write_atomically
from mmirstd.io.names import flat_name, sample_names
from mmirstd.io.tables import csv_rows
from mmirstd.ops.components import label_components
from mmirstd.ops.target_statistics import ImageStatistics, image_statistics, target_statistics
from mmirstd.visualization.stages import Stage, draw_stages


class Part(NamedTuple):
    """A dataset of files or scenes, and the name that each sample has in pictures and tables."""

    name: str
    dataset: BaseDataset
    names: list[str]
    augment: tuple[Callable[[dict], dict | None], ...] = ()  # transforms of the wrappers around the dataset


class Mix:
    """A transform of ``MultiImageMixDataset``, which draws the other samples that it mixes in."""

    def __init__(self, transform: Any, dataset: Any) -> None:
        self.transform, self.dataset = transform, dataset

    def __call__(self, results: dict) -> dict | None:
        """Transform one sample."""
        results['mix_results'] = [copy.deepcopy(self.dataset[i]) for i in self.transform.get_indices(self.dataset)]
        results = self.transform(results)
        if results is not None:
            results.pop('mix_results', None)
        return results

    def __repr__(self) -> str:
        return repr(self.transform)


def find_parts(dataset: Any, augment: tuple = ()) -> Iterator[tuple[BaseDataset, tuple]]:
    """Walk the datasets inside wrappers, each with the wrappers' transforms; a repeated one comes once."""
    if isinstance(dataset, ConcatDataset):
        for inner in dataset.datasets:
            yield from find_parts(inner, augment)
    elif isinstance(dataset, (RepeatDataset, ClassBalancedDataset)):
        yield from find_parts(dataset.dataset, augment)
    elif isinstance(dataset, MultiImageMixDataset):
        own = [Mix(t, dataset.dataset) if hasattr(t, 'get_indices') else t for t in dataset.pipeline]
        yield from find_parts(dataset.dataset, (*own, *augment))
    elif isinstance(dataset, BaseDataset):
        yield dataset, augment
    else:
        raise TypeError(f'{type(dataset).__name__}: neither a dataset nor a known wrapper, so not to be looked into')


def load_parts(cfg: Config, split: str) -> list[Part]:
    """Build the datasets of a split."""
    loader = cfg.get(f'{split}_dataloader')
    if not loader:
        raise SystemExit(f'error: the config has no {split}_dataloader')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    parts = []
    for dataset, augment in find_parts(DATASETS.build(loader['dataset'])):
        dataset.full_init()
        names = sample_names(dataset)
        names = [flat_name(names[dataset.get_data_info(i)['img_path']]) for i in range(len(dataset))]
        described = dataset.metainfo.get('split', {})
        name = f'{described.get("dataset", type(dataset).__name__)} {described.get("name", split)}'
        parts.append(Part(name, dataset, names, augment))
    return parts


class Recorder(Compose):
    """A pipeline that keeps what each transform makes of a sample."""

    def __init__(self, transforms: Sequence[Callable[[dict], dict | None]]) -> None:
        self.transforms = transforms
        self.stages: list[Stage] = []

    def __call__(self, data: dict) -> dict | None:
        """Run the pipeline."""
        self.stages = []
        known = _parameters(data)
        for transform in self.transforms:
            data = transform(data)
            title = ' '.join(repr(transform).split())
            if data is None:
                self.stages.append(Stage(title, None, None, 'gave no sample: another one is drawn in training'))
                break
            now = _parameters(data)
            note = ', '.join(f'{k} {_short(v)}' for k, v in now.items() if k not in known or known[k] != v)
            known = now
            self.stages.append(Stage(title, *_picture(data), note))
        return data


def _parameters(data: dict) -> dict[str, Any]:
    return {key: value for key, value in data.items() if _is_parameter(key, value)}


def _is_parameter(key: str, value: Any) -> bool:
    """What a transform says of itself: numbers and words, but for sizes and names, which are shown anyway."""
    if key.endswith(('_shape', '_path', '_fields', '_id', '_map')) or key in (
        'label_map',
        'reduce_zero_label',
        'sample_idx',
    ):
        return False
    if isinstance(value, dict):
        return all(isinstance(v, (bool, int, float, str)) for v in value.values())
    if isinstance(value, (tuple, list)):
        return len(value) < 5 and all(isinstance(v, (bool, int, float, str)) for v in value)
    return isinstance(value, (bool, int, float, str))


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ' '.join(f'{k}={_short(v)}' for k, v in value.items()) or 'nothing'
    if isinstance(value, (tuple, list)):
        return '(' + ', '.join(map(_short, value)) + ')'
    return f'{value:.3g}' if isinstance(value, float) else str(value)


def _picture(data: dict) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Copies of image and mask, of a sample that is packed or not."""
    image, mask = data.get('img'), data.get('gt_seg_map')
    if image is None and 'inputs' in data:
        image = np.moveaxis(data['inputs'].numpy(), 0, -1)
        packed = getattr(data.get('data_samples'), 'gt_sem_seg', None)
        mask = None if packed is None else packed.data[0].numpy()
    return (None if image is None else image.copy()), (None if mask is None else mask.copy())


def trace(part: Part, index: int, key: Sequence[int]) -> list[Stage]:
    """Run a sample through all transforms, with generators seeded by ``key``; one stage per transform."""
    recorder = Recorder([*part.dataset.pipeline.transforms, *part.augment])
    seed_generators(*key)
    recorder(part.dataset.get_data_info(index))
    return recorder.stages


def choose(parts: list[Part], num: int, ids: Sequence[str], seed: int) -> list[tuple[Part, int]]:
    """The samples to draw: those named, or a random choice."""
    every = [(part, i) for part in parts for i in range(len(part.names))]
    if not ids:
        order = np.random.default_rng(seed).permutation(len(every))[:num]
        return [every[i] for i in sorted(order)]
    by_name: dict[str, list[tuple[Part, int]]] = {}
    for part, i in every:
        for name in {part.names[i], str(part.dataset.get_data_info(i).get('img_id', part.names[i]))}:
            by_name.setdefault(name, []).append((part, i))
    for name in ids:
        if name not in by_name:
            close = get_close_matches(name, by_name, 3)
            raise SystemExit(
                f'error: --ids {name}: no such sample in {", ".join(p.name for p in parts)}'
                + (f'; did you mean {" or ".join(close)}?' if close else '')
            )
    return [sample for name in ids for sample in by_name[name]]


class Loaded(Dataset):
    """Measures samples as they are loaded, for a DataLoader; an error is handed back as text.

    A worker's own report of an error is a page long, and an exception that cannot be pickled would never arrive.
    """

    def __init__(self, parts: list[Part], width: int) -> None:
        self.samples = [(part, i) for part in parts for i in range(len(part.names))]
        self.width = width

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> SampleStatistics | str:
        """Measure one."""
        try:
            part, index = self.samples[number]
            image, mask = load(part.dataset, index)
            components = label_components(mask == 1)
            return SampleStatistics(
                part.name,
                part.names[index],
                image_statistics(image, mask, components=components),
                target_statistics(image, mask, width=self.width, components=components),
            )
        except Exception as e:
            if os.environ.get('MMIRSTD_TRACEBACK'):
                raise
            return cli.describe(e)


def load(dataset: BaseDataset, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask before any augmentation: the pipeline up to the transform that completes them."""
    data = dataset.get_data_info(index)
    for transform in dataset.pipeline.transforms:
        data = transform(data)
        if 'img' in data and 'gt_seg_map' in data:
            return data['img'], data['gt_seg_map']
    raise ValueError(f'the pipeline of {type(dataset).__name__} loads no img with gt_seg_map')


def measure(parts: list[Part], width: int, workers: int) -> list[SampleStatistics]:
    """Measure all samples, with a progress bar."""
    # As MMEngine does before it starts workers: a forked process hangs in OpenCV's threads.
    cv2.setNumThreads(0)
    samples = Loaded(parts, width)
    loader = DataLoader(samples, batch_size=None, num_workers=workers)
    measured = []
    for item in track_iter_progress((loader, len(samples)), file=sys.stderr):
        if isinstance(item, str):
            print(file=sys.stderr)
            raise SystemExit(f'error: {item}')
        measured.append(item)
    print(file=sys.stderr)
    return measured


def to_png(picture: np.ndarray) -> bytes:
    """A PNG file."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, 'PNG', optimize=True)
    return content.getvalue()


STATS_FILES = ('images.csv', 'targets.csv', 'statistics.json', 'statistics.png')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Draw samples after each transform; measure a split.')
    parser.add_argument('config', help='config file')
    parser.add_argument('--split', choices=['train', 'val', 'test'], default='train', help='default: train')
    parser.add_argument('--data-root', metavar='DIR', help='folder of the dataset; by default what the config says')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE')
    parser.add_argument('--out-dir', type=Path, metavar='DIR', help='default: work_dirs/CONFIG/browse_SPLIT')
    parser.add_argument('--num', type=int, default=4, help='samples to draw at random (default: 4; 0 for none)')
    parser.add_argument('--ids', nargs='+', default=[], metavar='ID', help='draw these instead')
    parser.add_argument('--seed', type=int, default=0, help='of the choice and of the augmentation (default: 0)')
    parser.add_argument('--per-picture', type=int, default=1, metavar='N', help='samples side by side (default: 1)')
    parser.add_argument(
        '--panel-size', type=int, default=256, metavar='PIXELS', help='long side of an image (default: 256)'
    )
    parser.add_argument('--stats', action='store_true', help='measure the whole split')
    parser.add_argument(
        '--surroundings', type=int, default=20, metavar='PIXELS', help="width of a target's (default: 20)"
    )
    parser.add_argument('--workers', type=int, default=2, help='processes that load images for --stats (default: 2)')
    parser.add_argument('--overwrite', action='store_true', help='allow replacing files in the output folder')
    # What cli.load_config reads beside these.
    common = argparse.ArgumentParser()
    cli.add_common_arguments(common)
    parser.set_defaults(**vars(common.parse_args([])))
    args = parser.parse_args(argv)
    for name, least in {
        'num': 0,
        'seed': 0,
        'per_picture': 1,
        'panel_size': 128,
        'surroundings': 1,
        'workers': 0,
    }.items():
        if getattr(args, name) < least:
            parser.error(f'--{name.replace("_", "-")} must be at least {least}, got {getattr(args, name)}')
    return args


def picture_files(
    chosen: list[tuple[Part, int]], per_picture: int, parts: list[Part]
) -> list[tuple[str, list[tuple[Part, int]]]]:
    """File names, and the samples in each; parts have pipelines of their own, and so pictures of their own."""
    files = []
    for number, part in enumerate(parts):
        own = [sample for sample in chosen if sample[0] is part]
        prefix = f'{number}_' if len(parts) > 1 else ''
        for start in range(0, len(own), per_picture):
            group = own[start : start + per_picture]
            last = f'_to_{part.names[group[-1][1]]}' if len(group) > 1 else ''
            files.append((f'{prefix}{part.names[group[0][1]]}{last}.png', group))
    return files


def refuse_overwriting(folder: Path, names: Iterable[str]) -> None:
    """See that none of the files is there."""
    if found := [name for name in names if (folder / name).exists()]:
        more = f' and {len(found) - 3} more' if len(found) > 3 else ''
        raise SystemExit(
            f'error: {folder} already holds {", ".join(found[:3])}{more}: choose another --out-dir, or allow replacing '
            'files with --overwrite'
        )


def main(argv: list[str] | None = None) -> None:
    """Draw and measure."""
    args = parse_args(argv)
    with cli.one_line_errors():
        cfg = cli.load_config(args, (args.split,))
        folder = args.out_dir or Path(cfg.work_dir) / f'browse_{args.split}'
        parts = load_parts(cfg, args.split)
        files = picture_files(choose(parts, args.num, args.ids, args.seed), args.per_picture, parts)
        if not args.overwrite:
            refuse_overwriting(folder, [name for name, _ in files] + list(STATS_FILES if args.stats else ()))
        folder.mkdir(parents=True, exist_ok=True)
        config = osp.basename(args.config)
        for name, samples in track_iter_progress((files, len(files)), file=sys.stderr) if files else ():
            traced = [(part.names[i], trace(part, i, (args.seed, parts.index(part), i))) for part, i in samples]
            heading = f'{samples[0][0].name} in {config}, {args.split}, seed {args.seed}'
            picture = draw_stages(traced, panel_size=args.panel_size, heading=heading)
            write_atomically(folder / name, to_png(picture))
        if files:
            print(f'\n{len(files)} pictures in {folder}', file=sys.stderr)
        if args.stats:
            report(measure(parts, args.surroundings, args.workers), parts, folder, args)


def report(measured: list[SampleStatistics], parts: list[Part], folder: Path, args: argparse.Namespace) -> None:
    """Print the tables and write the files."""
    groups = {part.name: [m for m in measured if m.part == part.name] for part in parts}
    if len(groups) > 1:
        groups['all'] = measured
    summaries = {name: summarize_statistics(group, args.surroundings) for name, group in groups.items()}
    header = ('dataset', 'id')
    write_atomically(folder / 'images.csv', csv_rows(image_rows(measured), header + ImageStatistics._fields))
    write_atomically(folder / 'targets.csv', csv_rows(target_rows(measured), header + BOX + TARGET))
    write_atomically(folder / 'statistics.json', (json.dumps(summaries, indent=2, allow_nan=False) + '\n').encode())
    picture = draw_histograms(measured, ', '.join(part.name for part in parts))
    write_atomically(folder / 'statistics.png', to_png(picture))
    print('\n\n'.join(statistics_table(name, summary) for name, summary in summaries.items()))
    print(f'\n{", ".join(STATS_FILES)} in {folder}', file=sys.stderr)


if __name__ == '__main__':
    main()
