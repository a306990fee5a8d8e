"""Images as a user names them: files, folders, glob patterns and arrays."""

import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmirstd.io.images import IMAGE_EXTENSIONS
from mmirstd.io.names import file_names, image_id
from mmirstd.utils.text import natural_key

Image = str | Path | np.ndarray


def is_single(images: Image | Sequence[Image]) -> bool:
    """Whether it is one array, or the path of one file, and no list, folder or pattern."""
    if isinstance(images, np.ndarray):
        return True
    if not isinstance(images, str | Path) or _isdir(images):
        return False
    return _exists(images) or not glob.has_magic(str(images))


def list_images(inputs: Image | Sequence[Image]) -> list[dict[str, Any]]:
    """Turn what a user names into samples for a pipeline: ``img_path`` or ``img``, and a unique name as ``img_id``.

    Args:
        inputs: A file; a folder, of which all images are taken, sorted, those in folders below left out; a glob pattern
            (``'video/**/*.png'`` finds those below, too, each once); an array; a list of any of them, or what this
            function returned. Names are those of files
            without extension, for patterns with the folders that they search, see
            :func:`mmirstd.io.names.file_names`; an array is called ``image``.

    Raises:
        FileNotFoundError: If a file does not exist, or a folder or pattern holds no image.
        TypeError: If something is none of these.
    """
    samples: list[dict[str, Any]] = []
    for item in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
        if isinstance(item, np.ndarray):
            samples.append({'img': item, 'img_id': 'image'})
        elif isinstance(item, Mapping):
            samples.append(dict(item))
        elif isinstance(item, str | os.PathLike):
            samples += _expand(os.fspath(item))
        else:
            raise TypeError(f'an image is a path or an array, not {type(item).__name__}')
    if not samples:
        raise FileNotFoundError('no images are given')
    for sample, name in zip(samples, file_names(s['img_id'] for s in samples), strict=True):
        sample['img_id'] = name
    return samples


def _expand(path: str) -> list[dict[str, Any]]:
    if _isdir(path):
        # A name that begins with a point is of a file that is being written.
        found = (os.path.join(path, name) for name in os.listdir(path) if not name.startswith('.'))
        root, what = path, 'the folder'
    elif _exists(path):
        return [{'img_path': path, 'img_id': image_id(path)}]
    elif glob.has_magic(path):
        found, what = glob.glob(path, recursive=True), 'the pattern'
        found = _once(found) if '**' in path else found
        plain = path[: min(path.find(c) for c in '*?[' if c in path)]
        root = os.path.dirname(plain)
    else:
        raise FileNotFoundError(f'there is no image {path}')
    images = sorted((p for p in found if p.lower().endswith(IMAGE_EXTENSIONS) and _may_be_image(p)), key=natural_key)
    if not images:
        raise FileNotFoundError(f'{what} {path} holds no images ({", ".join(IMAGE_EXTENSIONS)})')
    return [
        {'img_path': image, 'img_id': os.path.splitext(os.path.relpath(image, root or os.curdir))[0]}
        for image in images
    ]


def _once(paths: Sequence[str]) -> Iterable[str]:
    """Take a file once, by its shortest path, however many linked folders lead to it: ``**`` follows circles."""
    folders = {path: os.path.dirname(path) for path in sorted(paths, key=lambda p: (p.count(os.sep), p), reverse=True)}
    real = {folder: os.path.realpath(folder) for folder in set(folders.values())}
    return {(real[folder], os.path.basename(path)): path for path, folder in folders.items()}.values()


def _may_be_image(path: str) -> bool:
    """A file, or a link that leads nowhere: the reader says so. Folders and pipes are none."""
    return os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path))


def _exists(path: str | Path) -> bool:
    return '://' in str(path) or os.path.exists(path)


def _isdir(path: str | Path) -> bool:
    return '://' not in str(path) and os.path.isdir(path)
