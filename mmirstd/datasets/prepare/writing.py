"""Writing a prepared set: each file whole or not at all, and none that is there already replaced unasked."""

import filecmp
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from mmirstd.io.images import decode_image
from mmirstd.io.masks import mask_labels
from mmirstd.utils.text import abridge

# Half-written files live here, and nowhere else.
PARTIAL = '.partial'

# 'own': of a file in our own temporary folder; a hard link if possible, which takes no room.
Link = Literal['hard', 'symbolic', 'own'] | None


class ConflictError(FileExistsError):
    """Files that are there with other content; the message names them."""


class Item(NamedTuple):
    """A file to write: a copy of or link to ``source``, or a mask made binary, or ``content``; ``to`` is relative."""

    to: str
    source: Path | None = None
    content: bytes | None = None
    binarise: bool = False
    link: Link = None

    def made(self, threshold: float) -> bytes | None:
        """The content, where it is not that of ``source``."""
        return clean_mask(self.source, threshold) if self.binarise else self.content


class State(NamedTuple):
    """What is to be done in a folder: items that are missing, that differ, and that are there already."""

    missing: list[Item]
    different: list[Item]
    same: list[Item]


def clean_mask(path: Path, threshold: float) -> bytes:
    """Encode a mask as an 8-bit PNG of one channel with the values 0 and 255, as ``LoadTargetMask`` understands it."""
    mask = mask_labels(decode_image(path.read_bytes(), str(path)), threshold, str(path))
    return cv2.imencode('.png', mask * np.uint8(255))[1].tobytes()


def compare(
    items: Iterable[Item], out: Path, threshold: float = 127, progress: Callable[[], None] = lambda: None
) -> State:
    """Compare all contents with what is in ``out``."""
    state = State([], [], [])
    for item in items:
        path = out / item.to
        if not os.path.lexists(path):
            state.missing.append(item)
        elif _is_same(item, path, threshold):
            state.same.append(item)
        else:
            state.different.append(item)
        progress()
    return state


def write(
    state: State,
    out: Path,
    *,
    overwrite: bool = False,
    threshold: float = 127,
    progress: Callable[[], None] = lambda: None,
) -> int:
    """Write what is missing, and with ``overwrite`` what differs; return the number of files written.

    Raises:
        ConflictError: If something differs and ``overwrite`` is false; nothing is written then.
        OSError: If the disk is full or fails, or a link cannot be made; what was written until then stays, whole.
    """
    if state.different and not overwrite:
        raise ConflictError(
            f'{len(state.different)} files in {out} differ from those to be written: '
            f'{abridge([item.to for item in state.different])}; nothing is written. --overwrite replaces them'
        )
    todo = state.missing + state.different
    with partial_folder(out, bool(todo)) as partial:
        for item in todo:
            path = out / item.to
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = partial / 'file'
            content = item.made(threshold)
            if content is not None:
                temporary.write_bytes(content)
            else:
                place(item.source, temporary, item.link)
            os.replace(temporary, path)
            progress()
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
    """The folder of half-written files, empty; what an interrupted run left there is removed before and after."""
    folder = out / PARTIAL
    shutil.rmtree(folder, ignore_errors=True)
    if needed:
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_same(item: Item, path: Path, threshold: float) -> bool:
    if not path.is_file():
        return False
    if item.source is not None and not item.binarise:
        return os.path.samefile(item.source, path) or filecmp.cmp(item.source, path, shallow=False)
    content = item.made(threshold)
    if path.read_bytes() == content:
        return True
    if not item.binarise:
        return False
    # Another version of OpenCV may have packed the same pixels in another way.
    try:
        return np.array_equal(decode_image(path.read_bytes(), str(path)), decode_image(content, item.to))
    except ValueError:
        return False
