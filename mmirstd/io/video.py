"""Sequences of frames in one file, read one frame at a time: videos through OpenCV, and TIFF files of several pages."""

import math
import mmap
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mmirstd.io.files import whole_file
from mmirstd.io.images import drop_alpha
from mmirstd.io.tiff import TiffImage, tiff_pages
from mmirstd.utils.errors import UserError

VIDEO_EXTENSIONS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.ts')
DEFAULT_FPS = 25.0
# The number of frames in these is counted; in others it is the duration times the frame rate.
_COUNTED = ('.mp4', '.avi', '.mov', '.m4v')


class Frame(NamedTuple):
    """A frame: its number from 0, its time in seconds (None: unknown), its image, or why there is none."""

    number: int
    time: float | None
    image: np.ndarray | None
    problem: str = ''


def is_sequence(path: str | os.PathLike) -> bool:
    """Whether a file is a video by its name, or a TIFF of several pages; a damaged TIFF is none."""
    path = os.fspath(path)
    if not os.path.isfile(path):
        return False
    if path.lower().endswith(VIDEO_EXTENSIONS):
        return True
    if not path.lower().endswith(('.tif', '.tiff')) or not os.path.getsize(path):
        return False
    try:
        return len(tiff_pages(_mapped(path))) > 1
    except (OSError, ValueError, struct.error, IndexError):  # whoever reads it says why
        return False


class FrameReader:
    """The frames of a file, in order; memory holds one at a time.

    Args:
        path: A video, or a TIFF of several pages.

    Attributes:
        number: Of frames as the file declares it; an estimate for some formats.
        fps: Frames in a second; None where the file does not say.
        lost: After the last frame: what the file declares and nobody could read, in words; '' where nothing is lost.

    Raises:
        ValueError: If there is no frame to be read; the message names the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.lost = str(path), ''
        self.fps: float | None = None
        self._is_video = self.path.lower().endswith(VIDEO_EXTENSIONS)
        if not self._is_video:
            self.number = len(tiff_pages(_mapped(self.path)))
            return
        video = self._open()
        fps = video.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < 1e4 else None
        self.number = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        video.release()

    def __iter__(self) -> Iterator[Frame]:
        return self._video() if self._is_video else self._pages()

    def _open(self) -> cv2.VideoCapture:
        video = cv2.VideoCapture(self.path)
        if not video.isOpened():
            raise ValueError(f'{self.path}: not a readable video (damaged, or of a kind that OpenCV does not decode)')
        return video

    def _video(self) -> Iterator[Frame]:
        video = self._open()
        read, before, gaps = 0, None, []
        try:
            while True:
                good, image = video.read()
                if not good:
                    break
                time = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if before is not None and self.fps and time - before > 1.5 / self.fps:
                    gaps.append(before)
                before = time
                yield Frame(read, time, image)
                read += 1
        finally:
            video.release()
        missing = self.number - read
        if missing > (0 if self.path.lower().endswith(_COUNTED) or gaps else 1):
            where = f', after {", ".join(f"{t:.2f} s" for t in gaps[:5])}' if 0 < len(gaps) <= missing else ''
            self.lost = f'{missing} of {self.number} frames are damaged or missing{where}'
        elif not read:
            self.lost = 'there is no frame'

    def _pages(self) -> Iterator[Frame]:
        content = _mapped(self.path)
        for number, page in enumerate(tiff_pages(content)):
            try:
                image = drop_alpha(TiffImage(content, page).decode())
                yield Frame(number, None, image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1]))
            except (ValueError, struct.error, IndexError) as error:
                yield Frame(number, None, None, f'not a readable page ({error})')


@contextmanager
def video_writer(path: str | Path, fps: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Give a function that adds a frame (H, W, 3) uint8 RGB to an MP4 (MPEG-4 part 2).

    The first frame says the size; others are padded or cut to it. The file is there whole or not at all, and not at all
    without a frame.

    Args:
        path: Name of the file.
        fps: Frames in a second.

    Raises:
        VideoSizeError: If OpenCV cannot write a video of that size; the message names the file.
    """
    writer, size = None, (0, 0)

    def write(picture: np.ndarray) -> None:
        nonlocal writer, size
        if writer is None:
            size = tuple(side + side % 2 for side in picture.shape[:2])  # the colors have half the size
            writer = cv2.VideoWriter(str(name), cv2.VideoWriter_fourcc(*'mp4v'), _writable_rate(fps), size[::-1])
            if not writer.isOpened():
                writer = None
                raise VideoSizeError(f'{path}: OpenCV cannot write a video of {size[1]}x{size[0]} at {fps:g} frames/s')
        frame = np.zeros((*size, 3), np.uint8)
        part = picture[: size[0], : size[1], ::-1]
        frame[: part.shape[0], : part.shape[1]] = part
        writer.write(frame)

    with suppress(_NoFrameError), whole_file(path) as temporary:
        name = Path(f'{temporary}.mp4')  # OpenCV takes the format from it
        try:
            yield write
            if writer is None:
                raise _NoFrameError
            writer.release()
            os.replace(name, temporary)
        finally:
            if writer is not None:
                writer.release()
            name.unlink(missing_ok=True)


def _writable_rate(fps: float) -> float:
    """The next rate that MPEG-4 can have: it divides a second into at most 65,535, and OpenCV gives it decimals.

    >>> _writable_rate(59.9401), _writable_rate(119.983), _writable_rate(1000.5)
    (59.9401, 119.98, 1000.5)
    """
    decimals = math.floor(math.log10(65_535 / fps))
    return fps if decimals >= 3 else round(fps, max(decimals, 0))


class VideoSizeError(UserError, ValueError):
    """A video that OpenCV cannot write."""


class _NoFrameError(Exception):
    """Ends the writing of a file that has no frame."""


def _mapped(path: str) -> mmap.mmap:
    with open(path, 'rb') as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
