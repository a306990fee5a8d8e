"""Image files as arrays, as they are stored: PNG, BMP, JPEG and TIFF.

The container is checked before OpenCV sees it, which for incomplete files may return grey rows without a word.
"""

import mmap
import os.path as osp
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from mmengine import fileio

from mmirstd.io import tiff as tiff_io

# A header costs nothing to write: refused above this, before memory is asked for (11,585 x 11,585).
MAX_PIXELS = 2**27
IMAGE_EXTENSIONS = ('.png', '.bmp', '.jpg', '.jpeg', '.tif', '.tiff')


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
        return _header(fileio.get(path, backend_args=backend_args), path, verify)
    with open(path, 'rb') as file:
        if not osp.getsize(path):
            raise ValueError(f'{path}: not a readable image (empty file)')
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _header(content[:] if verify else content, path, verify)


def decode_image(content: bytes, source: str) -> np.ndarray:
    """Decode the content of an image file.

    Pixels are as stored: EXIF and TIFF orientation are ignored, alpha is neither applied nor lost, except that a
    transparent colour (PNG's tRNS) and the fourth byte of BMP count for nothing. Palettes become colours, 1, 2 and 4
    bits are spread over 0..255.

    Args:
        content: The whole file.
        source: Its name for error messages.

    Returns:
        (H, W), or (H, W, 2) grey and alpha, (H, W, 3) BGR, (H, W, 4) BGRA, in the file's own type and native byte
        order: uint8, uint16, or for TIFF also int8, int16, int32, uint32, float16, float32 or float64.

    Raises:
        ValueError: If the content is no PNG, BMP, JPEG or TIFF, is incomplete, or has several pages.
    """
    return _guarded(_decode, content, source)


def refuse_non_finite(values: np.ndarray, source: str) -> None:
    """Raise ValueError if there are values that are NaN or infinite; the message names ``source``."""
    if values.dtype.kind == 'f' and (bad := values.size - np.count_nonzero(np.isfinite(values))):
        raise ValueError(f'{source}: {bad} of {values.size} values are NaN or infinite')


def _guarded(function: Callable, content: bytes, source: str) -> Any:
    try:
        return function(content)
    except (struct.error, IndexError, OverflowError) as error:  # an offset beyond the end
        raise ValueError(f'{source}: not a readable image (truncated)') from error
    except (ValueError, zlib.error, cv2.error) as error:
        raise ValueError(f'{source}: not a readable image ({error})') from error


def _header(content: bytes, path: str, verify: bool) -> Header:
    header = _guarded(parse_header, content, path)
    if verify:
        _guarded(_check_png if _kind(content) == 'PNG' else _decode, content, path)
    return header


def _kind(content: bytes) -> str:
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


def parse_header(content: bytes) -> Header:
    """Like :func:`read_header`, of a file's content; the errors do not name the file."""
    kind = _kind(content)
    header = {'PNG': _png_header, 'JPEG': _jpeg_header, 'BMP': _bmp_header, 'TIFF': _tiff_header}[kind](content)
    if header.width < 1 or header.height < 1:
        raise ValueError(f'size {header.width}x{header.height}')
    if header.width * header.height > MAX_PIXELS:
        raise ValueError(f'{header.width}x{header.height} is more than the {MAX_PIXELS} pixels that are allowed')
    return header


def _decode(content: bytes) -> np.ndarray:
    header, kind = parse_header(content), _kind(content)
    if kind == 'TIFF':
        img = tiff_io.decode(content, tiff_io.parse(content))
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


def _mode(channels: int, dtype: np.dtype) -> str:
    name = ('L', 'LA', 'RGB', 'RGBA')[channels - 1]
    if dtype == np.uint8:
        return name
    return {'L;uint16': 'I;16', 'L;int32': 'I', 'L;float32': 'F'}.get(f'{name};{dtype}', f'{name};{dtype}')


def _png_header(content: bytes) -> Header:
    width, height, bits, color = struct.unpack_from('>IIBB', content, 16)
    if content[12:16] != b'IHDR' or color not in (0, 2, 3, 4, 6) or bits not in (1, 2, 4, 8, 16):
        raise ValueError('damaged PNG header')
    channels, dtype = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[color], np.dtype(np.uint16 if bits == 16 else np.uint8)
    mode = 'P' if color == 3 else '1' if (color, bits) == (0, 1) else _mode(channels, dtype)
    return Header(width, height, channels, dtype, mode)


def _check_png_parts(content: bytes, checksums: bool = False) -> None:
    """Refuse a PNG that does not reach its end, or whose data is too short to hold its pixels."""
    at, size, data = 8, len(content), 0
    while True:
        if at + 12 > size:
            raise ValueError('truncated PNG')
        length, name = struct.unpack_from('>I4s', content, at)
        end = at + 12 + length
        if end > size:
            raise ValueError('truncated PNG')
        if (
            checksums
            and zlib.crc32(memoryview(content)[at + 4 : end - 4]) != struct.unpack_from('>I', content, end - 4)[0]
        ):
            raise ValueError(f'damaged PNG: checksum of {name!r}')
        if name == b'IDAT':
            data += length
        elif name == b'IEND':
            break
        elif name == b'acTL':
            raise ValueError('animated PNG; save the frame that is meant as a file of its own')
        at = end
    width, height, bits, color = struct.unpack_from('>IIBB', content, 16)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    if (width * samples * bits // 8 + 1) * height > 1040 * data:  # deflate shrinks by 1032 at most
        raise ValueError(f'{data} bytes cannot hold {width}x{height} pixels')


def _check_png(content: bytes) -> None:
    _check_png_parts(content, checksums=True)


def _jpeg_header(content: bytes) -> Header:
    at = 2
    while True:
        marker, length = _marker(content, at)
        at += 2
        if marker == 0xFF:
            at -= 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width, channels = struct.unpack_from('>BHHB', content, at + 2)
            if bits != 8 or channels not in (1, 3, 4):
                raise ValueError(f'JPEG of {bits} bits and {channels} channels: not supported')
            mode = {1: 'L', 3: 'RGB', 4: 'CMYK'}[channels]
            return Header(width, height, min(channels, 3), np.dtype(np.uint8), mode)
        elif marker in (0xD9, 0xDA):
            raise ValueError('damaged JPEG: no frame header')
        elif marker != 0x01 and not 0xD0 <= marker <= 0xD8:
            at += length


def _marker(content: bytes, at: int) -> tuple[int, int]:
    """A marker's code, and the length of what follows where it has any."""
    if content[at] != 0xFF:
        raise ValueError('damaged JPEG: no marker where one should be')
    code = content[at + 1]
    bare = code in (0xFF, 0x01) or 0xD0 <= code <= 0xD9
    return code, 0 if bare else struct.unpack_from('>H', content, at + 2)[0]


# A marker within coded data: neither a stuffed zero, nor a restart, nor a fill byte.
_JPEG_MARKER = re.compile(rb'\xff[\x01-\xcf\xd8-\xfe]')


def _check_jpeg(content: bytes) -> None:
    """Refuse a JPEG that does not reach its end, or is too short to hold its pixels: libjpeg would fill up with grey.

    What follows the end is not read.
    """
    at, size, data = 2, len(content), 0
    while True:
        if at + 2 > size or (marker_length := _marker(content, at))[1] + at + 2 > size:
            raise ValueError('truncated JPEG')
        marker, length = marker_length
        if marker == 0xD9:
            break
        at += 1 if marker == 0xFF else 2 + length
        if marker == 0xDA:
            if not (found := _JPEG_MARKER.search(content, at)):
                raise ValueError('truncated JPEG')
            data += found.start() - at
            at = found.start()
    width, height = _jpeg_header(content)[:2]
    if width * height > 8192 * data:  # a Huffman code has a bit at least, and goes for 32 x 32 pixels at most
        raise ValueError(f'{data} bytes cannot hold {width}x{height} pixels')


class _Bmp(NamedTuple):
    offset: int
    header: int
    width: int
    height: int
    bits: int
    compression: int = 0
    length: int = 0
    colors: int = 0


def _bmp_fields(content: bytes) -> _Bmp:
    offset, header = struct.unpack_from('<II', content, 10)
    if header == 12:
        width, height, _, bits = struct.unpack_from('<HHHH', content, 18)
        return _Bmp(offset, header, width, height, bits)
    width, height, _, bits, compression, length, _, _, colors = struct.unpack_from('<iiHHIIiiI', content, 18)
    return _Bmp(offset, header, width, abs(height), bits, compression, length, colors)


def _bmp_header(content: bytes) -> Header:
    bmp = _bmp_fields(content)
    if bmp.bits not in (1, 4, 8, 16, 24, 32) or bmp.compression not in (0, 1, 2, 3):
        raise ValueError(f'BMP of {bmp.bits} bits, compression {bmp.compression}: not supported')
    channels, mode = 3, 'RGB'
    if bmp.bits <= 8:
        entry, number = 3 if bmp.header == 12 else 4, min(bmp.colors or 2**bmp.bits, 2**bmp.bits)
        start = 14 + bmp.header
        table = np.frombuffer(content[start : start + entry * number], np.uint8)
        if len(table) < entry * number:
            raise ValueError('truncated BMP')
        table = table.reshape(-1, entry)
        grey = (table[:, :1] == table[:, 1:3]).all()
        channels = 1 if grey else 3
        mode = 'P' if not grey else '1' if bmp.bits == 1 else 'L'
    if channels == 3 and bmp.header == 12:
        raise ValueError('OS/2 BMP of colours: not supported')  # OpenCV would make it grey
    return Header(bmp.width, bmp.height, channels, np.dtype(np.uint8), mode)


def _check_bmp(content: bytes) -> None:
    bmp = _bmp_fields(content)
    coded = bmp.compression in (1, 2)
    end = bmp.offset + (bmp.length if coded else (bmp.width * bmp.bits + 31) // 32 * 4 * bmp.height)
    if end > len(content):
        raise ValueError(f'truncated BMP: {len(content)} bytes, its pixels go to {end}')


def _tiff_header(content: bytes) -> Header:
    tiff = tiff_io.parse(content)
    channels, bits = tiff_io.channels(tiff), tiff.get(tiff_io.BITS, 1)
    mode = 'P' if tiff.tags[tiff_io.PHOTOMETRIC][0] == 3 else '1' if bits == 1 else _mode(channels, tiff.dtype)
    return Header(tiff.width, tiff.height, channels, tiff.dtype, mode)
