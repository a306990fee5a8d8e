"""One strict way to read a checkpoint: plain data only, from a file or URL, and with an error that says what is wrong.

MMEngine's own loader unpickles arbitrary code when the safe way fails (onedl) or cannot read MMEngine's own
checkpoints (original, torch >= 2.6). :func:`use_strict_loader` puts ours in its place, for resuming, ``load_from`` and
the ``init_cfg`` of any model alike. What is loaded can be recorded (:func:`recording`), so that it is known which
checkpoints a model comes from.
"""

import hashlib
import json
import logging
import ntpath
import os
import os.path as osp
import re
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pickle import UnpicklingError
from typing import Any, NamedTuple
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier, get_rank
from mmengine.logging import HistoryBuffer, print_log
from mmengine.model import PretrainedInit, update_init_info
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import get_external_models, get_torchvision_models
from torch import Tensor, nn

from mmirstd.checkpoints.fitting import load_fitting, other_shapes
from mmirstd.checkpoints.integrity import check_content, check_file
from mmirstd.checkpoints.operating_point import META_KEY
from mmirstd.checkpoints.resumable import RUN_ID
from mmirstd.checkpoints.sources import describe_source
from mmirstd.checkpoints.state_dict import CheckpointError, checkpoint_weights
from mmirstd.utils.text import abridge, first_line

MapLocation = str | torch.device | Callable | Mapping | None

# Every scheme that MMEngine registers a loader for; '' is a path.
SCHEMES = (
    '', 'http://', 'https://', 'modelzoo://', 'torchvision://', 'open-mmlab://', 'openmmlab://', 'mmcls://',
    'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://',
)  # fmt: skip

# What of ``meta`` a published safetensors file holds as JSON; the rest is text.
JSON_KEYS = frozenset(
    {'trained_on', 'unknown_splits', 'allowed_overlaps', 'split', 'dataset_meta', 'epoch', 'iter', 'seed', META_KEY}
)


class Load(NamedTuple):
    """A checkpoint that was read, as it was named, and its ``meta``."""

    source: str
    meta: dict


_recorders: list[list[Load]] = []


@contextmanager
def recording(loads: list[Load]) -> Iterator[None]:
    """Append what :func:`load_checkpoint` reads within the block to ``loads``, whoever calls it."""
    _recorders.append(loads)
    try:
        yield
    finally:
        _recorders.pop()


def _history_method(owner: type, name: str) -> Callable:
    """Stand in for ``getattr``, with which MMEngine's log buffers pickle references to their own four statistics."""
    if owner is not HistoryBuffer or name not in ('min', 'max', 'mean', 'current'):
        raise UnpicklingError(f'getattr({owner!r}, {name!r})')
    return getattr(HistoryBuffer, name)


def _safe_globals() -> list:
    multiarray = np._core.multiarray if hasattr(np, '_core') else np.core.multiarray
    dtypes = [type(np.dtype(code)) for code in np.typecodes['AllInteger'] + 'efd?USO']
    named = [(f'numpy.{core}.multiarray.{f.__name__}', f) for core in ('_core', 'core')
             for f in (multiarray._reconstruct, multiarray.scalar)]  # fmt: skip
    return [
        # RepViT's authors, as many others, save their command line's arguments along with the weights.
        HistoryBuffer, Namespace, np.ndarray, np.dtype, *dtypes,
        *((f, name) for name, f in named),
        *((_history_method, f'{module}.getattr') for module in ('builtins', '__builtin__')),
    ]  # fmt: skip


def load_file(path: str | os.PathLike, map_location: MapLocation = 'cpu') -> Any:
    """Read what ``torch.save`` wrote, with ``weights_only=True`` and MMEngine's log buffers allowed, or safetensors.

    Checksums are verified, and sizes compared with that of the file, see :mod:`mmirstd.checkpoints.integrity`.

    Of safetensors, the weights are under ``state_dict`` and the header's text under ``meta``; values under
    ``JSON_KEYS`` there are read as JSON.

    Raises:
        CheckpointError: If the file is missing, empty, damaged, cut off, no checkpoint, holds anything but plain data,
            or would take more memory than its size.
    """
    path = osp.expanduser(os.fspath(path))
    if not osp.isfile(path):
        raise CheckpointError(f'there is no checkpoint file {path}{describe_source(path)}')
    if path.endswith('.safetensors'):
        return load_safetensors(path)
    check_file(path)
    content = _read_plain_data(path, map_location)
    check_content(content, osp.getsize(path), path)
    return content


def read_meta(path: str | os.PathLike) -> Mapping[str, Any]:
    """Read the ``meta`` of a file that ``torch.save`` wrote, without its tensors; empty if there is none.

    Raises:
        CheckpointError: See :func:`load_file`; damage of tensors is not found.
    """
    if not osp.isfile(path):
        raise CheckpointError(f'there is no checkpoint file {path}')
    return meta_of(_read_plain_data(os.fspath(path), 'cpu', mmap=True))


def meta_of(content: Any) -> Mapping[str, Any]:
    """The ``meta`` of what a checkpoint held; empty if there is none, or something else in its place."""
    meta = content.get('meta') if isinstance(content, Mapping) else None
    return meta if isinstance(meta, Mapping) else {}


def _read_plain_data(path: str, map_location: MapLocation, **kwargs: Any) -> Any:
    HistoryBuffer()  # registers its statistics
    # All buffers share them, and take others from a file.
    statistics = HistoryBuffer._statistics_methods.copy()
    try:
        with torch.serialization.safe_globals(_safe_globals()):
            return torch.load(path, map_location=map_location, weights_only=True, **kwargs)
    except UnpicklingError as e:
        reasons = r'GLOBAL [\w.]+|unrecognized function .*?>|Can only (?:build|create) .*?>|getattr\(.*?\)'
        if found := re.search(reasons, ' '.join(str(e).split())):
            raise CheckpointError(
                f'{path} is refused: it holds more than weights and plain data and might run code when loaded '
                f'({found[0]})'
            ) from e
        raise CheckpointError(f'{path} is no checkpoint: not written by torch.save') from e
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AssertionError, MemoryError) as e:
        kind = f'damaged: {first_line(e)}' if zipfile.is_zipfile(path) else 'no checkpoint, or cut off'
        raise CheckpointError(f'{path} ({osp.getsize(path)} bytes) is {kind}') from e
    finally:
        HistoryBuffer._statistics_methods.clear()
        HistoryBuffer._statistics_methods.update(statistics)


def load_safetensors(path: str | os.PathLike) -> dict[str, Any]:
    """Read a safetensors file, whatever its name; see :func:`load_file`."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as e:
        raise CheckpointError(f'{path}: reading it needs `pip install safetensors`') from e
    try:
        with safe_open(path, framework='pt') as file:
            return {'state_dict': {k: file.get_tensor(k) for k in file.keys()}, 'meta': _read_header(file.metadata())}  # noqa: SIM118
    except SafetensorError as e:
        raise CheckpointError(f'{path} ({osp.getsize(path)} bytes) is damaged or cut off: {first_line(e)}') from e


def _read_header(header: Mapping[str, str] | None) -> dict[str, Any]:
    """The text in a header, that under our own keys as the JSON it is; other people's may be anything."""
    meta: dict[str, Any] = dict(header or {})
    for key in JSON_KEYS & meta.keys():
        with suppress(json.JSONDecodeError):
            meta[key] = json.loads(meta[key])
    return meta


def _download(url: str) -> str:
    """Fetch a URL into torch's cache, once per node, and return the file's path."""
    folder = osp.join(torch.hub.get_dir(), 'checkpoints')
    os.makedirs(folder, exist_ok=True)
    name = osp.basename(urlparse(url).path)
    # Two URLs often end in the same name.
    path = osp.join(folder, f'{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}')
    if not osp.isfile(path) and int(os.environ.get('LOCAL_RANK', get_rank())) == 0:
        sha = torch.hub.HASH_REGEX.search(name)
        print_log(f'downloading {url} to {path}', logger='current')
        try:
            torch.hub.download_url_to_file(url, path, sha.group(1) if sha else None, progress=False)
        except (OSError, RuntimeError) as e:
            raise CheckpointError(f'cannot download {url}: {first_line(e)}') from e
    barrier()
    return path


def load_checkpoint(filename: str | os.PathLike, map_location: MapLocation = 'cpu', logger: Any = None) -> Any:
    """Read a checkpoint from a path or an ``http(s)://``, ``torchvision://`` or ``open-mmlab://`` address.

    ``meta['config']``, which a runner of MMEngine would execute as Python when it resumes, is dropped; MMEngine itself
    writes no such entry.

    Raises:
        CheckpointError: See :func:`load_file`; also for an address of another kind, or an unknown model name.
    """
    filename = os.fspath(filename)
    content = load_file(_fetch(filename), map_location)
    meta = meta_of(content)
    if 'config' in meta:
        del meta['config']
        print_log(f"{filename}: meta['config'] is dropped, MMEngine would execute it", 'current', logging.WARNING)
    note_load(filename, meta)
    return content


def note_load(source: str, meta: Mapping[str, Any]) -> None:
    """Tell :func:`recording` of a checkpoint that a model comes from, though it is not read here."""
    for loads in _recorders:
        loads.append(Load(source, dict(meta)))


def _fetch(name: str) -> str:
    scheme, sep, model = name.partition('://')
    if not sep:
        return name
    url = name
    if scheme not in ('http', 'https'):
        tables = {
            'torchvision': get_torchvision_models,
            'modelzoo': get_torchvision_models,
            'open-mmlab': get_external_models,
            'openmmlab': get_external_models,
        }
        if scheme not in tables:
            raise CheckpointError(f'{name}: cannot load from {scheme}://; download the file and give its path')
        table = tables[scheme]()
        if model not in table:
            raise CheckpointError(f'{name}: no such model; known are {", ".join(sorted(table)[:8])}, ...')
        url = table[model]
    return _download(url)


def use_strict_loader() -> None:
    """Make every load through MMEngine's :class:`CheckpointLoader` strict, ``init_cfg`` of other packages included."""
    CheckpointLoader.register_scheme(list(SCHEMES), load_checkpoint, force=True)
    WEIGHT_INITIALIZERS.register_module('Pretrained', force=True, module=StrictPretrainedInit)


class StrictPretrainedInit(PretrainedInit):
    """``init_cfg=dict(type='Pretrained', checkpoint=, prefix=None)`` of any module, once the strict loader is in place.

    MMEngine only logs what does not fit. Here a tensor of another shape is an error, and so is a checkpoint of which
    nothing fits. Weights that are left over (a classifier) or missing (a new layer) are logged, as they are there.

    Raises:
        CheckpointError: See above and :func:`load_checkpoint`; also if nothing is below ``prefix``.
    """

    def __call__(self, module: nn.Module) -> None:
        """Load into the module."""
        content = load_checkpoint(self.checkpoint, self.map_location or 'cpu')
        weights = checkpoint_weights(content, self.checkpoint, self.prefix)
        source = f'{self.checkpoint} below {self.prefix!r}' if self.prefix else self.checkpoint
        print_log(f'load model from: {source}', logger='current')
        own = module.state_dict()
        if shapes := other_shapes(own, weights):
            raise CheckpointError(
                f'{source} does not fit {type(module).__name__}: '
                f'{len(shapes)} tensors of another shape ({abridge(shapes, 3)})'
            )
        load_fitting(module, weights, source)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, init_info=self._get_init_info())


def load_state_dict_file(path: str | os.PathLike, map_location: MapLocation = 'cpu') -> dict[str, Tensor]:
    """Read weights, of a single module or a whole model, from under ``state_dict`` or ``model`` or bare.

    Raises:
        CheckpointError: See :func:`load_checkpoint`; also if the file holds no dictionary of tensors.
    """
    return checkpoint_weights(load_checkpoint(path, map_location), os.fspath(path))


def latest_checkpoint(work_dir: str, folder: str | None = None) -> str | None:
    """Find the newest checkpoint of a run in its own folder, also when that was moved or copied since.

    The file ``last_checkpoint`` names it: whatever path is there counts as the name of a file within the folder. Where
    a run was killed before it wrote that line, the newest of the checkpoints there is taken.

    Args:
        work_dir: Where ``last_checkpoint`` stands.
        folder: Where the checkpoints stand; by default there, too.

    Raises:
        CheckpointError: If ``last_checkpoint`` names a file that is not there, or checkpoints of several runs are.
    """
    folder = osp.abspath(folder or work_dir)
    try:
        with open(osp.join(work_dir, 'last_checkpoint'), encoding='utf-8', errors='surrogateescape') as f:
            named = f.read(1 << 16).strip()
    except (FileNotFoundError, NotADirectoryError):
        named = ''
    if not named:
        return _newest(folder)
    path = osp.join(folder, ntpath.basename(named))  # of either separator
    if not osp.isfile(path):
        raise CheckpointError(f'{work_dir}/last_checkpoint names {" ".join(named.split())[:200]}, which is not there')
    return path


def _newest(folder: str) -> str | None:
    names = os.listdir(folder) if osp.isdir(folder) else []
    steps = {int(m[1]): m[0] for m in map(re.compile(r'(?:iter|epoch)_(\d+)\.pth').fullmatch, names) if m}
    paths = [osp.join(folder, steps[step]) for step in sorted(steps)]
    runs = {read_meta(path).get(RUN_ID) for path in paths}
    if len(runs) > 1:
        raise CheckpointError(
            f'{folder} holds checkpoints of {len(runs)} runs and no last_checkpoint: name one to resume'
        )
    return paths[-1] if paths else None
