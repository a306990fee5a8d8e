"""TIFF through tifffile, as strict as the other formats: what tifffile would read in part is an error here."""

import logging
import lzma
import math
import struct
import threading
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import tifffile
from PIL import Image

_GRAY_INVERTED, _GRAY, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6  # photometric interpretations
_UNCOMPRESSED, _FAX, _JPEG, _PACKBITS = 1, (2, 3, 4), 7, 32773
# Kinds that tifffile inflates without a bound, and how far they can.
_BOUNDLESS = {8: (zlib.decompressobj, 1040), 32946: (zlib.decompressobj, 1040), 34925: (lzma.LZMADecompressor, 8192)}
_SMALL = 2**24
_CHANNELS = {_GRAY_INVERTED: (1, 2), _GRAY: (1, 2), _RGB: (3, 4), _PALETTE: (1,), _CMYK: (4,), _YCBCR: (3,)}
# tifffile passes on whatever type a damaged file gives to these.
_WHOLE = (
    'imagewidth', 'imagelength', 'imagedepth', 'samplesperpixel', 'photometric', 'compression', 'planarconfig',
    'predictor', 'sampleformat', 'tilewidth', 'tilelength', 'rowsperstrip', 'fillorder', 'subfiletype',
)  # fmt: skip
_DTYPES = ('bool', 'u1', 'u2', 'u4', 'i1', 'i2', 'i4', 'f2', 'f4', 'f8')
_EXTRA = "; imagecodecs reads it: pip install 'mmirstd[tiff]'"


class TiffImage:
    """A page of a TIFF file, its tags checked before any memory is taken for pixels.

    Args:
        content: The whole file, bytes or a memory map.
        page: From :func:`tiff_pages`; by default the only page of the file.

    Attributes:
        width: In pixels.
        height: In pixels.
        channels: Of the decoded image: a palette makes 3.
        bits: Of a sample.
        dtype: Type of the decoded image, in native byte order.
        has_palette: Whether the pixels are indices of colors.

    Raises:
        ValueError: If there are several pages, or the page is cut off or of a kind that is not supported.
    """

    def __init__(self, content: Any, page: tifffile.TiffPage | None = None) -> None:
        self._content = content
        self._page = page = page or _only_page(content)
        bits, photometric, samples = page.bitspersample, page.photometric, page.samplesperpixel
        if missing := [tag for tag in (256, 257, 262) if tag not in page.tags]:
            raise ValueError(f'TIFF without the tags {missing}')
        if not all(isinstance(getattr(page, name), int) for name in _WHOLE):
            raise ValueError('TIFF with damaged tags')
        if isinstance(bits, tuple):
            raise ValueError(f'TIFF whose channels differ in type: {bits} bits')
        few = bits in (1, 2, 4)
        if page.dtype is None or page.dtype not in map(np.dtype, _DTYPES) or (bits < 8 and not (few and samples == 1)):
            raise ValueError(
                f'TIFF of {bits} bits, sample format {int(page.sampleformat)}, {samples} channels: not supported'
            )
        jpeg = page.compression == _JPEG
        if samples not in _CHANNELS.get(photometric, ()) or (photometric in (_CMYK, _YCBCR) and not jpeg):
            raise ValueError(
                f'TIFF of {samples} channels, photometric interpretation {int(photometric)}: not supported'
            )
        if page.imagedepth != 1:
            raise ValueError(f'TIFF of {page.imagedepth} layers')
        self.width, self.height, self.bits = page.imagewidth, page.imagelength, bits
        self.has_palette = photometric == _PALETTE
        self.channels = 3 if self.has_palette or photometric == _CMYK else samples
        self.dtype = np.dtype(np.uint8) if few or self.has_palette else page.dtype.newbyteorder('=')

    def decode(self) -> np.ndarray:
        """Decode the page.

        Orientation is ignored, alpha is not applied. Palettes become colors; 1, 2 and 4 bits are spread over 0..255.

        Returns:
            (H, W) or (H, W, C), colors in RGB(A) order.

        Raises:
            ValueError: If the file is incomplete or damaged as far as its compression can tell, or its compression
                needs imagecodecs, which is not installed.
        """
        page = self._page
        self.check_parts()
        if page.compression in _FAX:
            return self._fax()
        self._drop_predictor()
        img = _strictly(page.asarray, maxworkers=1)
        return self._finish(np.moveaxis(img, 0, -1) if page.axes == 'SYX' else img)

    @property
    def whole_reason(self) -> str | None:
        """Why :meth:`rows` would decode much more than it is asked for, or None."""
        page = self._page
        if page.compression in _FAX or (page.planarconfig != 1 and page.samplesperpixel > 1):
            return 'fax compression' if page.compression in _FAX else 'each channel is stored by itself'
        if not page.is_contiguous and page.chunks[0] > max(2048, self.height // 4):
            return f'compressed in parts of {page.chunks[0]} rows'
        return None

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Decode rows of the page, without the others: as :meth:`decode` of the whole, after :meth:`check_parts`.

        Raises:
            ValueError: As :meth:`decode`.
        """
        page, content = self._page, self._content
        self._drop_predictor()
        if page.is_contiguous and page.fillorder == 1:
            dtype, size = page.dtype.newbyteorder(page.parent.byteorder), self.width * page.samplesperpixel
            at = page.dataoffsets[0] + top * size * dtype.itemsize
            if at + (bottom - top) * size * dtype.itemsize > len(content):
                raise ValueError('truncated')
            img = np.frombuffer(content, dtype, (bottom - top) * size, at)
            return self._finish(img.reshape(bottom - top, self.width, -1))
        height, width = page.chunks[:2]
        across = -(-self.width // width)
        img = np.zeros((bottom - top, self.width, page.samplesperpixel), page.dtype.newbyteorder('='))
        options: dict[str, Any] = {'_fullsize': page.is_tiled}
        if page.compression == _JPEG:
            options |= {'jpegtables': page.jpegtables, 'jpegheader': page.jpegheader}
        for i in range(top // height * across, -(-bottom // height) * across):
            start, size = page.dataoffsets[i], page.databytecounts[i]
            part = _strictly(page.decode, bytes(content[start : start + size]), i, **options)[0]
            y, x = i // across * height, i % across * width
            first, last = max(top, y), min(bottom, y + height)
            target = img[first - top : last - top, x : x + width]
            if part is None or part.shape[1] < last - y:
                raise ValueError('truncated')
            target[:] = part[0, first - y : last - y, : target.shape[1]]
        return self._finish(img)

    def _drop_predictor(self) -> None:
        if self._page.compression in (_UNCOMPRESSED, _PACKBITS):
            self._page.predictor = 1  # means nothing there; libtiff does not look at it either
        elif self.bits < 8 and self._page.predictor != 1:
            raise ValueError(f'TIFF of {self.bits} bits with predictor {int(self._page.predictor)}: not supported')

    def _finish(self, img: np.ndarray) -> np.ndarray:
        """Pixels as stored, (h, W) or (h, W, S), to (h, W) or (h, W, C) as they are meant."""
        page, bits = self._page, self.bits
        if img.ndim == 3 and img.shape[2] == 1:
            img = img[..., 0]
        if self.has_palette:
            return self._colors(img)
        if page.photometric == _CMYK:
            img = np.asarray(Image.fromarray(np.ascontiguousarray(img), 'CMYK').convert('RGB'))
        if bits < 8:
            img = img.astype(np.uint8) * np.uint8(255 // (2**bits - 1))
        if page.photometric == _GRAY_INVERTED:
            img = self._inverted(img)
        return np.ascontiguousarray(img, self.dtype)

    def check_parts(self) -> None:
        """Raise ValueError unless all strips or tiles are there, and none is larger than the image allows."""
        page = self._page
        offsets, sizes, expected = page.dataoffsets, page.databytecounts, math.prod(_strictly(lambda: page.chunked))
        if len(offsets) != expected or len(sizes) != expected:
            raise ValueError(f'TIFF of {expected} parts with {len(offsets)} offsets and {len(sizes)} sizes')
        if not all(isinstance(n, int) for n in (*offsets, *sizes)):
            raise ValueError('TIFF with damaged tags')
        if min(offsets) < 1 or min(sizes) < 1:
            raise ValueError('TIFF with empty parts')
        if math.prod(page.chunks[:2]) > 4 * (self.width + 4096) * (self.height + 4096):
            raise ValueError(f'TIFF in parts of {page.chunks}')
        end = max(map(sum, zip(offsets, sizes, strict=True)))
        if end > len(self._content):
            raise ValueError(f'truncated: {len(self._content)} bytes, its pixels go to {end}')
        if page.compression in _BOUNDLESS:
            expected = math.prod(page.chunks) * page.dtype.itemsize
            for offset, size in zip(offsets, sizes, strict=True):
                _refuse_inflation(bytes(self._content[offset : offset + size]), page.compression, expected)

    def _fax(self) -> np.ndarray:
        """Decode CCITT fax compression by Pillow, since most versions of tifffile cannot."""
        content = bytearray(self._content)
        if orientation := self._page.tags.get(274):  # Pillow would turn the image
            struct.pack_into(self._page.parent.byteorder + 'H', content, orientation.offset, 65000)  # a private tag
        return _strictly(lambda: np.array(Image.open(BytesIO(content), formats=['TIFF'])) * np.uint8(255))

    def _colors(self, indices: np.ndarray) -> np.ndarray:
        table = self._page.colormap
        if self.bits > 8 or table is None or table.shape != (3, 2**self.bits):
            raise ValueError(f'TIFF of {self.bits} bits with a palette of {0 if table is None else table.size} values')
        # 16 bits by the standard; some writers leave 8.
        table = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
        return np.ascontiguousarray(table.T[indices.astype(np.intp)])

    def _inverted(self, img: np.ndarray) -> np.ndarray:
        if img.dtype.kind != 'u':
            raise ValueError('TIFF of signed or float samples with white as zero: not supported')
        img = img.copy()
        first = img if img.ndim == 2 else img[..., 0]  # not alpha
        np.subtract(2 ** max(self.bits, 8) - 1, first, out=first, casting='unsafe')
        return img


def _refuse_inflation(part: bytes, kind: int, expected: int) -> None:
    """Refuse a part that inflates to more than the image says: without imagecodecs, tifffile inflates it at once."""
    new_decompressor, ratio = _BOUNDLESS[kind]
    if len(part) * ratio <= expected + _SMALL:
        return
    decompressor, done, data = new_decompressor(), 0, part
    while not decompressor.eof:
        try:
            more = len(decompressor.decompress(data, _SMALL))
        except (zlib.error, lzma.LZMAError):
            return  # the decoder says what is wrong with it
        done += more
        if done > expected:
            raise ValueError(f'TIFF with a part that inflates to more than its {expected} bytes')
        if not more:
            return
        data = getattr(decompressor, 'unconsumed_tail', b'')  # LZMA keeps it


def tiff_pages(content: Any) -> list[tifffile.TiffPage]:
    """List the pages of a TIFF file, without previews and transparency masks.

    Raises:
        ValueError: If the list is cut off.
    """
    stream = BytesIO(content) if isinstance(content, bytes) else content
    stream.seek(0)  # tifffile counts from where a memory map was left
    file = _strictly(tifffile.TiffFile, stream, name='')
    if not (pages := _strictly(list, file.pages)):
        raise ValueError('truncated')
    layout = file.tiff
    (tags,) = struct.unpack_from(layout.tagnoformat, content, pages[0].offset)
    if pages[0].offset + layout.tagnosize + tags * layout.tagsize + layout.offsetsize > len(content):
        raise ValueError('truncated: its directory is cut off')
    return [
        page
        for i, page in enumerate(pages)
        if not i or not (isinstance(page.subfiletype, int) and page.subfiletype & 5)
    ]


def _only_page(content: Any) -> tifffile.TiffPage:
    page, *others = tiff_pages(content)
    if others:
        raise ValueError('TIFF of several pages; save the one that is meant as a file of its own')
    return page


class _LogToError(logging.Filter):
    """tifffile logs what it cannot read, and goes on without it; where pixels are at stake, that is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """Raise an error in place of an error message, in a thread that reads for us."""
        strict = getattr(self.here, 'strict', False)
        # Sizes were left out by old writers; uncompressed, tifffile knows them.
        if strict and record.levelno >= logging.ERROR and 'missing data ByteCounts' not in record.getMessage():
            raise ValueError(record.getMessage())
        return not strict


_LOG = _LogToError()
logging.getLogger('tifffile').addFilter(_LOG)


def _strictly(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call a function of tifffile, with a ValueError for whatever it raises or logs as an error."""
    _LOG.here.strict = True
    try:
        return function(*args, **kwargs)
    except MemoryError:
        raise
    except (struct.error, IndexError) as error:
        raise ValueError('truncated') from error
    except Exception as error:  # tifffile and the codecs raise errors of many kinds
        needs_extra = isinstance(error, ImportError) or 'requires the' in str(error)
        raise ValueError(f'{error}{_EXTRA}' if needs_extra else f'damaged or not supported: {error}') from error
    finally:
        _LOG.here.strict = False
