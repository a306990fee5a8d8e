"""Whether a checkpoint file is whole, and whether what it declares has room in it, before memory is taken."""

import mmap
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer, print_log
from torch import Tensor

from mmirstd.checkpoints.state_dict import CheckpointError

# `bytearray(N)` in a pickle takes N bytes, whatever the size of the file; torch's own unpickler allows it.
_ALLOCATORS = (b'cbuiltins\nbytearray\n', b'c__builtin__\nbytearray\n')
_ZIP_START = b'PK\x03\x04'
_BLOCK = 1 << 20


def check_file(path: str | Path) -> None:
    """See that a file of ``torch.save`` is as it was written.

    Of the zip format, every record's checksum is verified; records must be stored as they are and fit into the file.
    The format before torch 1.6 has no checksums.

    Raises:
        CheckpointError: If the file is damaged, or would take more memory than its size.
    """
    size = os.path.getsize(path)
    if not size:
        raise CheckpointError(f'{path} (0 bytes) is no checkpoint, or cut off')
    with open(path, 'rb') as file:
        zipped = file.read(4) == _ZIP_START
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if any(content.find(name) >= 0 for name in _ALLOCATORS):
                raise CheckpointError(f'{path} is refused: it holds a bytearray, which may take any amount of memory')
    if not zipped:
        return
    try:
        with zipfile.ZipFile(path) as archive:
            _check_records(archive, size, path)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError, ValueError, NotImplementedError) as e:
        raise CheckpointError(f'{path} ({size} bytes) is damaged: {e}') from e


def _check_records(archive: zipfile.ZipFile, size: int, path: str | Path) -> None:
    records = archive.infolist()
    if packed := next((r for r in records if r.compress_type != zipfile.ZIP_STORED or r.flag_bits & 1), None):
        raise CheckpointError(
            f'{path} is refused: its record {packed.filename} is compressed, {packed.file_size} bytes in '
            f'{packed.compress_size}; torch.save compresses nothing'
        )
    if (declared := sum(r.file_size for r in records)) > size:
        raise CheckpointError(f'{path} is refused: its records declare {declared} bytes, the file has {size}')
    if len(records) > 1 and not any(r.CRC for r in records if r.file_size):
        print_log(f'{path} was written without checksums: damage cannot be found', 'current', level=30)
        return
    for record in records:
        with archive.open(record) as stream:  # by record: of two with one name both are read
            while stream.read(_BLOCK):
                pass


def check_content(content: Any, size: int, path: str | Path) -> None:
    """See that no tensor or array is larger than the file it comes from, as an expanded or an unfilled one can be.

    Raises:
        CheckpointError: Naming shape and size.
    """
    for value in _walk(content):
        if isinstance(value, Tensor):
            shape, declared = tuple(value.shape), value.numel() * value.element_size()
        else:
            shape, declared = value.shape, value.nbytes
        if declared > size:
            raise CheckpointError(
                f'{path} is refused: it declares {"x".join(map(str, shape))} {value.dtype}, {declared} bytes, the file '
                f'has {size}'
            )


def _walk(content: Any) -> Iterator[Tensor | np.ndarray]:
    """Tensors and arrays in plain data, each object once; without recursion, which nested lists would exhaust."""
    stack, seen = [content], set()
    while stack:
        value = stack.pop()
        if isinstance(value, (Tensor, np.ndarray)):
            yield value
            continue
        if not isinstance(value, (Mapping, list, tuple, set, HistoryBuffer)) or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, HistoryBuffer):
            stack += vars(value).values()
        else:
            stack += value.values() if isinstance(value, Mapping) else value
