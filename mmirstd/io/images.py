"""Image files as arrays, as they are stored: PNG, BMP, JPEG and TIFF.

Pillow reads the headers, OpenCV and tifffile decode the pixels. Whether a file is complete is checked here: for an
incomplete one OpenCV may return gray rows without notice.
"""

import mmap
import os.path as osp
import re
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine import fileio
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from mmirstd.io.tiff import TiffImage

# A header costs nothing to write: refused above this, before memory is asked for (11,585 x 11,585).
MAX_PIXELS = 2**27
# Bytes of pixels that any file may hold, and how many times its own size a larger file may.
MAX_BYTES, MAX_EXPANSION = 2**28, 16
IMAGE_EXTENSIONS = ('.png', '.bmp', '.jpg', '.jpeg', '.tif', '.tiff')

_PILLOW_READERS = {'PNG': PngImageFile, 'JPEG': JpegImageFile, 'BMP': BmpImageFile}
_PILLOW_CHANNELS = {'1': 1, 'L': 1, 'I': 1, 'I;16': 1, 'P': 3, 'LA': 2, 'RGB': 3, 'RGBA': 4, 'CMYK': 3}


class Header(NamedTuple):
    """What :func:`decode_image` will return: ``channels`` 1 is (H, W), otherwise (H, W, C).

    ``mode`` is Pillow's name for the pixels in the file ('L', 'P', '1', 'RGB', 'I;16', 'F'); where Pillow has none,
    such as 'RGB;uint16'.
    """

    width: int
    height: int
    channels: int
    dtype: np.dtype
    mode: str


def read_header(path: str, backend_args: dict | None = None, verify: bool = False) -> Header:
    """Read size and type of an image; of a local file, only the header is read.

    Args:
        path: A file for mmengine's file backends.
        backend_args: mmengine's file backend.
        verify: Also prove that the pixels can be decoded: checksums for PNG, decoding for the others.

    Raises:
        ValueError: If the file is not a readable image, is truncated, or has more than ``MAX_PIXELS``; the message
            names the file.
    """
    path = str(path)
    if not osp.isfile(path):
        return _header(_read(path, backend_args), path, verify)
    with open(path, 'rb') as file:
        if not osp.getsize(path):
            raise ValueError(f'{path}: not a readable image (empty file)')
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _header(content[:] if verify else content, path, verify)


def read_image(path: str | Path, backend_args: dict | None = None) -> np.ndarray:
    """Read an image file through mmengine's file backends, as :func:`decode_image` decodes it.

    Raises:
        OSError: If the file cannot be read.
        ValueError: As :func:`decode_image`; the message names the file.
    """
    return decode_image(_read(path, backend_args), str(path))


def read_verified(path: str, backend_args: dict | None = None) -> tuple[Header, np.ndarray]:
    """Read header and pixels of an image, with the checksums of a PNG; see :func:`read_header`, :func:`decode_image`.

    Raises:
        OSError: If the file cannot be read.
        ValueError: As both; the message names the file.
    """
    path = str(path)
    content = _read(path, backend_args)
    header = _guarded(parse_header, content, path)
    if _kind(content) == 'PNG':
        _guarded(_check_png, content, path)
    return header, decode_image(content, path)


def decode_image(content: bytes, source: str) -> np.ndarray:
    """Decode the content of an image file.

    Pixels are as stored: EXIF and TIFF orientation are ignored, alpha is neither applied nor lost, except that a
    transparent color (PNG's tRNS) and the fourth byte of BMP count for nothing. Palettes become colors, 1, 2 and 4
    bits are spread over 0..255.

    Args:
        content: The whole file.
        source: Its name for error messages.

    Returns:
        (H, W), or (H, W, 2) gray and alpha, (H, W, 3) BGR, (H, W, 4) BGRA, in the file's own type and native byte
        order: uint8, uint16, or for TIFF also int8, int16, int32, uint32, float16, float32 or float64.

    Raises:
        ValueError: If the content is no PNG, BMP, JPEG or TIFF, is incomplete, or has several pages.
    """
    return _guarded(_decode, content, source)


def drop_alpha(image: np.ndarray) -> np.ndarray:
    """Return an image from :func:`decode_image` without alpha: (H, W) of 2 channels, (H, W, 3) of 4.

    >>> drop_alpha(np.zeros((2, 5, 4))).shape, drop_alpha(np.zeros((2, 5, 2))).shape
    ((2, 5, 3), (2, 5))
    """
    if image.ndim == 2 or image.shape[2] not in (2, 4):
        return image
    return image[..., 0] if image.shape[2] == 2 else image[..., :3]


def equal_channel(image: np.ndarray) -> np.ndarray | None:
    """The one channel (H, W) that stands for all, where an image has three equal ones; otherwise None.

    >>> gray = np.arange(6.0).reshape(2, 3)
    >>> bool((equal_channel(np.stack([gray] * 3, axis=2)) == gray).all()), equal_channel(np.ones((2, 2, 3)) * [1, 2, 3])
    (True, None)
    """
    if image.ndim != 3 or image.shape[2] != 3:
        return None
    first = np.ascontiguousarray(image[..., 0])
    return first if all(np.array_equal(first, image[..., channel]) for channel in (1, 2)) else None


def refuse_non_finite(values: np.ndarray, source: str) -> None:
    """Raise ValueError if there are values that are NaN or infinite; the message names ``source``."""
    if values.dtype.kind == 'f' and (bad := values.size - np.count_nonzero(np.isfinite(values))):
        raise ValueError(f'{source}: {bad} of {values.size} values are NaN or infinite')


def parse_header(content: Any) -> Header:
    """Like :func:`read_header`, of a file's content; the errors do not name the file."""
    kind = _kind(content)
    header = _tiff_header(TiffImage(content)) if kind == 'TIFF' else _pillow_header(content, kind)
    if header.width < 1 or header.height < 1:
        raise ValueError(f'size {header.width}x{header.height}')
    if header.width * header.height > MAX_PIXELS:
        raise ValueError(f'{header.width}x{header.height} is more than the {MAX_PIXELS} pixels that are allowed')
    shape = f'{header.width}x{header.height}x{header.channels} {header.dtype}'
    refuse_expansion(header.width * header.height * header.channels * header.dtype.itemsize, len(content), shape)
    return header


def _read(path: str | Path, backend_args: dict | None) -> bytes:
    """Content of a file; ValueError for a pipe, a socket or a device, since reading one may never end."""
    if osp.exists(path) and not osp.isfile(path) and not osp.isdir(path):
        raise ValueError(f'{path}: not a readable image (no regular file)')
    return fileio.get(path, backend_args=backend_args)


def refuse_expansion(declared: int, stored: int, what: str) -> None:
    """Refuse what takes far more memory than its file has bytes, before the memory is taken.

    Args:
        declared: Bytes that the content takes by its header.
        stored: Bytes of the file.
        what: Size and type, for the message.

    Raises:
        ValueError: If it is more than ``MAX_BYTES`` and ``MAX_EXPANSION`` times the file.
    """
    if declared > max(MAX_BYTES, MAX_EXPANSION * stored):
        raise ValueError(f'{what} takes {declared} bytes, from a file of {stored}: more than is allowed')


def _guarded(function: Callable, content: Any, source: str) -> Any:
    try:
        return function(content)
    except (struct.error, IndexError, OverflowError) as error:  # an offset beyond the end
        raise ValueError(f'{source}: not a readable image (truncated {_kind(content)})') from error
    except (ValueError, cv2.error) as error:
        raise ValueError(f'{source}: not a readable image ({error})') from error


def _header(content: Any, path: str, verify: bool) -> Header:
    header = _guarded(parse_header, content, path)
    if verify:
        _guarded(_check_png if _kind(content) == 'PNG' else _decode, content, path)
    return header


def _kind(content: Any) -> str:
    start = content[:8]
    if start == b'\x89PNG\r\n\x1a\n':
        return 'PNG'
    if start[:3] == b'\xff\xd8\xff':
        return 'JPEG'
    if start[:2] == b'BM':
        return 'BMP'
    if start[:4] in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
        return 'TIFF'
    raise ValueError('neither PNG, BMP, JPEG nor TIFF' if start else 'empty file')


def _pillow_header(content: Any, kind: str) -> Header:
    try:
        # Not Image.open, which warns above half the pixels that are allowed here.
        image = _PILLOW_READERS[kind](BytesIO(content) if isinstance(content, bytes) else content)
    except Exception as error:  # Pillow's readers raise errors of many kinds
        raise ValueError(f'damaged or truncated {kind} header: {error}') from error
    if image.mode not in _PILLOW_CHANNELS:
        raise ValueError(f'{kind} of mode {image.mode}: not supported')
    channels, mode, dtype = _PILLOW_CHANNELS[image.mode], image.mode, np.dtype(np.uint8)
    if kind == 'PNG' and content[24] == 16:  # Pillow knows 16 bits of gray only
        channels, dtype = {0: 1, 2: 3, 4: 2, 6: 4}[content[25]], np.dtype(np.uint16)
        mode = _mode(channels, dtype)
    if kind == 'BMP':
        channels, mode = _bmp_type(content, image)
    return Header(*image.size, channels, dtype, mode)


def _bmp_type(content: Any, image: BmpImageFile) -> tuple[int, str]:
    """Channels and mode. OpenCV decodes a palette of grays to gray, even where they are not in order."""
    core = content[14] == 12
    (bits,) = struct.unpack_from('<H', content, 24 if core else 28)
    gray = image.mode in ('1', 'L')
    if image.mode == 'P':
        table, entry = np.frombuffer(image.palette.palette, np.uint8), 3 if core else 4
        if len(table) % entry:
            raise ValueError('truncated BMP')
        table = table.reshape(-1, entry)[: 2**bits]
        gray = bool((table[:, :1] == table[:, 1:3]).all())
    if gray:
        return 1, '1' if bits == 1 else 'L'
    if core:
        raise ValueError('OS/2 BMP of colors: not supported')  # OpenCV would make it gray
    return 3, 'P' if image.mode == 'P' else 'RGB'


def _tiff_header(tiff: TiffImage) -> Header:
    mode = 'P' if tiff.has_palette else '1' if tiff.bits == 1 else _mode(tiff.channels, tiff.dtype)
    return Header(tiff.width, tiff.height, tiff.channels, tiff.dtype, mode)


def _mode(channels: int, dtype: np.dtype) -> str:
    name = ('L', 'LA', 'RGB', 'RGBA')[channels - 1]
    if dtype == np.uint8:
        return name
    return {'L;uint16': 'I;16', 'L;int32': 'I', 'L;float32': 'F'}.get(f'{name};{dtype}', f'{name};{dtype}')


def _decode(content: bytes) -> np.ndarray:
    header, kind = parse_header(content), _kind(content)
    if kind == 'TIFF':
        img = TiffImage(content).decode()
        if img.ndim == 3 and img.shape[2] > 2:
            img = np.ascontiguousarray(img[..., [2, 1, 0, 3][: img.shape[2]]])
    else:
        {'PNG': _check_png_parts, 'JPEG': _check_jpeg, 'BMP': _check_bmp}[kind](content)
        img = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if img is None:
            raise ValueError(f'damaged {kind}')
        if img.ndim == 3 and img.shape[2] != header.channels:
            img = img[..., ::3] if header.channels == 2 else img[..., : header.channels]
            img = np.ascontiguousarray(img[..., 0] if header.channels == 1 else img)
    shape = (header.height, header.width) + ((header.channels,) if header.channels > 1 else ())
    if img.shape != shape or img.dtype != header.dtype:
        raise ValueError(f'{kind} decoded to {img.dtype} {img.shape}, its header says {header.dtype} {shape}')
    return img


def _check_png(content: bytes) -> None:
    _check_png_parts(content, checksums=True)


def _check_png_parts(content: bytes, checksums: bool = False) -> None:
    """Refuse a PNG that does not reach its end, or whose data is too short to hold its pixels."""
    at, data, name = 8, 0, b''
    while name != b'IEND':
        length, name = struct.unpack_from('>I4s', content, at)
        end = at + 12 + length
        (checksum,) = struct.unpack_from('>I', content, end - 4)  # struct.error: truncated
        if checksums and zlib.crc32(memoryview(content)[at + 4 : end - 4]) != checksum:
            raise ValueError(f'damaged PNG: checksum of {name!r}')
        if name == b'acTL':
            raise ValueError('animated PNG; save the frame that is meant as a file of its own')
        data += length if name == b'IDAT' else 0
        at = end
    width, height, bits, color = struct.unpack_from('>IIBB', content, 16)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    if (width * samples * bits // 8 + 1) * height > 1040 * data:  # deflate shrinks by 1032 at most
        raise ValueError(f'{data} bytes cannot hold {width}x{height} pixels')


# A marker within coded data: neither a stuffed zero, nor a restart, nor a fill byte.
_JPEG_MARKER = re.compile(rb'\xff[\x01-\xcf\xd8-\xfe]')


def _check_jpeg(content: bytes) -> None:
    """Refuse a JPEG that does not reach its end, or is too short to hold its pixels: libjpeg would fill up with gray.

    What follows the end is not read.
    """
    at, data, width, height, marker = 2, 0, 0, 0, 0
    while marker != 0xD9:  # the end
        start, marker = struct.unpack_from('>BB', content, at)  # struct.error: truncated
        if start != 0xFF:
            raise ValueError('damaged JPEG: no marker where one should be')
        at += 1 if marker == 0xFF else 2
        if marker in (0x01, 0xD9, 0xFF) or 0xD0 <= marker <= 0xD8:  # without content
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the frame header
            height, width = struct.unpack_from('>HH', content, at + 3)
        at += struct.unpack_from('>H', content, at)[0]
        if marker == 0xDA:  # coded data
            if not (found := _JPEG_MARKER.search(content, at)):
                raise ValueError('truncated JPEG')
            data += found.start() - at
            at = found.start()
    if width * height > 8192 * data:  # a Huffman code has a bit at least, and goes for 32 x 32 pixels at most
        raise ValueError(f'{data} bytes cannot hold {width}x{height} pixels')


def _check_bmp(content: bytes) -> None:
    """Refuse a BMP that ends before its pixels."""
    offset, core = struct.unpack_from('<I', content, 10)[0], content[14] == 12
    width, height, _, bits = struct.unpack_from('<HHHH' if core else '<iiHH', content, 18)
    compression, length = (0, 0) if core else struct.unpack_from('<II', content, 30)
    run_lengths = compression in (1, 2)
    end = offset + (length if run_lengths else (width * bits + 31) // 32 * 4 * abs(height))
    if end > len(content):
        raise ValueError(f'truncated BMP: {len(content)} bytes, its pixels go to {end}')
