"""Images of any size, read by bands of rows."""

import mmap
import os
import struct
from pathlib import Path

import numpy as np

from mmirstd.io.images import parse_header, read_image
from mmirstd.io.tiff import TiffImage


class ImageBands:
    """An image of which rows are read as they are asked for, where its format allows that.

    A TIFF file on this machine is read by its strips and tiles. Anything else is decoded once, whole.

    Args:
        source: A file, or an image (H, W) or (H, W, C) that is in memory.
        backend_args: mmengine's file backend.

    Attributes:
        shape: (H, W).
        dtype: Of the pixels, as :func:`mmirstd.io.images.decode_image` returns them.
        whole_reason: Why the whole image is in memory; None where it is not.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not a readable image, or incomplete; the message names it.
    """

    def __init__(self, source: str | Path | np.ndarray, backend_args: dict | None = None) -> None:
        self._image: np.ndarray | None = None
        self._name = 'the image' if isinstance(source, np.ndarray) else str(source)
        self._tiff, self.whole_reason = None, 'an array'
        if isinstance(source, np.ndarray):
            self._image = source
        else:
            self._tiff, self.whole_reason = _open_tiff(self._name)
        if self._tiff is not None:
            self.shape, self.dtype = (self._tiff.height, self._tiff.width), self._tiff.dtype
            return
        if self._image is None:
            self._image = read_image(self._name, backend_args)
        self.shape, self.dtype = self._image.shape[:2], self._image.dtype

    def rows(self, top: int, bottom: int) -> np.ndarray:
        """Return the rows from `top` to before `bottom`, (h, W) or (h, W, C), colors in BGR(A) order.

        Raises:
            ValueError: If they are damaged; the message names the file.
        """
        if self._image is not None:
            return self._image[top:bottom]
        try:
            rows = self._tiff.rows(top, bottom)
        except (ValueError, struct.error, IndexError) as error:
            raise ValueError(f'{self._name}: not a readable image ({error})') from error
        if rows.ndim == 3 and rows.shape[2] > 2:
            rows = np.ascontiguousarray(rows[..., [2, 1, 0, 3][: rows.shape[2]]])
        return rows


def _open_tiff(path: str) -> tuple[TiffImage | None, str | None]:
    """The file as a TIFF that can be read by rows; otherwise None, and why."""
    if not os.path.isfile(path) or not os.path.getsize(path):
        return None, 'not a file on this machine'
    with open(path, 'rb') as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if content[:4] not in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
        return None, 'no TIFF'
    try:
        parse_header(content)  # its limits hold here, too
        tiff = TiffImage(content)
        tiff.check_parts()
    except (ValueError, struct.error, IndexError, OverflowError) as error:
        raise ValueError(f'{path}: not a readable image ({error})') from error
    reason = tiff.whole_reason
    return (None, reason) if reason else (tiff, None)
