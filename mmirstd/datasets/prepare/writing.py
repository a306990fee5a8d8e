"""Writing a prepared set: each file whole or not at all, and none that is there already replaced unasked."""

import filecmp
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from mmirstd.io.files import discard, encode_png, refuse_overwriting
from mmirstd.io.images import decode_image, read_image
from mmirstd.io.masks import MASK_THRESHOLD, mask_labels
from mmirstd.utils.progress import progress_bar

# Half-written files live here, and nowhere else.
PARTIAL = '.partial'

# 'own': of a file in our own temporary folder; a hard link if possible, which takes no room.
Link = Literal['hard', 'symbolic', 'own'] | None


class OutputFile(NamedTuple):
    """A file to write: a copy of or link to ``source``, or a mask made binary, or ``content``; ``to`` is relative."""

    to: str
    source: Path | None = None
    content: bytes | None = None
    binarize: bool = False
    link: Link = None

    def made(self, threshold: float) -> bytes | None:
        """The content, where it is not that of ``source``."""
        return clean_mask(self.source, threshold) if self.binarize else self.content


class OutputState(NamedTuple):
    """What is to be done in a folder: items that are missing, that differ, and that are there already."""

    missing: list[OutputFile]
    different: list[OutputFile]
    same: list[OutputFile]


def clean_mask(path: Path, threshold: float) -> bytes:
    """Encode a mask as an 8-bit PNG of one channel with the values 0 and 255, as ``LoadTargetMask`` understands it."""
    return encode_png(mask_labels(read_image(path), threshold, str(path)) > 0)


def compare(items: Sequence[OutputFile], out: Path, threshold: float = MASK_THRESHOLD) -> OutputState:
    """Compare all contents with what is in ``out``."""
    state = OutputState([], [], [])
    for item in progress_bar(items, 'comparing'):
        path = out / item.to
        if not os.path.lexists(path):
            state.missing.append(item)
        elif _is_same(item, path, threshold):
            state.same.append(item)
        else:
            state.different.append(item)
    return state


def write(state: OutputState, out: Path, *, overwrite: bool = False, threshold: float = MASK_THRESHOLD) -> int:
    """Write what is missing, and with ``overwrite`` what differs; return the number of files written.

    Raises:
        FileExistsError: If something differs and ``overwrite`` is false; nothing is written then.
        OSError: If the disk is full or fails, or a link cannot be made; what was written until then stays, whole.
    """
    try:
        refuse_overwriting([out / item.to for item in state.different], overwrite)
    except FileExistsError as error:
        raise FileExistsError(
            f'{len(state.different)} files in {out} differ from those to be written, nothing is written: {error}'
        ) from None
    todo = state.missing + state.different
    with partial_folder(out, bool(todo)) as partial:
        for item in progress_bar(todo, 'writing'):
            path = out / item.to
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = partial / 'file'
            content = item.made(threshold)
            if content is not None:
                temporary.write_bytes(content)
            else:
                place(item.source, temporary, item.link)
            os.replace(temporary, path)
    return len(todo)


def place(source: Path, target: Path, link: Link) -> None:
    """Copy or link a file.

    Raises:
        OSError: If it cannot be linked; the message says what to do.
    """
    try:
        if link == 'symbolic':
            os.symlink(os.path.abspath(source), target)
        elif link is not None:
            os.link(os.path.realpath(source), target)
        else:
            shutil.copyfile(source, target)
    except OSError as error:
        if link == 'own':
            shutil.copyfile(source, target)
            return
        if link is None:
            raise
        raise OSError(f'{source}: no {link} link can be made here ({error.strerror}); copy instead') from error


@contextmanager
def partial_folder(out: Path, needed: bool) -> Iterator[Path]:
    """The folder of the half-written file; what an interrupted run left there is removed before and after."""
    folder = out / PARTIAL
    _remove_partial(folder)
    if needed:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        _remove_partial(folder)


def _remove_partial(folder: Path) -> None:
    """Remove the one file that is ours, and the folder if nothing else is there."""
    discard(folder / 'file')
    with suppress(OSError):
        folder.rmdir()


def _is_same(item: OutputFile, path: Path, threshold: float) -> bool:
    if not path.is_file():
        return False
    if item.source is not None and not item.binarize:
        return os.path.samefile(item.source, path) or filecmp.cmp(item.source, path, shallow=False)
    content = item.made(threshold)
    if path.read_bytes() == content:
        return True
    if not item.binarize:
        return False
    # Another version of OpenCV may have packed the same pixels in another way.
    try:
        return np.array_equal(read_image(path), decode_image(content, item.to))
    except ValueError:
        return False
