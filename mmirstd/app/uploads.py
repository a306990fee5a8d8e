"""Files that come through a browser: whose content, size and name nobody has checked yet."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmirstd.io.images import IMAGE_EXTENSIONS, read_header
from mmirstd.io.names import file_names, flat_name
from mmirstd.io.video import VIDEO_EXTENSIONS, is_sequence
from mmirstd.utils.errors import ArgumentError, describe

# What a container of a video begins with, at an offset. FFmpeg looks at the content alone: a playlist that is called
# clip.mp4 would make it open other files and addresses.
_MPEG4_PARTS = (b'ftyp', b'moov', b'mdat', b'free', b'skip', b'wide')
_CONTAINERS = (
    (0, b'RIFF'),
    (0, b'\x1a\x45\xdf\xa3'),
    (0, b'\0\0\1\xba'),
    (0, b'\0\0\1\xb3'),
    (0, b'\x30\x26\xb2\x75'),
    (0, b'\x47'),
    *((4, part) for part in _MPEG4_PARTS),
)


@dataclass(frozen=True)
class UploadLimits:
    """What is taken at once.

    Attributes:
        files: Number of files.
        file_bytes: Size of a file.
        pixels: Of an image or a frame.
        frames: Of a video; its further frames are left out.
        total_pixels: Of all images and frames together: each stays in memory with some eight bytes.
    """

    files: int = 100
    file_bytes: int = 256_000_000
    pixels: int = 2**24
    frames: int = 500
    total_pixels: int = 2**26

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ArgumentError(f'a limit of {value} {name.replace("_", " ")} leaves nothing')


@dataclass(frozen=True)
class Upload:
    """A file that was taken: its unique clean name, where it lies now, and whether it is a sequence of frames."""

    name: str
    path: str
    is_sequence: bool


class UploadRefusedError(ValueError):
    """A file is not taken."""


def take_uploads(
    paths: Sequence[str | Path], root: Path, folder: Path, limits: UploadLimits
) -> tuple[list[Upload], dict[str, str]]:
    """Move uploaded files into a folder, under clean names, as far as they may be images or videos.

    Args:
        paths: Where the server has put them. The last part of a path is the name that the browser sent.
        root: Folder that the server puts uploads in: nothing else is touched.
        folder: Where they go to.
        limits: What is taken; a file above them is deleted.

    Returns:
        The files, and for each one that is not taken its name and the reason.
    """
    named = file_names(os.path.basename(str(path)) for path in paths)
    names = file_names(map(flat_name, named))
    taken, problems = [], {}
    for number, (path, name) in enumerate(zip(paths, names, strict=True)):
        try:
            if number >= limits.files:
                raise UploadRefusedError(f'more than {limits.files} files at once')
            target = folder / name
            _check_file(Path(path), root, limits)
            os.replace(path, target)
            taken.append(Upload(name, str(target), _check_content(target, limits)))
        except (OSError, ValueError) as error:
            problems[name] = reason_of(error, name, path, folder / name)
            _remove(path, root)
            _remove(folder / name, folder)
    return taken, problems


def reason_of(error: Exception, name: str, *paths: str | Path) -> str:
    """Say what is wrong with a file, without the places where it lies on the server."""
    plain = isinstance(error, (OSError, ValueError)) and str(error)
    message = ' '.join(str(error).split()) if plain else describe(error)
    for path in paths:
        message = message.replace(str(path), name)
    return message.removeprefix(f'{name}: ')


def _check_file(path: Path, root: Path, limits: UploadLimits) -> None:
    real = Path(os.path.realpath(path))
    if real != path.absolute() or not real.is_relative_to(os.path.realpath(root)):
        raise UploadRefusedError('it was not uploaded')
    state = os.stat(path, follow_symlinks=False)
    if not stat.S_ISREG(state.st_mode):
        raise UploadRefusedError('no regular file')
    if state.st_size > limits.file_bytes:
        raise UploadRefusedError(f'{state.st_size / 1e6:.0f} MB are more than {limits.file_bytes / 1e6:.0f} MB')


def _check_content(path: Path, limits: UploadLimits) -> bool:
    """Whether it is a sequence."""
    extension = path.suffix.lower()
    if extension not in (*IMAGE_EXTENSIONS, *VIDEO_EXTENSIONS):
        raise UploadRefusedError(f'neither an image ({", ".join(IMAGE_EXTENSIONS)}) nor a video')
    if extension in VIDEO_EXTENSIONS:
        with open(path, 'rb') as file:
            head = file.read(8)
        if not any(head[at:].startswith(start) for at, start in _CONTAINERS):
            raise UploadRefusedError('not a readable video (its content is none)')
        return True
    if is_sequence(path):
        return True
    header = read_header(str(path))
    if header.width * header.height > limits.pixels:
        raise UploadRefusedError(f'{header.width} x {header.height} is more than {limits.pixels} pixels')
    return False


def _remove(path: str | Path, root: Path) -> None:
    """Delete a file or a link, if it lies below a folder of ours."""
    path = Path(path)
    if Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(root)) and not path.is_dir():
        path.unlink(missing_ok=True)
