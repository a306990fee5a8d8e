"""Splits as files: text with one image id a line."""

import hashlib
import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmengine import fileio

from mmirstd.io.images import IMAGE_EXTENSIONS
from mmirstd.utils.text import abridge


def parse_ids(text: str, source: str) -> list[str]:
    """Return the ids in ``text``, one per line, in order.

    Published files come with CRLF, a byte-order mark, image extensions, a slash before the ids, blank lines or no
    final newline: all are taken.

    Raises:
        ValueError: If there is no id, or one occurs twice; the message names ``source``.
    """
    lines = (line.strip().lstrip('/') for line in text.lstrip('\ufeff').splitlines())
    stems = ((line, *posixpath.splitext(line)) for line in lines if line)
    ids = [stem if extension.lower() in IMAGE_EXTENSIONS else line for line, stem, extension in stems]
    if not ids:
        raise ValueError(f'{source}: the split is empty')
    refuse_duplicates(ids, source)
    return ids


def refuse_duplicates(ids: Sequence[str], source: str) -> None:
    """Raise ValueError if an id occurs twice; the message names ``source``."""
    if len(set(ids)) < len(ids):
        seen = set()
        twice = [i for i in ids if i in seen or seen.add(i)]
        raise ValueError(f'{source}: {len(twice)} duplicate ids: {abridge(twice)}')


def expand_folders(entries: Sequence[str], found: Iterable[str], source: str) -> list[str]:
    """Replace entries that end in a slash, such as ``'41/'``, by the ids in ``found`` that begin so.

    Raises:
        ValueError: If there is none, or an id is then there twice; the message names ``source``.
    """
    if not any(entry.endswith('/') for entry in entries):
        return list(entries)
    found = sorted(found)
    ids = []
    for entry in entries:
        inside = [i for i in found if i.startswith(entry)] if entry.endswith('/') else [entry]
        if not inside:
            raise ValueError(f'{source}: no file belongs to the entry {entry!r}')
        ids += inside
    refuse_duplicates(ids, source)
    return ids


def read_ids(path: str | Path, backend_args: dict | None = None) -> list[str]:
    """Read the ids of a split through mmengine's file backends, see :func:`parse_ids`."""
    if not fileio.isfile(path, backend_args=backend_args):
        raise FileNotFoundError(f'split file {str(path)!r} does not exist')
    return parse_ids(fileio.get_text(path, backend_args=backend_args), str(path))


def digest(ids: Sequence[str]) -> str:
    """Return the first 12 hex digits of the SHA-256 of the sorted ids joined by newlines."""
    return hashlib.sha256('\n'.join(sorted(ids)).encode()).hexdigest()[:12]
