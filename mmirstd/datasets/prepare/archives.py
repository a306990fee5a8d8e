"""Unpacking of downloaded archives that nobody has looked into yet."""

import hashlib
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from mmirstd.datasets.prepare.errors import ArchiveError
from mmirstd.io.files import whole_file
from mmirstd.io.images import IMAGE_EXTENSIONS
from mmirstd.utils.progress import progress_bar

ZIP_EXTENSIONS = ('.zip',)
TAR_EXTENSIONS = ('.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tbz2', '.tar.xz', '.txz')
ARCHIVE_EXTENSIONS = ZIP_EXTENSIONS + TAR_EXTENSIONS
# Python has no reader for these.
FOREIGN_EXTENSIONS = ('.rar', '.7z')
# What is written to disk; other members are only counted.
WANTED_EXTENSIONS = (*IMAGE_EXTENSIONS, '.txt', *ARCHIVE_EXTENSIONS)
CHUNK = 1 << 20


@dataclass(frozen=True)
class ArchiveLimits:
    """How much one archive may unpack to by its headers; of a file, no more than its header says is ever written."""

    total_bytes: int = 128 << 30
    file_bytes: int = 1 << 30
    members: int = 2_000_000


class ArchiveMember(NamedTuple):
    """One regular file of an archive: its checked path, its size by the header, and how to open it."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]


def archive_extension(path: Path, known: tuple[str, ...] = ARCHIVE_EXTENSIONS) -> str | None:
    """Return the extension that makes ``path`` an archive, ``'.tar.gz'`` for a name ending so, or None."""
    return max((e for e in known if path.name.lower().endswith(e)), key=len, default=None)


def unpack(archive: Path, folder: Path, limits: ArchiveLimits) -> tuple[Path, list[str]]:
    """Unpack images, text files and inner archives below ``folder``, under a name of the archive's own.

    Each file is there whole or not at all; what an earlier, interrupted call wrote is kept. No link, device or path
    outside the folder is ever created: an archive that holds one is refused before anything is written.

    Args:
        archive: A zip or tar file.
        folder: Where to write; ``folder/KEY/STEM`` with a key of the archive's path, size and time is returned.
        limits: Sizes beyond which to stop.

    Returns:
        The folder of this archive, and the members that were not written, as paths.

    Raises:
        ArchiveError: If it is damaged, encrypted, of another kind, too big, or not to be trusted.
        OSError: If the disk is full or fails.
    """
    info = archive.stat()
    key = hashlib.sha256(f'{archive.resolve()}\n{info.st_size}\n{info.st_mtime_ns}'.encode()).hexdigest()[:8]
    target = folder / key / archive.name[: -len(archive_extension(archive))]
    target.mkdir(parents=True, exist_ok=True)
    with _members(archive, target, limits) as members:
        todo = [m for m in members if _is_wanted(m) and not _is_there(target / m.path, m.size)]
        needed, free = sum(m.size for m in todo), shutil.disk_usage(target).free
        if needed > free:
            raise ArchiveError(f'{archive}: unpacks to {needed} more bytes, and {free} are free at {target}')
        for member in progress_bar(todo, f'unpacking {archive.name}'):
            _write_member(archive, member, target / member.path)
    return target, [str(m.path) for m in members if not _is_wanted(m)]


def is_litter(path: PurePosixPath | Path) -> bool:
    """Whether a file is what operating systems and git leave behind, such as ``__MACOSX/images/._1.png``."""
    return any(part.startswith('.') or part == '__MACOSX' for part in path.parts) or path.name in (
        'Thumbs.db',
        'desktop.ini',
    )


def check_member_path(name: str, archive: Path) -> PurePosixPath:
    """Return a member's path, relative and without ``..``.

    Raises:
        ArchiveError: If it leads out of the folder, or has characters that no file of a dataset has.
    """
    path = PurePosixPath(name.replace('\\', '/'))
    windows = PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or '..' in path.parts:
        raise ArchiveError(
            f'{archive}: the member {name!r} would be written outside of the folder; nothing is unpacked'
        )
    if not path.parts or any(ord(c) < 32 or c == ':' for c in name):
        raise ArchiveError(f'{archive}: the member {name!r} has no usable name; nothing is unpacked')
    return path


@contextmanager
def _members(archive: Path, target: Path, limits: ArchiveLimits) -> Iterator[list[ArchiveMember]]:
    """Open an archive, check all names, kinds and sizes, and give its files in order."""
    try:
        if archive_extension(archive) in ZIP_EXTENSIONS:
            with zipfile.ZipFile(archive) as file:
                yield _checked(archive, limits, _zip_members(archive, file))
        else:
            with tarfile.open(archive) as file:
                yield _checked(archive, limits, _tar_members(archive, target, file))
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
        raise ArchiveError(f'{archive}: damaged, or not of a kind that Python reads ({error})') from error
    except OSError as error:
        # gzip and bz2 raise plain OSErrors for damage; those of the disk have a number.
        if error.errno is not None:
            raise
        raise ArchiveError(f'{archive}: damaged ({error})') from error


def _checked(archive: Path, limits: ArchiveLimits, members: Iterator[ArchiveMember]) -> list[ArchiveMember]:
    """Go over all headers before the first byte is written."""
    found: dict[str, ArchiveMember] = {}
    for number, member in enumerate(members, 1):
        if number > limits.members:
            raise ArchiveError(f'{archive}: more than {limits.members} files; nothing is unpacked')
        if is_litter(member.path):
            continue
        if member.size > limits.file_bytes:
            raise ArchiveError(
                f'{archive}: {member.path} unpacks to {member.size} bytes, more than the limit of {limits.file_bytes}; '
                'nothing is unpacked'
            )
        # A disk that ignores case would let one file replace another.
        if found.setdefault(str(member.path).casefold(), member) is not member:
            raise ArchiveError(f'{archive}: {member.path} is in it twice; nothing is unpacked')
    promised = sum(member.size for member in found.values())
    if promised > limits.total_bytes:
        raise ArchiveError(
            f'{archive}: unpacks to {promised} bytes, more than the limit of {limits.total_bytes}; nothing is unpacked'
        )
    return list(found.values())


def _is_wanted(member: ArchiveMember) -> bool:
    return member.path.name.lower().endswith(WANTED_EXTENSIONS)


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _zip_members(archive: Path, file: zipfile.ZipFile) -> Iterator[ArchiveMember]:
    for info in file.infolist():
        path = check_member_path(info.filename.rstrip('/') or info.filename, archive)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArchiveError(f'{archive}: {info.filename} is a link or a device; nothing is unpacked')
        if info.is_dir():
            continue
        if info.flag_bits & 1:
            raise ArchiveError(f'{archive}: {info.filename} is encrypted; unpack it with its password')
        yield ArchiveMember(path, info.file_size, lambda info=info: file.open(info))


def _tar_members(archive: Path, target: Path, file: tarfile.TarFile) -> Iterator[ArchiveMember]:
    if not hasattr(tarfile, 'data_filter'):
        raise ArchiveError(f'{archive}: tar archives are unpacked by Python 3.10.12, 3.11.4 or newer; unpack it first')
    for info in file:
        if info.name in ('.', './'):
            continue
        try:
            tarfile.data_filter(info, str(target))
        except tarfile.FilterError as error:
            raise ArchiveError(
                f'{archive}: the member {info.name!r} is not safe ({error}); nothing is unpacked'
            ) from error
        path = check_member_path(info.name, archive)
        if info.isdir():
            continue
        if not info.isreg():
            raise ArchiveError(f'{archive}: {info.name} is a link or a device; nothing is unpacked')
        yield ArchiveMember(path, info.size, lambda info=info: file.extractfile(info))
    # tarfile takes a file that breaks off, or whose next header is damaged, for one that ends there.
    file.fileobj.seek(file.offset)
    if file.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise ArchiveError(f'{archive}: damaged (no end of archive)')
    while file.fileobj.read(CHUNK):
        pass  # to its checksum


def _write_member(archive: Path, member: ArchiveMember, path: Path) -> None:
    size = 0
    with whole_file(path, flush=False) as part:
        with member.open() as source, open(part, 'wb') as target:
            # Not a byte more than the headers promised, whatever comes out.
            while size <= member.size and (chunk := source.read(CHUNK)):
                size += len(chunk)
                target.write(chunk)
        if size != member.size:
            raise ArchiveError(f'{archive}: {member.path} has not the {member.size} bytes that its header says')
