"""Pictures of what a pipeline does to samples, and statistics of a split as its files are."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset

from mmirstd.apis.configuration import CfgOptions, run_config
from mmirstd.apis.tracing import BrowsedDataset, load_datasets, pipeline_input, trace
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
from mmirstd.io.files import refuse_overwriting, write_atomically, write_png
from mmirstd.io.names import sample_files
from mmirstd.io.tables import csv_rows, json_bytes
from mmirstd.ops.components import label_components
from mmirstd.ops.target_statistics import ImageStatistics, image_statistics, target_statistics
from mmirstd.utils.errors import ArgumentError, UserError
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.text import as_list, did_you_mean
from mmirstd.utils.workers import map_in_processes
from mmirstd.visualization.stages import draw_stages

STATISTICS_FILES = ('images.csv', 'targets.csv', 'statistics.json', 'statistics.png')
_LEAST = {'num': 0, 'seed': 0, 'per_picture': 1, 'panel_size': 128, 'surroundings': 1, 'workers': 0}


class BrowsedSplit(NamedTuple):
    """What was written of a split.

    Attributes:
        folder: Where the files are.
        pictures: Names of the pictures of pipelines.
        statistics: Counts and quantiles of each dataset, and of all if there are several; empty if not asked for.
        tables: The same as Markdown.
    """

    folder: Path
    pictures: list[str]
    statistics: dict[str, dict[str, Any]]
    tables: str


def browse(
    config: str | Path | Config,
    split: str = 'train',
    *,
    data_root: str | Path | None = None,
    cfg_options: CfgOptions | None = None,
    out_dir: str | Path | None = None,
    num: int = 4,
    ids: Sequence[str] = (),
    seed: int = 0,
    per_picture: int = 1,
    panel_size: int = 256,
    stats: bool = False,
    surroundings: int = 20,
    workers: int = 2,
    overwrite: bool = False,
) -> BrowsedSplit:
    """Draw samples of a split after each transform of its pipeline, and measure the split.

    Args:
        config: Path or name of a config, or a config.
        split: ``'train'``, ``'val'`` or ``'test'``.
        data_root: Folder of the dataset; by default what the config says.
        cfg_options: Changes of the config: dotted keys and values, or ``'KEY=VALUE'`` texts.
        out_dir: Folder to write; by default ``work_dirs/NAME/browse_SPLIT``.
        num: Number of samples to draw, chosen at random.
        ids: Draw these samples instead.
        seed: Of the choice and of the augmentation.
        per_picture: Samples side by side in a picture.
        panel_size: Long side of an image in a picture, in pixels.
        stats: Measure the whole split as its files are, before any augmentation.
        surroundings: Width of a target's surroundings, in pixels.
        workers: Processes that load images to measure them.
        overwrite: Replace files in ``out_dir``.

    Raises:
        ArgumentError: If a number is out of range, or there is no sample of an id.
        OptionError: If the config has no such split.
        FileExistsError: If ``out_dir`` holds one of the files.
        MeasuringError: If a sample cannot be loaded; names its file.
    """
    given = locals()
    for name, least in _LEAST.items():
        if given[name] < least:
            raise ArgumentError(f'--{name.replace("_", "-")} must be at least {least}, got {given[name]}')
    cfg = run_config(config, (split,), cfg_options=cfg_options, data_root=data_root)
    folder = Path(out_dir or Path(cfg.work_dir) / f'browse_{split}')
    parts = load_datasets(cfg, split)
    files = picture_files(choose(parts, num, ids, seed), per_picture, parts)
    names = [name for name, _ in files]
    read = [file for part in parts for file in sample_files(part.dataset)]
    refuse_overwriting([folder / name for name in [*names, *(STATISTICS_FILES if stats else ())]], overwrite, read)
    for name, samples in progress_bar(files, 'pictures'):
        traced = [(part.names[i], trace(part, i, (seed, parts.index(part), i))) for part, i in samples]
        heading = f'{samples[0][0].name} in {os.path.basename(cfg.filename or "config")}, {split}, seed {seed}'
        write_png(folder / name, draw_stages(traced, panel_size=panel_size, heading=heading), 'rgb')
    summaries = (
        write_statistics(measure_samples(parts, surroundings, workers), parts, folder, surroundings) if stats else {}
    )
    return BrowsedSplit(folder, names, summaries, '\n\n'.join(statistics_table(*item) for item in summaries.items()))


def choose(parts: list[BrowsedDataset], num: int, ids: Sequence[str], seed: int) -> list[tuple[BrowsedDataset, int]]:
    """The samples to draw: those named, or a random choice."""
    every = [(part, i) for part in parts for i in range(len(part.names))]
    if not ids:
        order = np.random.default_rng(seed).permutation(len(every))[:num]
        return [every[i] for i in sorted(order)]
    by_name: dict[str, list[tuple[BrowsedDataset, int]]] = {}
    for part, i in every:
        for name in {part.names[i], str(part.dataset.get_data_info(i).get('img_id', part.names[i]))}:
            by_name.setdefault(name, []).append((part, i))
    ids = as_list(ids)
    for name in ids:
        if name not in by_name:
            known = ', '.join(part.name for part in parts)
            raise ArgumentError(f'--ids {name}: no such sample in {known}{did_you_mean(name, by_name)}')
    return [sample for name in ids for sample in by_name[name]]


class MeasuringError(UserError, RuntimeError):
    """A sample cannot be loaded."""


def load(dataset: BaseDataset, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask before any augmentation: the pipeline up to the transform that completes them."""
    data = pipeline_input(dataset, index)
    for transform in dataset.pipeline.transforms:
        data = transform(data)
        if 'img' in data and 'gt_seg_map' in data:
            return data['img'], data['gt_seg_map']
    raise ValueError(f'the pipeline of {type(dataset).__name__} loads no img with gt_seg_map')


def measure_samples(parts: list[BrowsedDataset], width: int, workers: int) -> list[SampleStatistics]:
    """Measure all samples, with a progress bar."""
    samples = [(part, i) for part in parts for i in range(len(part.names))]
    return list(map_in_processes(partial(measure_sample, width=width), samples, workers, 'measuring', MeasuringError))


def measure_sample(sample: tuple[BrowsedDataset, int], width: int) -> SampleStatistics:
    """Measure one sample as its files are; ``width`` is that of a target's surroundings."""
    part, index = sample
    image, mask = load(part.dataset, index)
    components = label_components(mask == 1)
    return SampleStatistics(
        part.name,
        part.names[index],
        image_statistics(image, mask, components=components),
        target_statistics(image, mask, width=width, components=components),
    )


def picture_files(
    chosen: list[tuple[BrowsedDataset, int]], per_picture: int, parts: list[BrowsedDataset]
) -> list[tuple[str, list[tuple[BrowsedDataset, int]]]]:
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


def write_statistics(
    measured: list[SampleStatistics], parts: list[BrowsedDataset], folder: Path, width: int
) -> dict[str, dict[str, Any]]:
    """Write the files; returns the summary of each dataset, and of all if there are several."""
    groups = {part.name: [m for m in measured if m.part == part.name] for part in parts}
    if len(groups) > 1:
        groups['all'] = measured
    summaries = {name: summarize_statistics(group, width) for name, group in groups.items()}
    header = ('dataset', 'id')
    write_atomically(folder / 'images.csv', csv_rows(image_rows(measured), header + ImageStatistics._fields))
    write_atomically(folder / 'targets.csv', csv_rows(target_rows(measured), header + BOX + TARGET))
    write_atomically(folder / 'statistics.json', json_bytes(summaries))
    write_png(folder / 'statistics.png', draw_histograms(measured, ', '.join(part.name for part in parts)), 'rgb')
    return summaries
