"""Where the datasets of a config lie.

MMEngine puts the value of a config variable into the datasets when the file is read: changing ``data_root`` later
changes nothing. These functions change the datasets themselves.
"""

import os.path as osp
from collections.abc import Iterable, Iterator
from typing import Any

from mmengine.config import Config


class DataRootError(FileNotFoundError):
    """The folder of a dataset is missing, or cannot be set."""


def iter_datasets(cfg: Config, loaders: Iterable[str] = ('train', 'val', 'test')) -> Iterator[tuple[str, dict]]:
    """Walk the dataset dicts of ``{train,val,test}_dataloader``, inside wrappers and lists; yields (place, dict)."""
    yield from ((place, nested[-1]) for place, nested in iter_nested_datasets(cfg, loaders))


def iter_nested_datasets(
    cfg: Config, loaders: Iterable[str] = ('train', 'val', 'test')
) -> Iterator[tuple[str, tuple[dict, ...]]]:
    """Walk the same, each dataset with the wrappers around it, the outermost first."""
    for loader in loaders:
        for i, dataloader in _items(cfg.get(f'{loader}_dataloader')):
            if 'dataset' in dataloader:
                yield from _leaves(f'{loader}_dataloader{i}.dataset', dataloader['dataset'])


def _items(value: Any) -> Iterator[tuple[str, dict]]:
    if isinstance(value, dict):
        yield '', value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            for inner, leaf in _items(item):
                yield f'[{i}]{inner}', leaf


def _leaves(place: str, node: Any, around: tuple[dict, ...] = ()) -> Iterator[tuple[str, tuple[dict, ...]]]:
    for i, item in _items(node):
        inner = [k for k in ('dataset', 'datasets') if isinstance(item.get(k), (dict, list, tuple))]
        for key in inner:
            yield from _leaves(f'{place}{i}.{key}', item[key], (*around, item))
        if not inner:
            yield place + i, (*around, item)


def set_data_root(cfg: Config, root: str) -> list[str]:
    """Let every dataset of the config that reads files read them below ``root``; changes ``cfg``.

    With datasets in several folders, ``root`` is the folder that holds them, as in :func:`set_data_folder`.

    Returns:
        The folders that are now used.

    Raises:
        DataRootError: If no dataset of the config reads files.
    """
    old = _data_roots(cfg)
    if not old:
        types = ', '.join(sorted({str(leaf.get('type')) for _, leaf in iter_datasets(cfg)})) or 'none'
        raise DataRootError(f'--data-root {root}: no dataset of this config reads files (datasets: {types})')
    return _move(cfg, dict.fromkeys(old, root)) if len(old) == 1 else set_data_folder(cfg, root)


def set_data_folder(cfg: Config, folder: str) -> list[str]:
    """Let every dataset that reads files read them in ``folder``, which holds the datasets, under its own name.

    Changes ``cfg``: ``data/NUDT-SIRST`` -> ``folder/NUDT-SIRST``, also where there is one dataset, or none.

    Returns:
        The folders that are now used.
    """
    return _move(cfg, {old: osp.join(folder, osp.basename(old)) for old in _data_roots(cfg)})


def _data_roots(cfg: Config) -> set[str]:
    return {osp.normpath(leaf['data_root']) for _, leaf in iter_datasets(cfg) if leaf.get('data_root') is not None}


def _move(cfg: Config, new: dict[str, str]) -> list[str]:
    for _, leaf in iter_datasets(cfg):
        if leaf.get('data_root') is not None:
            leaf['data_root'] = new[osp.normpath(leaf['data_root'])]
    if isinstance(cfg.get('data_root'), str) and osp.normpath(cfg['data_root']) in new:
        cfg['data_root'] = new[osp.normpath(cfg['data_root'])]
    return sorted(set(new.values()))


def check_data_root(cfg: Config, loaders: Iterable[str]) -> None:
    """See that the folders exist.

    Raises:
        DataRootError: Naming the folder, who reads it, and what to do.
    """
    for place, leaf in iter_datasets(cfg, loaders):
        root = leaf.get('data_root')
        if root is not None and not osp.isdir(root):
            raise DataRootError(
                f'there is no folder {osp.abspath(root)} ({place}, {leaf.get("type")}): download the dataset '
                '(`mmirstd prepare --list` says where) and pass its folder with --data-root DIR, or put or link it '
                'there'
            )
