"""Finding a set in what was downloaded: its folders, wherever they start, and its pairs of files."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mmirstd.datasets.layout import Layout, sample_id
from mmirstd.datasets.prepare.archives import ARCHIVE_EXTENSIONS, FOREIGN_EXTENSIONS, archive_extension, is_litter
from mmirstd.datasets.prepare.errors import SourceError
from mmirstd.io.images import IMAGE_EXTENSIONS
from mmirstd.utils.text import abridge


class FolderPair(NamedTuple):
    """One of the pairs of folders that make a set: as it comes, and as it is written."""

    source: Layout
    out: Layout


class SourcePair(NamedTuple):
    """The files of one id, with where they go below the prepared folder; one of the two files may be missing."""

    id: str
    image: Path | None
    mask: Path | None
    image_to: str = ''
    mask_to: str = ''


class FoundSet(NamedTuple):
    """A set as found.

    ``ambiguous`` holds files of which two claim one id, which is in no pair then; ``missing`` the layouts of parts that
    are not there; ``lists`` published lists by where they go; ``extra`` all other files of the set's folder.
    """

    pairs: list[SourcePair]
    ambiguous: list[tuple[Path, Path]]
    missing: list[Layout]
    lists: dict[str, Path]
    extra: list[str]


class ListedFolder(NamedTuple):
    """A folder with the sorted names of its files."""

    path: Path
    files: list[str]


def walk(root: Path, skip: Collection[Path] = ()) -> Iterator[ListedFolder]:
    """Go through the folders below ``root``, links to folders included, without what systems and git leave there.

    Folders in ``skip`` are not entered, unless one is the root.
    """
    skip = {os.path.realpath(folder) for folder in skip}
    seen = skip - {os.path.realpath(root)}
    for name, folders, files in os.walk(root, followlinks=True):
        if (real := os.path.realpath(name)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(f for f in folders if not is_litter(PurePosixPath(f)))
        yield ListedFolder(Path(name), sorted(f for f in files if not is_litter(PurePosixPath(f))))


def find_archives(root: Path) -> list[Path]:
    """Archives directly below a folder, those that Python cannot read among them."""
    known = ARCHIVE_EXTENSIONS + FOREIGN_EXTENSIONS
    files = (p for p in sorted(root.iterdir()) if p.is_file() and not is_litter(PurePosixPath(p.name)))
    return [p for p in files if archive_extension(p, known)]


def find_set(
    roots: Sequence[Path],
    layouts: Sequence[Sequence[FolderPair]],
    names: Sequence[str] = (),
    lists: Sequence[str] = (),
    skip: Collection[Path] = (),
    near: Sequence[Path] = (),
) -> FoundSet | None:
    """Find the first of ``layouts`` that is there, at any depth, and pair its files.

    Args:
        roots: Folders to search; several when a set comes in several archives.
        layouts: What to look for, best first.
        names: What a folder of the set is called; they choose where several sets are in one download.
        lists: Patterns of published list files relative to the set's folder, such as ``'img_idx/*.txt'``.
        skip: Folders not to search.
        near: Folders that may hold lists too.

    Returns:
        None if no layout is there.

    Raises:
        SourceError: If one is there several times.
    """
    folders = [folder for root in roots for folder in walk(root, skip)]
    for layout in layouts:
        if any(chosen := _choose(layout, folders, roots, names)):
            return _collect(layout, chosen, folders, roots, lists, near)
    return None


def describe_layouts(layouts: Sequence[Sequence[FolderPair]]) -> str:
    """Name the folders that layouts consist of."""
    each = (' + '.join(f'{{{_short(p.source)}}}' for p in parts) for parts in layouts)
    return ' or '.join(dict.fromkeys(each))


def _short(layout: Layout) -> str:
    return ', '.join(dict.fromkeys((layout.img_dir, layout.mask_dir)))


Where = tuple[Path, Path] | None


def _choose(
    layout: Sequence[FolderPair], folders: list[ListedFolder], roots: Sequence[Path], names: Sequence[str]
) -> list[Where]:
    """Folders of images and masks for every part, None for a part that is not there."""
    candidates = [
        tuple(_ending_in(name, folders, part.source.nested) for name in (part.source.img_dir, part.source.mask_dir))
        for part in layout
    ]
    # Under one folder; or, if each kind is there once, in archives of their own.
    bases = Counter(base for images, masks in candidates for base in images.keys() & masks.keys())
    if not bases:
        return [
            (*images.values(), *masks.values()) if len(images) == len(masks) == 1 else None
            for images, masks in candidates
        ]
    best = [base for base, count in bases.items() if count == max(bases.values())]
    if len(best) > 1:
        wanted = {plain_name(name) for name in names}
        named = [b for b in best if plain_name(b.name) in wanted]
        best = named or [b for b in best if any(plain_name(part) in wanted for part in _below(b, roots).parts)] or best
    if len(best) > 1:
        raise SourceError(
            f'{len(best)} folders have {describe_layouts([layout])}: {abridge([str(b) for b in sorted(best)])}; '
            'give one of them'
        )
    base = best[0]
    return [(images[base], masks[base]) if base in images and base in masks else None for images, masks in candidates]


def _ending_in(name: str, folders: list[ListedFolder], nested: bool) -> dict[Path, Path]:
    """Map what stands before ``name`` to the folders that are called so, in any case, and hold images."""
    wanted = tuple(p.casefold() for p in PurePosixPath(name).parts)
    holding = {f.path for f in folders if any(n.lower().endswith(IMAGE_EXTENSIONS) for n in f.files)}
    if nested:
        holding = {p for path in holding for p in (path, *path.parents)}
    return {
        f.path.parents[len(wanted) - 1]: f.path
        for f in folders
        if f.path in holding and tuple(p.casefold() for p in f.path.parts[-len(wanted) :]) == wanted
    }


def _collect(
    layout: Sequence[FolderPair],
    chosen: list[Where],
    folders: list[ListedFolder],
    roots: Sequence[Path],
    patterns: Sequence[str],
    near: Sequence[Path],
) -> FoundSet:
    pairs: dict[str, SourcePair] = {}
    ambiguous, used, bases = [], set(), []
    for part, where in zip(layout, chosen, strict=True):
        if where is None:
            continue
        source = part.source
        masks, twice = _index(where[1], source.mask_suffixes, source.nested, folders)
        same = where[0] == where[1]
        images, again = _index(where[0], source.img_suffixes, source.nested, folders, masks.values() if same else ())
        ambiguous += twice + again
        used |= {*masks.values(), *images.values(), *(p for two in twice + again for p in two)}
        bases += [w.parents[len(PurePosixPath(d).parts) - 1] for w, d in zip(where, source[:2], strict=True)]
        for stem in sorted(images.keys() | masks.keys()):
            pair = _pair(part.out, stem, images.get(stem), masks.get(stem))
            if earlier := pairs.get(pair.id):
                ambiguous += [(a, b) for a, b in zip(earlier[1:3], pair[1:3], strict=True) if a and b]
            else:
                pairs[pair.id] = pair
    lists = _find_lists(dict.fromkeys([*bases, *roots, *near]), patterns, folders)
    used |= set(lists.values())
    extra = [
        str(_below(f.path / name, roots))
        for f in folders
        if any(f.path.is_relative_to(base) for base in bases)
        for name in f.files
        if f.path / name not in used
    ]
    missing = [part.source for part, where in zip(layout, chosen, strict=True) if where is None]
    return FoundSet(list(pairs.values()), ambiguous, missing, lists, extra)


def _index(
    where: Path, suffixes: tuple[str, ...], nested: bool, folders: list[ListedFolder], skip: Collection[Path] = ()
) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    """Map ids to files; an id that several files claim is left out, and the files are given two by two."""
    found, skip = defaultdict(list), set(skip)
    for folder in folders:
        if folder.path == where or (nested and folder.path.is_relative_to(where)):
            below = folder.path.relative_to(where)
            for name in folder.files:
                stem = sample_id(name, suffixes)
                if stem is not None and folder.path / name not in skip:
                    found[(below / stem).as_posix()].append(folder.path / name)
    twice = [(paths[0], other) for paths in found.values() for other in paths[1:]]
    return {i: paths[0] for i, paths in found.items() if len(paths) == 1}, twice


def _pair(out: Layout, stem: str, image: Path | None, mask: Path | None) -> SourcePair:
    """Keep the names of the files, and put them into the folders of ``out``."""
    below = PurePosixPath(stem).parent
    image_to = (PurePosixPath(out.img_dir) / below / image.name).as_posix() if image else ''
    mask_to = (PurePosixPath(out.mask_dir) / below / mask.name).as_posix() if mask else ''
    return SourcePair(out.prefix + stem, image, mask, image_to, mask_to)


def _find_lists(bases: Collection[Path], patterns: Sequence[str], folders: list[ListedFolder]) -> dict[str, Path]:
    found = {}
    depths = {pattern: len(PurePosixPath(pattern).parts) for pattern in patterns}
    for path in (f.path / name for f in folders for name in f.files if name.endswith('.txt')):
        for base in (b for b in bases if path.is_relative_to(b)):
            below = PurePosixPath(path.relative_to(base).as_posix())
            if any(len(below.parts) == depth and below.match(pattern) for pattern, depth in depths.items()):
                found.setdefault(str(below), path)
    return found


def plain_name(name: str) -> str:
    """Return the letters and digits of a name, in lower case: what spellings of one name share."""
    return ''.join(c for c in name.casefold() if c.isalnum())


def _below(path: Path, roots: Sequence[Path]) -> PurePosixPath:
    root = next((r for r in roots if path.is_relative_to(r)), None)
    return PurePosixPath(path.relative_to(root).as_posix()) if root else PurePosixPath()
