"""One strict way to read a checkpoint: plain data only, from a file or URL, and with an error that says what is wrong.

MMEngine's own loader unpickles arbitrary code when the safe way fails (onedl) or cannot read MMEngine's own
checkpoints (original, torch >= 2.6). :func:`use_strict_loader` puts ours in its place, for resuming, ``load_from`` and
the ``init_cfg`` of any model alike.
"""

import hashlib
import os
import os.path as osp
import re
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier, get_rank
from mmengine.logging import HistoryBuffer, print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import get_external_models, get_torchvision_models, load_state_dict
from torch import Tensor, nn

from mmirstd.utils.checkpoint_keys import unwrap_state_dict

MapLocation = str | torch.device | Callable | Mapping | None

# Every scheme that MMEngine registers a loader for; '' is a path.
SCHEMES = (
    '', 'http://', 'https://', 'modelzoo://', 'torchvision://', 'open-mmlab://', 'openmmlab://', 'mmcls://',
    'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://',
)  # fmt: skip


class CheckpointError(RuntimeError):
    """A checkpoint is missing, damaged, unsafe, or of another model."""


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
    """Read what ``torch.save`` wrote, with ``weights_only=True`` and MMEngine's log buffers allowed.

    Raises:
        CheckpointError: If the file is missing, empty, cut off, no checkpoint, or holds anything but plain data.
    """
    path = osp.expanduser(os.fspath(path))
    if not osp.isfile(path):
        raise CheckpointError(f'there is no checkpoint file {path}')
    if path.endswith('.safetensors'):
        return _load_safetensors(path)
    try:
        with torch.serialization.safe_globals(_safe_globals()):
            return torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as e:
        reasons = r'GLOBAL [\w.]+|unrecognized function .*?>|Can only (?:build|create) .*?>|getattr\(.*?\)'
        if found := re.search(reasons, ' '.join(str(e).split())):
            raise CheckpointError(
                f'{path} is refused: it holds more than weights and plain data and might run code when loaded '
                f'({found[0]})'
            ) from e
        raise CheckpointError(f'{path} is no checkpoint: not written by torch.save') from e
    except (OSError, RuntimeError, EOFError, LookupError, ValueError, AssertionError) as e:
        kind = f'damaged: {_first_line(e)}' if zipfile.is_zipfile(path) else 'no checkpoint, or cut off'
        raise CheckpointError(f'{path} ({osp.getsize(path)} bytes) is {kind}') from e


def _load_safetensors(path: str) -> dict[str, Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file as load_safetensors
    except ImportError as e:
        raise CheckpointError(f'{path}: reading it needs `pip install safetensors`') from e
    try:
        return load_safetensors(path)
    except SafetensorError as e:
        raise CheckpointError(f'{path} ({osp.getsize(path)} bytes) is damaged or cut off: {_first_line(e)}') from e


def _first_line(error: BaseException) -> str:
    return f'{type(error).__name__} {error}'.split('\n', 1)[0]


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
            raise CheckpointError(f'cannot download {url}: {_first_line(e)}') from e
    barrier()
    return path


def load_checkpoint(filename: str | os.PathLike, map_location: MapLocation = 'cpu', logger: Any = None) -> Any:
    """Read a checkpoint from a path or an ``http(s)://``, ``torchvision://`` or ``open-mmlab://`` address.

    Raises:
        CheckpointError: See :func:`load_file`; also for an address of another kind, or an unknown model name.
    """
    filename = os.fspath(filename)
    scheme, sep, name = filename.partition('://')
    if not sep:
        return load_file(filename, map_location)
    if scheme not in ('http', 'https'):
        tables = {
            'torchvision': get_torchvision_models,
            'modelzoo': get_torchvision_models,
            'open-mmlab': get_external_models,
            'openmmlab': get_external_models,
        }
        if scheme not in tables:
            raise CheckpointError(f'{filename}: cannot load from {scheme}://; download the file and give its path')
        table = tables[scheme]()
        if name not in table:
            raise CheckpointError(f'{filename}: no such model; known are {", ".join(sorted(table)[:8])}, ...')
        filename = table[name]
    return load_file(_download(filename), map_location)


def use_strict_loader() -> None:
    """Make every load through MMEngine's :class:`CheckpointLoader` strict, ``init_cfg`` of other packages included."""
    CheckpointLoader.register_scheme(list(SCHEMES), load_checkpoint, force=True)


def load_state_dict_file(path: str | os.PathLike, map_location: MapLocation = 'cpu') -> dict[str, Tensor]:
    """Read weights, of a single module or a whole model, from under ``state_dict`` or ``model`` or bare.

    Raises:
        CheckpointError: See :func:`load_checkpoint`; also if the file holds no dictionary of tensors.
    """
    return checkpoint_weights(load_checkpoint(path, map_location), os.fspath(path))


def checkpoint_weights(checkpoint: Any, source: str) -> dict[str, Tensor]:
    """Take the weights out of what a checkpoint held, without the prefix that DDP adds to the keys."""
    try:
        weights = unwrap_state_dict(checkpoint)
    except (AttributeError, ValueError) as e:
        raise CheckpointError(f'{source} holds no weights of a model ({e})') from e
    return {k.removeprefix('module.'): v for k, v in weights.items()}


def load_strict(model: nn.Module, state_dict: Mapping[str, Tensor], source: str) -> None:
    """Load weights that must fit the model exactly.

    Counters of BatchNorm may be missing: old checkpoints have none.

    Raises:
        CheckpointError: If keys are missing or unexpected, or shapes differ; says how many and the first of each.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    own = {k: v.shape for k, v in model.state_dict().items()}
    details = ''
    try:
        result = model.load_state_dict(dict(state_dict), strict=False)
    except RuntimeError as e:  # torch raises for shapes even when not strict
        details = _first_line(e)
        missing = [k for k in own if k not in state_dict]
        unexpected = [k for k in state_dict if k not in own]
    else:
        missing, unexpected = result.missing_keys, result.unexpected_keys
    missing = [k for k in missing if not k.endswith('num_batches_tracked')]
    shapes = [
        f'{k} {tuple(state_dict[k].shape)} instead of {tuple(shape)}'
        for k, shape in own.items()
        if k in state_dict and state_dict[k].shape != shape
    ]
    if not (missing or unexpected or details):
        return
    parts = [
        f'{len(keys)} {name} ({_first(keys)})'
        for keys, name in (
            (missing, 'missing keys'),
            (unexpected, 'unexpected keys'),
            (shapes, 'tensors of another shape'),
        )
        if keys
    ]
    raise CheckpointError(
        f'{source} is a checkpoint of another model than the config describes ({type(model).__name__}, {len(own)} '
        f'tensors): {"; ".join(parts) or details}'
    )


def load_fitting(model: nn.Module, state_dict: Mapping[str, Tensor], source: str) -> None:
    """Load the weights whose keys and shapes fit, and log the others.

    Raises:
        CheckpointError: If none fits.
    """
    own = model.state_dict()
    if not any(k in own and own[k].shape == v.shape for k, v in state_dict.items()):
        raise CheckpointError(f'{source}: none of its {len(state_dict)} tensors fits {type(model).__name__}')
    load_state_dict(model, OrderedDict(state_dict), strict=False, logger='current')


def _first(names: Iterable[str], count: int = 3) -> str:
    names = list(names)
    return ', '.join(names[:count]) + (', ...' if len(names) > count else '')


def latest_checkpoint(work_dir: str) -> str | None:
    """Find the newest checkpoint of a run, also when its folder was moved since."""
    try:
        with open(osp.join(work_dir, 'last_checkpoint')) as f:
            path = f.read().strip()
    except FileNotFoundError:
        return None
    if osp.isfile(path):
        return path
    moved = osp.join(work_dir, osp.basename(path))
    if osp.isfile(moved):
        return moved
    raise CheckpointError(f'{work_dir}/last_checkpoint names {path}, which does not exist')
