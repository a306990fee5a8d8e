"""Writers of image files, byte by byte from the formats' specifications, to check the readers against.

Arrays are (H, W) or (H, W, C) in RGB(A) order. No byte that is written is superfluous.
"""

import struct
import zlib

import numpy as np

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(name, data):
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


def png(pixels, bits=None, filters=(0,), interlace=False, palette=None, extra=b'', split=2**31 - 1):
    """``bits`` below 8 pack gray levels or indices; ``filters`` are the types of consecutive rows, in turn."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    bits = bits or pixels.dtype.itemsize * 8
    height, width, channels = pixels.shape
    color = 3 if palette is not None else {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    raw = b''
    for top, left, down, across in ADAM7 if interlace else ((0, 0, 1, 1),):
        part = pixels[top::down, left::across]
        if part.size:
            raw += _png_rows(_pack(part, bits, '>'), max(bits * channels // 8, 1), filters)
    data = zlib.compress(raw)
    parts = [data[i : i + split] for i in range(0, len(data), split)]
    return b''.join(
        (
            b'\x89PNG\r\n\x1a\n',
            chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, bits, color, 0, 0, interlace)),
            chunk(b'PLTE', palette.tobytes()) if palette is not None else b'',
            extra,
            *(chunk(b'IDAT', part) for part in parts),
            chunk(b'IEND', b''),
        )
    )


def _png_rows(rows, step, filters):
    out, above = b'', np.zeros(rows.shape[1] + step, np.int64)
    for y, row in enumerate(rows.astype(np.int64)):
        here = np.concatenate([np.zeros(step, np.int64), row])
        left, up, corner = here[:-step], above[step:], above[:-step]
        kind = filters[y % len(filters)]
        if kind == 4:
            guess = left + up - corner
            distance = np.abs(np.stack([guess - left, guess - up, guess - corner]))
            predicted = np.choose(distance.argmin(axis=0), [left, up, corner])
        else:
            predicted = (0, left, up, (left + up) // 2)[kind]
        out += bytes([kind]) + ((row - predicted) % 256).astype(np.uint8).tobytes()
        above = here
    return out


def _pack(pixels, bits, order):
    """(H, W, C) to rows of bytes."""
    if bits % 8 == 0:
        pixels = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(order)))
        return pixels.view(np.uint8).reshape(len(pixels), -1)
    if bits > 8:
        wide = np.unpackbits(pixels.astype('>u2')[..., None].view(np.uint8), axis=3)[..., 16 - bits :]
        return np.packbits(wide.reshape(len(pixels), -1), axis=1)
    return np.packbits(np.unpackbits(pixels.astype(np.uint8), axis=2)[..., 8 - bits :].reshape(len(pixels), -1), axis=1)


def bmp(pixels, bits, palette=None, top_down=False, rle=False, core=False):
    """``pixels`` are indices where there is a palette (N, 3), otherwise RGB or, with 32 bits, RGBA."""
    height, width = pixels.shape[:2]
    rows = pixels if top_down else pixels[::-1]
    if rle:
        data = b''.join(_rle(row) + b'\0\0' for row in rows)[:-2] + b'\0\1'
    else:
        rows = _pack(rows[..., None], bits, '<') if palette is not None else rows[..., [2, 1, 0, 3][: bits // 8]]
        rows = rows.reshape(height, -1)
        data = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()
    table = b''
    if palette is not None:
        table = np.pad(palette[:, ::-1], ((0, 0), (0, 0 if core else 1))).tobytes()
    head = (
        struct.pack('<IHHHH', 12, width, height, 1, bits)
        if core
        else struct.pack(
            '<IiiHHIIiiII', 40, width, -height if top_down else height, 1, bits, rle, len(data), 0, 0,
            0 if palette is None else len(palette), 0,
        )
    )  # fmt: skip
    offset = 14 + len(head) + len(table)
    return b'BM' + struct.pack('<IHHI', offset + len(data), 0, 0, offset) + head + table + data


def _rle(row):
    out, start = b'', 0
    for i in range(1, len(row) + 1):
        if i == len(row) or row[i] != row[start] or i - start == 255:
            out += bytes([i - start, row[start]])
            start = i
    return out


def lzw(data):
    """TIFF's LZW: codes of 9 to 12 bits, the highest bit first, longer codes one step early."""
    table, prefix, bits = {bytes([i]): i for i in range(256)}, b'', '100000000'
    following, size = 258, 9
    for value in data:
        longer = prefix + bytes([value])
        if longer in table:
            prefix = longer
            continue
        bits += f'{table[prefix]:0{size}b}'
        table[longer] = following
        following += 1
        size += following >= 2**size
        if following == 4094:
            bits += f'{256:0{size}b}'
            table, following, size = {bytes([i]): i for i in range(256)}, 258, 9
        prefix = bytes([value])
    if prefix:
        bits += f'{table[prefix]:0{size}b}'
        following += 1
    size += following >= 2**size
    bits += f'{257:0{size}b}'
    bits += '0' * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, 'big')


def packbits(data):
    out = b''
    for i in range(0, len(data), 128):
        part = data[i : i + 128]
        out += bytes([257 - len(part), part[0]]) if len(set(part)) == 1 < len(part) else bytes([len(part) - 1]) + part
    return out


COMPRESSIONS = {1: bytes, 5: lzw, 8: zlib.compress, 32946: zlib.compress, 32773: packbits}


def tiff(
    pixels, order='<', compression=1, predictor=1, planar=False, tile=None, rows=7, bits=None, photometric=None,
    palette=None, big=False, first=False, tags=(), pages=1,
):  # fmt: skip
    """``first`` puts the directory before the pixels; ``tags`` are more of (tag, type, values)."""
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, channels = pixels.shape
    bits = bits or pixels.dtype.itemsize * 8
    # libtiff takes no notice of the predictor where there is no compression for it to help
    predicted = 1 if compression in (1, 32773) else predictor
    blocks = []
    for plane in np.split(pixels, channels, axis=2) if planar else [pixels]:
        for top in range(0, height, tile or rows):
            for left in range(0, width, tile or width):
                block = plane[top : top + (tile or rows), left : left + (tile or width)]
                if tile:
                    block = np.pad(block, ((0, tile - block.shape[0]), (0, tile - block.shape[1]), (0, 0)))
                blocks.append(COMPRESSIONS[compression](_predict(block, predicted, bits, order).tobytes()))
    if photometric is None:
        photometric = 3 if palette is not None else 2 if channels > 2 else 1
    extra = channels - (3 if photometric == 2 else 1)
    entries = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels), (259, 3, [compression]),
        (262, 3, [photometric]), (277, 3, [channels]), (284, 3, [1 + planar]), (317, 3, [predictor]),
        (339, 3, [{'u': 1, 'i': 2, 'f': 3}[pixels.dtype.kind]] * channels),
        *([(338, 3, [2] * extra)] if extra else []),
        *([(320, 3, palette.T.reshape(-1).astype(int) * 257)] if palette is not None else []),
        *([(322, 4, [tile]), (323, 4, [tile])] if tile else [(278, 4, [rows])]),
        *tags,
    ]  # fmt: skip
    places = (324, 325) if tile else (273, 279)
    wide = 16 if big else 4
    sizes = (places[1], wide, [len(block) for block in blocks])
    head = 16 if big else 8
    at = head + sum(len(block) + len(block) % 2 for block in blocks[:-1]) + len(blocks[-1])
    at += at % 2

    def offsets(start):
        steps = np.cumsum([0] + [len(block) + len(block) % 2 for block in blocks[:-1]])
        return places[0], wide, (start + steps).tolist()

    if first:
        length = len(_directory([*entries, sizes, offsets(0)], order, head, big))
        directory = _directory([*entries, sizes, offsets(head + length)], order, head, big)
        at = head
    else:
        directory = _directory([*entries, sizes, offsets(head)], order, at, big, pages)
    data = b''.join(block + b'\0' * (len(block) % 2) for block in blocks[:-1]) + blocks[-1]
    data = directory + data if first else data + b'\0' * ((head + len(data)) % 2) + directory
    start = struct.pack(order + 'HHHQ', 43, 8, 0, at) if big else struct.pack(order + 'HI', 42, at)
    return (b'II' if order == '<' else b'MM') + start + data


def _predict(block, predictor, bits, order):
    if predictor == 2:
        words = block.view(f'u{block.dtype.itemsize}')
        return _pack(np.diff(words, axis=1, prepend=words[:, :1] * 0), bits, order)
    if predictor == 3:
        size, channels = block.dtype.itemsize, block.shape[2]
        planes = _pack(block, bits, '>').reshape(len(block), -1, size).transpose(0, 2, 1).reshape(len(block), -1)
        return planes - np.pad(planes, ((0, 0), (channels, 0)))[:, :-channels]
    return _pack(block, bits, order)


def _directory(entries, order, at, big, pages=1):
    """A directory for the offset ``at``, with the values that do not fit an entry; then copies of it, linked."""
    count, offset, inline = ('Q', 'Q', 8) if big else ('H', 'I', 4)
    body, beyond = struct.pack(order + count, len(entries)), b''
    end = at + len(body) + len(entries) * (12 + 2 * (inline - 4)) + inline
    for tag, kind, values in sorted(entries, key=lambda entry: entry[0]):
        packed = struct.pack(f'{order}{len(values)}{ {1: "B", 2: "B", 3: "H", 4: "I", 16: "Q"}[kind] }', *values)
        if len(packed) > inline:
            packed, beyond = struct.pack(order + offset, end + len(beyond)), beyond + packed
            beyond += b'\0' * (len(beyond) % 2)
        body += struct.pack(order + 'HH' + offset, tag, kind, len(values)) + packed.ljust(inline, b'\0')
    following = end + len(beyond) if pages > 1 else 0
    more = _directory(entries, order, following, big, pages - 1) if pages > 1 else b''
    return body + struct.pack(order + offset, following) + beyond + more
