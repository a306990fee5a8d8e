"""Finding a set in the folders and archives that were given."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from mmirstd.datasets.prepare.archives import FOREIGN_EXTENSIONS, ArchiveLimits, archive_extension, unpack
from mmirstd.datasets.prepare.errors import SourceError
from mmirstd.datasets.prepare.layouts import FoundSet, describe_layouts, find_archives, find_set, plain_name
from mmirstd.datasets.prepare.sets import SetInfo
from mmirstd.io.files import refuse_overwriting
from mmirstd.utils.text import abridge

# Lists as repositories put them beside images and masks.
LIST_PATTERNS = ('*.txt', 'idx_*/*.txt', 'img_idx/*.txt', 'splits/*.txt', '50_50/*.txt')
# Marks a folder of unpacked archives as ours to remove.
MARKER = '.mmirstd-unpacked'


@contextmanager
def unpacked(
    info: SetInfo, sources: Sequence[Path], out: Path | None, limits: ArchiveLimits
) -> Iterator[tuple[FoundSet, Path]]:
    """Find the set in folders and archives, which are unpacked to a temporary folder; give both, and remove it."""
    for source in sources:
        if not source.exists():
            raise SourceError(f'{source} does not exist')
        if not source.is_dir() and not (source.is_file() and archive_extension(source)):
            raise SourceError(_not_an_archive(source, info))
    temporary = _temporary_folder(out)
    try:
        yield _find(info, sources, out, temporary, limits), temporary
    except KeyboardInterrupt:
        if out is None:
            _remove(temporary)
        raise  # the next run goes on from here, as after a kill
    except BaseException:
        _remove(temporary)
        raise
    else:
        _remove(temporary)


def _temporary_folder(out: Path | None) -> Path:
    """Name the folder for what is unpacked; it may be there from an earlier run.

    Raises:
        FileExistsError: If it holds something else, which would be removed in the end.
    """
    if out is None:
        folder = Path(tempfile.mkdtemp(prefix='mmirstd-'))
        (folder / MARKER).touch()
        return folder
    folder = out.with_name(f'{out.name}.unpacked')
    if not (folder / MARKER).exists():
        refuse_overwriting(folder)
    return folder


def _remove(folder: Path) -> None:
    """Remove the folder if it is ours."""
    if (folder / MARKER).exists():
        shutil.rmtree(folder, ignore_errors=True)


def _find(info: SetInfo, sources: Sequence[Path], out: Path | None, temporary: Path, limits: ArchiveLimits) -> FoundSet:
    folders = [s for s in sources if s.is_dir()]
    archives = done = [s for s in sources if not s.is_dir()]
    # Not what an earlier run made of it, unless nothing else is there.
    skip = [temporary] if out is None else [temporary, out]
    skipped: list[str] = []
    inner: list[Path] = []
    for depth in (1, 2, 3):  # archives in a repository's own archive are as deep as it gets
        if archives:
            temporary.mkdir(parents=True, exist_ok=True)
            (temporary / MARKER).touch()
        for archive in archives:
            folder, others = unpack(archive, temporary, limits)
            folders.append(folder)
            skipped += others
        near = [a.parent for a in done if a not in sources]
        if found := _search(info, folders, skip, near) or _search(info, folders, [temporary], near):
            break
        inner = [a for root in folders for folder in (root, *_subfolders(root)) for a in find_archives(folder)]
        new = [a for a in inner if a not in done and archive_extension(a)]
        hidden = [a for a in new if a.is_relative_to(temporary)]
        # An archive that holds nothing but one is opened, whatever its name.
        archives = [a for a in new if _belongs(a, info)] or (hidden if len(hidden) == 1 else [])
        if not archives or depth == 3:
            break
        done = done + archives
    # A folder of the set was given in place of the set, such as .../images.
    if len(sources) == 1 and sources[0].is_dir() and (found is None or found.missing):
        folder = sources[0].resolve()
        if plain_name(folder.name) in _folder_names(info):
            found = _search(info, [folder.parent], skip) or found
    if found is None:
        raise SourceError(_describe_failure(info, sources, [a for a in inner if a not in done], temporary))
    return found._replace(extra=found.extra + skipped)


def _search(info: SetInfo, folders: Sequence[Path], skip: Sequence[Path], near: Sequence[Path] = ()) -> FoundSet | None:
    """Look for what the dataset class reads, and if that is not there, or not clearly, for copies in other layouts."""
    search = partial(find_set, folders, names=(*info.aliases, info.name), lists=LIST_PATTERNS, skip=skip, near=near)
    try:
        if found := search(info.layouts):
            return found
    except SourceError:
        if not (found := search(info.copies)) or found.missing:
            raise
        return found
    found = search(info.copies)
    return found if found and not found.missing else None


def _describe_failure(info: SetInfo, sources: Sequence[Path], archives: Sequence[Path], temporary: Path) -> str:
    name = 'images with masks' if info.key == 'folder' else info.name
    message = (
        f'no {name} in {", ".join(map(str, sources))}: expected are folders of images and masks named '
        f'{describe_layouts(info.layouts + info.copies)}'
    )
    folders = [f for s in sources if s.is_dir() for f in _subfolders(s) if plain_name(f.name) in _folder_names(info)]
    if empty := [str(f) for f in folders if not any(f.iterdir())]:
        message += f'. {abridge(empty)} {"is" if len(empty) == 1 else "are"} empty'
    if foreign := [a for a in archives if not archive_extension(a)]:
        message += f'. {_not_an_archive(foreign[0], info)}'
    elif archives:
        # What is unpacked is removed, so its path would be of no use.
        names = [f'{a.name} inside an archive' if a.is_relative_to(temporary) else str(a) for a in archives]
        message += f'. If it is in {abridge(names)}, give that as source'
    return message + (f'. {info.page}: {info.download}' if info.page else '')


def _belongs(archive: Path, info: SetInfo) -> bool:
    """Whether an archive that was found is named like the set, or like one of its folders."""
    name = plain_name(archive.name[: -len(archive_extension(archive))])
    return name in _folder_names(info) or any(name.startswith(plain_name(n)) for n in (info.name, *info.aliases))


def _folder_names(info: SetInfo) -> set[str]:
    names = (name for layout in info.layouts + info.copies for part in layout for name in part.source[:2])
    return {plain_name(part) for name in names for part in name.split('/')}


def _not_an_archive(path: Path, info: SetInfo) -> str:
    if path.is_file() and archive_extension(path, FOREIGN_EXTENSIONS):
        return (
            f'{path}: RAR and 7z archives cannot be read; unpack it with "unrar x {path.name}" or "7z x {path.name}" '
            f'(of several parts the first), and give the folder'
        )
    return f'{path} is neither a folder nor a zip or tar archive' + (
        f'; {info.name}: {info.download}' if info.page else ''
    )


def _subfolders(root: Path) -> list[Path]:
    return [p for p in sorted(root.iterdir()) if p.is_dir() and not p.name.startswith('.')]
