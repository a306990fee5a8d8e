"""Where the files of a dataset lie, and which of them belong together."""

import os
import os.path as osp
from collections.abc import Collection, Iterator
from typing import NamedTuple

from mmengine import fileio

from mmirstd.io.images import IMAGE_EXTENSIONS

SEPARATORS = '/\\'


class Layout(NamedTuple):
    """Folders below ``data_root``, and what surrounds an id in the file names there.

    A suffix without an image extension (``'_pixels0'``) goes with all of ``IMAGE_EXTENSIONS``. Earlier ones win.
    ``prefix`` is put before the ids, to tell apart the folders that are read together (``'test/'``). With ``nested``,
    sub-folders are searched too and belong to the ids: ``41/1(297)``.
    """

    img_dir: str
    mask_dir: str
    img_suffixes: tuple[str, ...] = ('',)
    mask_suffixes: tuple[str, ...] = ('',)
    prefix: str = ''
    nested: bool = False


class Place(NamedTuple):
    """A layout, and where its two folders are."""

    layout: Layout
    img_dir: str
    mask_dir: str


def override_layouts(
    layouts: tuple[Layout | tuple[Layout, ...], ...],
    img_dir: str | None,
    mask_dir: str | None,
    img_suffix: str | None,
    mask_suffix: str | None,
) -> tuple[tuple[Layout, ...], ...]:
    """Replace what a user says otherwise; the user's folders are one pair, which no part can be told from."""
    given = {
        'img_dir': img_dir,
        'mask_dir': mask_dir,
        'img_suffixes': None if img_suffix is None else (img_suffix,),
        'mask_suffixes': None if mask_suffix is None else (mask_suffix,),
    }
    given = {key: value for key, value in given.items() if value is not None}
    if not given:
        return tuple((layout,) if isinstance(layout, Layout) else layout for layout in layouts)
    single = [layout for layout in layouts if isinstance(layout, Layout)] or [Layout('images', 'masks')]
    return tuple(dict.fromkeys((layout._replace(**given),) for layout in single))


def index_files(
    folder: str,
    suffixes: tuple[str, ...],
    *,
    prefix: str = '',
    nested: bool = False,
    skip: Collection[str] = (),
    skip_folder: str | None = None,
    backend_args: dict | None = None,
) -> dict[str, str]:
    """Map the ids of the image files in ``folder`` to their paths; nothing in ``skip`` or ``skip_folder`` counts.

    A local folder is searched through links, each folder once. A link that leads nowhere and a pipe count as files: who
    reads them says what they are.

    Raises:
        ValueError: If two files belong to one id.
    """
    index: dict[str, str] = {}
    skip = set(skip)
    if backend_args is None and osp.isdir(folder):
        names = _walk(folder, nested, skip_folder)
    else:
        names = fileio.list_dir_or_file(folder, list_dir=False, recursive=nested, backend_args=backend_args)
    for name in names:
        name = name.replace('\\', '/')
        path = fileio.join_path(folder, name, backend_args=backend_args)
        sample = sample_id(name, suffixes)
        if sample is None or path in skip:
            continue
        sample = prefix + sample
        if sample in index:
            raise ValueError(
                f'{folder}: {index[sample][len(folder) :].lstrip(SEPARATORS)} and {name} both belong to id {sample!r}; '
                'tell them apart with img_suffix or mask_suffix'
            )
        index[sample] = path
    return index


def _walk(root: str, nested: bool, skip_folder: str | None) -> Iterator[str]:
    """Give the names of files below a folder, without hidden ones."""
    seen = {osp.realpath(skip_folder)} - {osp.realpath(root)} if skip_folder else set()
    for path, folders, files in os.walk(root, followlinks=True):
        if (real := osp.realpath(path)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not f.startswith('.')) if nested else []
        yield from (osp.relpath(osp.join(path, f), root) for f in sorted(files) if not f.startswith('.'))


def sample_id(name: str, suffixes: tuple[str, ...]) -> str | None:
    """Return the id in a file name, or None if it is no image file with one of the suffixes."""
    extension = osp.splitext(name)[1]
    if extension.lower() not in IMAGE_EXTENSIONS:
        return None
    for suffix in suffixes:
        tail = suffix if _has_extension(suffix) else suffix + extension
        if name.endswith(tail) and len(name) > len(tail):
            return name[: -len(tail)]
    return None


def describe_suffixes(suffixes: tuple[str, ...]) -> str:
    """Say how file names are expected to end."""
    extensions = f'({"|".join(IMAGE_EXTENSIONS)})'
    return ' or '.join(suffix if _has_extension(suffix) else suffix + extensions for suffix in suffixes)


def _has_extension(suffix: str) -> bool:
    return suffix.lower().endswith(IMAGE_EXTENSIONS)
