"""Files that are there whole or not at all, whenever the process ends or the power goes."""

import os
from contextlib import suppress
from pathlib import Path


def replace_durably(temporary: Path, path: Path) -> None:
    """Give a complete file its name, on the same file system; content first, then the name, reach the disk.

    Raises:
        OSError: If the disk is full or fails; ``path`` is then as it was.
    """
    with open(temporary, 'rb') as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == 'posix':
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_atomically(path: Path, content: bytes, flush: bool = True) -> None:
    """Write a file under a temporary name beside it, then rename.

    Args:
        path: Name of the file.
        content: All of it.
        flush: Whether to wait for the disk. Without, a file may be empty after a power failure, but not after a kill.

    Raises:
        OSError: As :func:`replace_durably`; nothing is left behind.
    """
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        temporary.write_bytes(content)
        if flush:
            replace_durably(temporary, path)
        else:
            os.replace(temporary, path)
    except OSError:
        discard(temporary)
        raise


def discard(path: Path) -> None:
    """Remove a file if that is possible, so that the error which led here is the one that is seen."""
    with suppress(OSError):
        path.unlink()
