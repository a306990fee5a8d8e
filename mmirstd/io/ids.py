"""Splits as files: text with one image id a line."""

import codecs
import hashlib
import os
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmengine import fileio

from mmirstd.io.images import IMAGE_EXTENSIONS
from mmirstd.utils.errors import UserError
from mmirstd.utils.text import abridge

# UTF-32 would begin as UTF-16 does; nobody writes it.
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: 'utf-8', codecs.BOM_UTF16_LE: 'utf-16-le', codecs.BOM_UTF16_BE: 'utf-16-be'}


_COLUMNS = r'[\s,;]+'


class SplitFileError(UserError, ValueError):
    """A split that cannot be read, or that does not say which images it means."""


def refuse_unwritable(ids: Iterable[str], source: str) -> None:
    """See that ids can stand in a text file of UTF-8; names of files can be other bytes.

    Raises:
        SplitFileError: Naming the first that cannot.
    """
    for name in ids:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise SplitFileError(f'{source}: the name {name!r} is no UTF-8 and cannot stand in a split') from None


def decode_text(content: bytes, source: str) -> str:
    """Decode UTF-8 or UTF-16, with a byte-order mark or without.

    Raises:
        ValueError: If it is neither; the message names ``source`` and the line.
    """
    mark = next((m for m in _BYTE_ORDER_MARKS if content.startswith(m)), b'')
    if mark:
        encoding = _BYTE_ORDER_MARKS[mark]
    else:  # a first character of ASCII has a zero byte in UTF-16
        encoding = 'utf-16-le' if content[1:2] == b'\0' else 'utf-16-be' if content[:1] == b'\0' else 'utf-8'
    content = content[len(mark) :]
    try:
        text = content.decode(encoding)
        wrong = text.find('\0')
    except UnicodeDecodeError as error:
        text = content[: error.start].decode(encoding, errors='replace')
        wrong = len(text)
    if wrong < 0:
        return text
    raise SplitFileError(
        f'{source}, line {text.count(chr(10), 0, wrong) + 1}: no text in UTF-8 or UTF-16; save the file in UTF-8, one '
        'image id a line'
    )


def parse_ids(text: str, source: str) -> list[str]:
    """Return the ids in ``text``, one per line, in order.

    Published files come with CRLF, a byte-order mark, image extensions, a slash before the ids, blank lines or no
    final newline: all are taken.

    Raises:
        ValueError: If there is no id, or one occurs twice; the message names ``source``.
    """
    ids = [_entry(line) for line in _lines(text) if line]
    if not ids:
        raise SplitFileError(f'{source}: the split is empty; one image id a line is expected')
    refuse_duplicates(ids, source)
    return ids


def refuse_duplicates(ids: Sequence[str], source: str) -> None:
    """Raise ValueError if an id occurs twice; the message names ``source``."""
    if len(set(ids)) < len(ids):
        seen = set()
        twice = [i for i in ids if i in seen or seen.add(i)]
        raise SplitFileError(f'{source}: {len(twice)} duplicate ids: {abridge(twice)}')


def resolve_entries(
    entries: Sequence[str], found: Iterable[str], source: str, suffixes: Iterable[str] = ()
) -> list[str]:
    """Replace the entries of a split by the ids of ``found`` that they mean.

    An entry is an id; or it has folders before it, or lacks those of the id; or a suffix behind it; or columns, such
    as image and mask. An entry that ends in a slash, such as ``'41/'``, stands for all ids that begin so. Entries that
    mean no id stay.

    Args:
        entries: What :func:`read_ids` returns.
        found: The ids of all files.
        source: What messages name.
        suffixes: What file names have between id and extension, such as ``'_pixels0'``.

    Raises:
        ValueError: If no id begins as an entry says, an entry means several ids, or an id is then there twice; the
            message names ``source`` and the entry.

    >>> resolve_entries(['images/a.png masks/a_gt.png', 'b_gt'], ['a', 'b'], 'train.txt', ['_gt'])
    ['a', 'b']
    """
    found = set(found)
    if found.issuperset(entries):
        return list(entries)
    ids, suffixes = [], [s for s in map(_strip_extension, suffixes) if s]
    by_name: dict[str, list[str]] = {}
    for img_id in found:
        by_name.setdefault(posixpath.basename(img_id), []).append(img_id)
    for entry in entries:
        if entry in found:
            ids.append(entry)
        elif entry.endswith('/'):
            if not (inside := sorted(i for i in found if i.startswith(entry))):
                raise SplitFileError(f'{source}: no file belongs to the entry {entry!r}')
            ids += inside
        else:
            files = _files(entry)
            columns = files or re.split(_COLUMNS, entry)
            whole = _match(entry, by_name, suffixes)
            each = {i for text in columns for i in _match(text, by_name, suffixes)}
            # Of several files, the name behind the last slash is that of the last one alone.
            meant = each or whole if len(files) > 1 else whole or each
            if len(meant) > 1:
                raise SplitFileError(
                    f'{source}: the entry {entry!r} means {abridge(sorted(meant))}; one image id a line is expected'
                )
            ids += meant or [entry]
    refuse_duplicates(ids, source)
    return ids


def _match(entry: str, by_name: Mapping[str, Sequence[str]], suffixes: Sequence[str]) -> set[str]:
    """Ids that have an entry's name, or that name without one of the suffixes, and no other folders than the entry."""
    *folders, name = _strip_extension(entry.strip('\'"').replace('\\', '/')).split('/')
    names = (name, *(name.removesuffix(s) for s in suffixes))
    shared: dict[str, int] = {}
    for img_id in next((by_name[n] for n in names if n in by_name), ()):
        own = img_id.split('/')[:-1]
        common = min(len(own), len(folders))
        if own[len(own) - common :] == folders[len(folders) - common :]:
            shared[img_id] = common
    return {i for i, common in shared.items() if common == max(shared.values())}


def read_ids(path: str | Path, backend_args: dict | None = None) -> list[str]:
    """Read the ids of a split through mmengine's file backends, see :func:`decode_text` and :func:`parse_ids`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no text, or holds no ids or one twice; the message names the file.
    """
    if not fileio.isfile(path, backend_args=backend_args):
        what = 'is no regular file' if os.path.exists(path) else 'does not exist'
        raise FileNotFoundError(f'split file {str(path)!r} {what}')
    return parse_ids(decode_text(fileio.get(path, backend_args=backend_args), str(path)), str(path))


def find_line(path: str | Path, img_id: str, backend_args: dict | None = None) -> int | None:
    """Return the number of the line of a split in which an id stands, from 1; None if it stands in none as it is."""
    lines = _lines(decode_text(fileio.get(path, backend_args=backend_args), str(path)))
    return next((number for number, line in enumerate(lines, 1) if _entry(line) == img_id), None)


def digest(ids: Sequence[str]) -> str:
    """Return the first 12 hex digits of the SHA-256 of the sorted ids joined by newlines."""
    # A file name may be bytes that are no UTF-8.
    return hashlib.sha256('\n'.join(sorted(ids)).encode(errors='surrogateescape')).hexdigest()[:12]


def _lines(text: str) -> list[str]:
    return [line.strip().lstrip('/') for line in text.lstrip('\ufeff').splitlines()]


def _entry(line: str) -> str:
    return line if len(_files(line)) > 1 else _strip_extension(line)


def _files(line: str) -> list[str]:
    """The columns of a line that are names of image files."""
    columns = (column.strip('\'"') for column in re.split(_COLUMNS, line))
    return [column for column in columns if _strip_extension(column) != column]


def _strip_extension(name: str) -> str:
    stem, extension = posixpath.splitext(name)
    return stem if extension.lower() in IMAGE_EXTENSIONS else name
