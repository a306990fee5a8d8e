"""Writing files: whole or not at all, nothing replaced unasked, one way to write a PNG."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from mmirstd.utils.text import abridge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Above this level, OpenCV needs twice the time for files that are 7 % smaller.
PNG_COMPRESSION = 3


def refuse_overwriting(
    paths: str | Path | Iterable[str | Path], overwrite: bool = False, inputs: Iterable[str | Path] = ()
) -> None:
    """Raise an error if an output is there already, or cannot be written, before time is spent on making it.

    Every writer asks this first, so that no file is replaced which it did not write itself.

    Args:
        paths: Files, or folders that have to be empty.
        overwrite: The user's permission: nothing is refused but to replace an input.
        inputs: Files that are read to make the outputs.

    Raises:
        FileExistsError: Naming what would be replaced.
        NotADirectoryError: If what it would lie in is a file.
        PermissionError: If nothing may be written there.

    >>> refuse_overwriting(['not_there.csv', 'not_there/'])
    """
    paths = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    for place in {p if p.is_dir() else p.parent for p in paths}:
        refuse_no_folder(place)
    read = {identity for path in inputs if (identity := _file_identity(path))}
    if read and (same := [str(p) for p in paths if not p.is_dir() and _file_identity(p) in read]):
        raise FileExistsError(f'{abridge(same)}: would replace what is read here; choose another place')
    if overwrite:
        return
    if found := [str(p) for p in paths if os.path.lexists(p) and not (p.is_dir() and not any(p.iterdir()))]:
        raise FileExistsError(
            f'{abridge(found)} {"exists" if len(found) == 1 else "exist"}: choose another place, or allow replacing '
            f'with --overwrite (overwrite=True)'
        )


def _file_identity(path: str | Path) -> tuple[int, int] | None:
    try:
        state = os.stat(path)
    except (OSError, ValueError):  # not there, or an address
        return None
    return state.st_dev, state.st_ino


def refuse_no_folder(path: str | Path) -> None:
    """Raise an error if a folder is none, or cannot be made, before time is spent; nothing is made yet.

    Raises:
        NotADirectoryError: If it, or what it would lie in, is a file.
        PermissionError: If nothing may be written there.

    >>> refuse_no_folder('not_there/out')
    """
    path = Path(path).absolute()
    place = next(p for p in (path, *path.parents) if os.path.lexists(p))
    if not place.is_dir():
        raise NotADirectoryError(f'{place} is no folder to write to')
    if not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f'{place}: no permission to write there')


def replace_durably(temporary: Path, path: Path) -> None:
    """Give a complete file its name, on the same file system. The content reaches the disk before the name does.

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


@contextmanager
def whole_file(path: str | Path, flush: bool = True) -> Iterator[Path]:
    """Give a temporary name beside ``path``; what the block writes there becomes ``path`` when the block ends.

    If the block raises, ``path`` stays as it was, and the temporary file is removed.

    Args:
        path: Name of the file; its folder is created.
        flush: Whether to wait for the disk. Without, a file may be empty after a power failure, but not after a kill.

    Raises:
        OSError: If the disk is full or fails.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two processes of a job apart. File systems take names of 255 bytes.
    end = f'.{os.getpid()}.tmp'
    start = f'.{path.name}'.encode(errors='surrogateescape')[: 255 - len(end)].decode(errors='ignore')
    temporary = path.with_name(start + end)
    try:
        yield temporary
        if flush:
            replace_durably(temporary, path)
        else:
            os.replace(temporary, path)
    except BaseException:
        discard(temporary)
        raise


def write_atomically(path: str | Path, content: bytes | str, flush: bool = True) -> None:
    """Write a file whole or not at all, see :func:`whole_file`. Text is encoded as UTF-8."""
    with whole_file(path, flush) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def encode_png(image: np.ndarray, order: Literal['rgb', 'bgr'] | None = None) -> bytes:
    """Encode an image as PNG.

    Args:
        image: (H, W), (H, W, 1), or with ``order`` (H, W, 3) or (H, W, 4), alpha last; uint8 or uint16, or bool, which
            is written as 0 and 255.
        order: Order of the color channels. It has no default, so that no caller swaps red and blue without notice.

    Raises:
        ValueError: If the type or the shape is another one, or ``order`` is missing for a color image.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or channels not in (1, 3, 4) or not image.size:
        raise ValueError(f'an image to write has the shape (H, W), (H, W, 3) or (H, W, 4), not {image.shape}')
    if channels > 1 and order not in ('rgb', 'bgr'):
        raise ValueError(f"the order of the color channels is 'rgb' or 'bgr', not {order!r}")
    if image.dtype == bool:
        image = image * np.uint8(255)
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f'an image to write is uint8, uint16 or bool, not {image.dtype}')
    if channels > 1 and order == 'rgb':
        image = image[..., [2, 1, 0, 3][:channels]]
    written, content = cv2.imencode('.png', np.ascontiguousarray(image), [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])
    if not written:
        raise ValueError(f'OpenCV cannot encode an image of shape {image.shape}')
    return content.tobytes()


def write_png(
    path: str | Path, image: np.ndarray, order: Literal['rgb', 'bgr'] | None = None, flush: bool = True
) -> None:
    """Write an image as PNG, whole or not at all, see :func:`encode_png` and :func:`whole_file`.

    Raises:
        ValueError: If the array is no image, or the name does not end in ``.png``; the message names the file.
        OSError: If the disk is full or fails.
    """
    if Path(path).suffix.lower() != '.png':
        raise ValueError(f'{path}: the name of a PNG must end in .png')
    try:
        content = encode_png(image, order)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    write_atomically(path, content, flush)


def figure_pixels(figure: 'Figure') -> np.ndarray:
    """Draw a figure of matplotlib, made without pyplot or a display, as an image (H, W, 3) uint8 RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes a while to import

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def discard(path: Path) -> None:
    """Remove a file if that is possible, so that the error which led here is the one that is seen."""
    with suppress(OSError):
        path.unlink()
