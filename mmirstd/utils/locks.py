"""Folders that one process at a time writes to."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mmirstd.utils.errors import UserError

# A killed process's lock goes with it, within moments.
PATIENCE = 3.0
LOCK = '.lock'


class FolderInUseError(UserError, RuntimeError):
    """Another process writes to the folder."""


@contextmanager
def folder_lock(*folders: str | Path) -> Iterator[None]:
    """Keep other processes that ask for the same folders out while the block runs; the folders are made.

    The file ``.lock`` stays in each folder. The operating system lifts the lock when a process ends, however it does.

    Raises:
        FolderInUseError: If another process holds one of them.
    """
    with ExitStack() as stack:
        for folder in dict.fromkeys(Path(folder).resolve() for folder in folders):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_held(folder / LOCK, folder))
        yield


@contextmanager
def output_lock(folder: str | Path) -> Iterator[None]:
    """As :func:`folder_lock`, but beside the folder, which itself is not made; nothing of the lock stays.

    Raises:
        FolderInUseError: If another process holds it.
    """
    folder = Path(folder).absolute()
    path = folder.with_name(f'.{folder.name}{LOCK}')
    made = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _held(path, folder):
            try:
                yield
            finally:
                with suppress(OSError):
                    path.unlink()  # while it is held: who waited for it sees that the name is gone
    finally:
        with suppress(OSError):
            for parent in made:
                parent.rmdir()  # not if something was written there


@contextmanager
def _held(path: Path, folder: Path) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        raise FolderInUseError(
            f'{folder} is in use by another process, which writes there: wait for it, or choose another folder'
        ) from None
    try:
        yield
    finally:
        lock.release()
