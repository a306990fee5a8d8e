"""TIFF: tags, and pixels as they are stored.

libtiff only decompresses; samples are put in place here. Through OpenCV 5 or Pillow 13 whole, one or the other is wrong
without a word, or fails, for: 16-bit colours, two channels, planes stored apart, 8-bit tiles, big-endian compressed
floats, half precision, alpha (multiplied into the colours) and the orientation tag (applied).
"""

import struct
import zlib
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANAR, PREDICTOR = 273, 274, 277, 278, 279, 284, 317
FILL_ORDER, COLOR_MAP, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 266, 320, 322, 323, 324, 325
SAMPLE_FORMAT, SUBFILE_TYPE = 339, 254
_KNOWN = frozenset(value for name, value in globals().items() if name.isupper())

_TYPES = {1: 'B', 3: 'H', 4: 'I', 16: 'Q'}  # the unsigned integers: all that the tags above come in
_NONE, _JPEG, _PACKBITS, _DEFLATES = 1, 7, 32773, (8, 32946)
_BY_LIBTIFF = {5, _PACKBITS, 34925, 50000}  # LZW, PackBits, LZMA, Zstandard
_BY_PILLOW = {2, 3, 4, _JPEG}  # CCITT fax and JPEG: coded with their geometry, so only a whole decoder will do
_SAMPLES = {('u', 8), ('u', 16), ('u', 32), ('i', 8), ('i', 16), ('i', 32), ('f', 16), ('f', 32), ('f', 64)}


class Tiff(NamedTuple):
    """Layout of a page: ``tags`` with their values, and ``places``, the offsets of their entries in the file."""

    order: str
    tags: dict[int, tuple[int, ...]]
    places: dict[int, int]
    width: int
    height: int
    samples: int
    dtype: np.dtype

    def get(self, tag: int, default: int) -> int:
        """First value of a tag."""
        return self.tags.get(tag, (default,))[0]


def parse(data: bytes) -> Tiff:
    """Read the tags of the only page.

    Raises:
        ValueError: If there are more pages, or they make no image that can be decoded here; struct.error if they are
            cut off.
    """
    order = '<' if data[:2] == b'II' else '>'
    big = struct.unpack_from(order + 'H', data, 2)[0] == 43
    (ifd,) = struct.unpack_from(order + ('Q' if big else 'I'), data, 8 if big else 4)
    tags, places, following = _directory(data, ifd, order, big)
    seen = {ifd}
    while following:
        if following in seen or len(seen) > 255:
            raise ValueError('TIFF whose directories do not end')
        seen.add(following)
        other, _, following = _directory(data, following, order, big)
        if not other.get(SUBFILE_TYPE, (0,))[0] & 5:  # a preview or a transparency mask is no page
            raise ValueError('TIFF of several pages; save the one that is meant as a file of its own')
    missing = [tag for tag in (WIDTH, HEIGHT, PHOTOMETRIC) if tag not in tags]
    if missing:
        raise ValueError(f'TIFF without the tags {missing}')
    samples = tags.get(SAMPLES, (1,))[0]
    bits, kinds = set(tags.get(BITS, (1,))), set(tags.get(SAMPLE_FORMAT, (1,)))
    if len(bits) > 1 or len(kinds) > 1:
        raise ValueError(f'TIFF whose channels differ in type: {sorted(bits)} bits, sample formats {sorted(kinds)}')
    (bits,), (kind,) = bits, kinds
    letter = {1: 'u', 2: 'i', 3: 'f', 4: 'u'}.get(kind)
    if (letter, bits) in _SAMPLES:
        dtype = np.dtype(f'{letter}{bits // 8}')
    elif letter == 'u' and bits in (1, 2, 4) and samples == 1:
        dtype = np.dtype('u1')
    else:
        raise ValueError(f'TIFF of {bits} bits, sample format {kind}, {samples} channels: not supported')
    return Tiff(order, tags, places, tags[WIDTH][0], tags[HEIGHT][0], samples, dtype)


def channels(tiff: Tiff) -> int:
    """How many channels the decoded image has."""
    photometric, samples = tiff.tags[PHOTOMETRIC][0], tiff.samples
    expected = {0: (1, 2), 1: (1, 2), 2: (3, 4), 3: (1,), 5: (4,), 6: (3,)}
    if samples not in expected.get(photometric, ()) or (photometric in (5, 6) and tiff.get(COMPRESSION, 1) != _JPEG):
        raise ValueError(f'TIFF of {samples} channels, photometric interpretation {photometric}: not supported')
    return 3 if photometric in (3, 5) else samples


def decode(data: bytes, tiff: Tiff) -> np.ndarray:
    """Decode the page to (H, W) or (H, W, C), colours in RGB(A) order; the orientation tag is ignored.

    Raises:
        ValueError: If the data is incomplete or damaged, as far as its compression can tell.
    """
    bits, photometric = tiff.get(BITS, 1), tiff.tags[PHOTOMETRIC][0]
    if tiff.get(COMPRESSION, 1) in _BY_PILLOW:
        return _whole(data, tiff)
    planes = tiff.samples if tiff.get(PLANAR, 1) == 2 else 1
    depth = tiff.samples // planes
    tiled = TILE_OFFSETS in tiff.tags
    if tiled:
        width, height = tiff.get(TILE_WIDTH, 0), tiff.get(TILE_HEIGHT, 0)
    else:
        width, height = tiff.width, min(tiff.get(ROWS_PER_STRIP, tiff.height), tiff.height)
    if width < 1 or height < 1 or width > 2 * tiff.width + 4096 or height > 2 * tiff.height + 4096:
        raise ValueError(f'TIFF in parts of {width}x{height}')
    across, down = -(-tiff.width // width), -(-tiff.height // height)
    segments = _segments(data, tiff, tiled, across * down * planes)
    stride = -(-width * depth * bits // 8)
    img = np.empty((tiff.height, tiff.width, tiff.samples), tiff.dtype)
    for index, segment in enumerate(segments):
        plane, (row, column) = index // (across * down), divmod(index % (across * down), across)
        top, left = row * height, column * width
        rows = height if tiled else min(height, tiff.height - top)
        raw = np.frombuffer(_expand(segment, tiff, stride, rows), np.uint8).reshape(rows, stride)
        part = _to_samples(raw, tiff, bits, width, depth)
        cut = np.s_[top : top + rows, left : left + width, plane : plane + depth]
        target = img[cut]
        target[...] = part[: target.shape[0], : target.shape[1]]
    if photometric == 3:
        return _palette(img[..., 0], tiff, bits)
    if bits < 8:
        img *= 255 // (2**bits - 1)
    if photometric == 0:
        if tiff.dtype.kind != 'u':
            raise ValueError('TIFF of signed or float samples with white as zero: not supported')
        img[..., 0] = np.iinfo(tiff.dtype).max - img[..., 0]
    return img[..., 0] if tiff.samples == 1 else img


def _directory(data: bytes, at: int, order: str, big: bool) -> tuple[dict, dict, int]:
    """Integer tags of a directory, where their entries are, and the offset of the next directory."""
    (count,) = struct.unpack_from(order + ('Q' if big else 'H'), data, at)
    at += 8 if big else 2
    size, inline, offset = (20, 8, 'Q') if big else (12, 4, 'I')
    if at + count * size + inline > len(data):
        raise ValueError('its directory is cut off')
    tags, places = {}, {}
    for entry in range(at, at + count * size, size):
        tag, kind, number = struct.unpack_from(order + 'HH' + offset, data, entry)
        if tag not in _KNOWN or kind not in _TYPES:
            continue
        place, length = entry + size - inline, number * struct.calcsize(_TYPES[kind])
        if length > inline:
            (place,) = struct.unpack_from(order + offset, data, place)
        if not number or place + length > len(data):
            raise ValueError(f'the values of its tag {tag} are cut off')
        tags[tag], places[tag] = struct.unpack_from(f'{order}{number}{_TYPES[kind]}', data, place), entry
    return tags, places, struct.unpack_from(order + offset, data, at + count * size)[0]


def _segments(data: bytes, tiff: Tiff, tiled: bool, expected: int) -> list[memoryview]:
    names = (TILE_OFFSETS, TILE_BYTES) if tiled else (STRIP_OFFSETS, STRIP_BYTES)
    offsets, sizes = (tiff.tags.get(name, ()) for name in names)
    if not sizes and len(offsets) == 1 and tiff.get(COMPRESSION, 1) == _NONE:
        sizes = (len(data) - offsets[0],)  # left out by old writers
    if len(offsets) < expected or len(sizes) < expected:
        raise ValueError(f'TIFF of {expected} parts with {len(offsets)} offsets and {len(sizes)} sizes')
    _check_extent(data, offsets, sizes)
    view = memoryview(data)
    return [view[o : o + n] for o, n in zip(offsets[:expected], sizes, strict=False)]


def _check_extent(data: bytes, offsets: tuple[int, ...], sizes: tuple[int, ...]) -> None:
    end = max(map(sum, zip(offsets, sizes, strict=False)), default=0)
    if end > len(data):
        raise ValueError(f'truncated: {len(data)} bytes, its pixels go to {end}')


def _expand(segment: memoryview, tiff: Tiff, stride: int, rows: int) -> bytes:
    """Decompress one strip or tile to ``rows * stride`` bytes."""
    compression, size = tiff.get(COMPRESSION, 1), rows * stride
    if tiff.get(FILL_ORDER, 1) != 1:
        raise ValueError('TIFF with reversed bits: not supported')
    if compression == _NONE:
        raw = bytes(segment[:size])
    elif compression in _DEFLATES:
        inflate = zlib.decompressobj()
        # One byte more than is needed, so that the stream is read to its checksum.
        raw = inflate.decompress(segment, size + 1)
        if len(raw) == size and not inflate.eof:
            raise ValueError('damaged: a compressed part does not end')
    elif compression in _BY_LIBTIFF:
        raw = _libtiff(segment, compression, stride, rows)
    else:
        raise ValueError(f'TIFF with compression {compression}: not supported')
    if len(raw) < size:
        raise ValueError(f'truncated: a part has {len(raw)} of {size} bytes')
    return raw[:size]


def _libtiff(segment: memoryview, compression: int, stride: int, rows: int) -> bytes:
    """Let libtiff decompress a segment, wrapped as an 8-bit grey TIFF, so that it does nothing else."""
    tags = {
        WIDTH: stride, HEIGHT: rows, BITS: 8, COMPRESSION: compression, PHOTOMETRIC: 1, STRIP_OFFSETS: 8,
        SAMPLES: 1, ROWS_PER_STRIP: rows, STRIP_BYTES: len(segment),
    }  # fmt: skip
    pad = len(segment) % 2
    directory = b''.join(struct.pack('<HHII', tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack('<2sHI', b'II', 42, 8 + len(segment) + pad)
    wrapped = b''.join((head, segment, bytes(pad), struct.pack('<H', len(tags)), directory, bytes(4)))
    return _pillow(wrapped).tobytes()


def _pillow(data: bytes) -> Image.Image:
    try:
        with Image.open(BytesIO(data), formats=['TIFF']) as image:
            image.load()
            return image
    except Exception as error:  # PIL's decoders raise errors of many kinds
        raise ValueError(f'damaged: {error}') from error


def _to_samples(raw: np.ndarray, tiff: Tiff, bits: int, width: int, depth: int) -> np.ndarray:
    """Turn rows of bytes into samples (rows, width, depth), and undo the predictor."""
    # Uncompressed and with PackBits the tag means nothing: libtiff does not look at it either.
    predictor = 1 if tiff.get(COMPRESSION, 1) in (_NONE, _PACKBITS) else tiff.get(PREDICTOR, 1)
    rows = len(raw)
    if bits < 8:
        if predictor != 1:
            raise ValueError(f'TIFF of {bits} bits with predictor {predictor}: not supported')
        places = np.unpackbits(raw, axis=1).reshape(rows, -1, bits)
        return (places @ (1 << np.arange(bits)[::-1]).astype(np.uint8))[:, :width, None]
    size = bits // 8
    if predictor == 3 and tiff.dtype.kind == 'f':
        # bytes of all samples, the most significant first, each byte as a difference from one pixel back
        raw = np.add.accumulate(raw.reshape(rows, -1, depth), axis=1, dtype=np.uint8)
        raw = raw.reshape(rows, size, -1).transpose(0, 2, 1)
        return np.ascontiguousarray(raw).view(tiff.dtype.newbyteorder('>')).reshape(rows, width, depth)
    if predictor == 2:
        words = raw.view(f'{tiff.order}u{size}').astype(f'u{size}').reshape(rows, width, depth)
        return np.add.accumulate(words, axis=1, dtype=words.dtype).view(tiff.dtype)
    if predictor != 1:
        raise ValueError(f'TIFF with predictor {predictor}: not supported')
    return raw.view(tiff.dtype.newbyteorder(tiff.order)).reshape(rows, width, depth)


def _palette(indices: np.ndarray, tiff: Tiff, bits: int) -> np.ndarray:
    table = np.array(tiff.tags.get(COLOR_MAP, ()))
    if bits > 8 or len(table) != 3 * 2**bits:
        raise ValueError(f'TIFF of {bits} bits with a palette of {len(table)} values')
    # 16 bits by the standard; some writers leave 8.
    table = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
    return table.reshape(3, -1).T[indices]


def _whole(data: bytes, tiff: Tiff) -> np.ndarray:
    for names in ((STRIP_OFFSETS, STRIP_BYTES), (TILE_OFFSETS, TILE_BYTES)):
        _check_extent(data, *(tiff.tags.get(name, ()) for name in names))
    if ORIENTATION in tiff.places:  # Pillow would turn the image
        data, place = bytearray(data), tiff.places[ORIENTATION]
        struct.pack_into(tiff.order + 'H', data, place, 65000)  # a private tag
    image = _pillow(bytes(data))
    if image.size != (tiff.width, tiff.height):
        raise ValueError(f'{image.size} pixels decoded of {(tiff.width, tiff.height)}')
    if image.mode in ('CMYK', 'YCbCr'):
        image = image.convert('RGB')
    img = np.array(image)
    return img.astype(np.uint8) * 255 if img.dtype == bool else img
