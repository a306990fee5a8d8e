"""Predictions as files, whichever code wrote them.

A prediction is read as probabilities (H, W):

- an image's values count as probabilities ``value / 255`` (``value / 65535`` for 16 bits), so that with the threshold
  0.5 exactly the values from 128 (32768) on are positive. Images that hold labels, 0 and 1, in place of values are
  told by the whole folder, see :func:`hold_labels`;
- ``.npy``, ``.npz`` and ``.mat`` (as RPCANet's tests write them) hold probabilities, or a mask: bool, or uint8 as an
  image would hold it.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from scipy.io import loadmat, whosmat

from mmirstd.io.files import encode_png, write_atomically
from mmirstd.io.images import IMAGE_EXTENSIONS, read_header, read_image, refuse_expansion
from mmirstd.ops.pairs import check_probabilities

_MAT_BYTES = {'single': 4, 'double': 8, 'logical': 1}
ARRAY_EXTENSIONS = ('.npz', '.npy', '.mat')
# Where an array file holds several: RPCANet's, mmirstd's and other usual names.
_KEYS = ('probability', 'T', 'prob', 'pred', 'prediction', 'mask', 'arr_0')


def hold_labels(paths: Iterable[Path]) -> bool:
    """Whether images hold labels: none has a value but 0 and 1, and at least one has a 1.

    Reads until it meets another value, which is in the first image with a prediction. The whole folder decides,
    because a map that is nearly 0 may hold 1 as its highest value, and is no mask for that.
    """
    any_ones = False
    for path in paths:
        if path.suffix.lower() not in IMAGE_EXTENSIONS:
            continue
        highest = _one_channel(read_image(path), str(path)).max()
        if highest > 1:
            return False
        any_ones |= highest == 1
    return any_ones


def read_prediction(path: Path, *, labels: bool = False, key: str | None = None) -> np.ndarray:
    """Read probabilities (H, W), float32 (float64 where a file holds that).

    Args:
        path: A file of any kind named in the module.
        labels: The values of an image are 0 and 1, not 0 to 255.
        key: Name of the array in ``.npz`` and ``.mat`` files; needed where there are several and none has a usual name.

    Raises:
        ValueError: If the file cannot be read, or holds no probabilities; the message names it.
    """
    if path.suffix.lower() not in ARRAY_EXTENSIONS:
        values = _one_channel(read_image(path), str(path))
        return to_probabilities(values * np.uint8(255) if labels and values.max() <= 1 else values, str(path))
    values = _guarded(_read_array, path, key)
    if values.dtype == np.uint8 and values.max() <= 1:  # 0 and 1: a mask
        values = values.astype(bool)
    return to_probabilities(values, str(path))


def prediction_shape(path: Path, key: str | None = None) -> tuple[int, int]:
    """Height and width of a prediction, from its header where that is possible."""
    if path.suffix.lower() in ARRAY_EXTENSIONS:
        return _guarded(_read_array, path, key).shape
    header = read_header(str(path))
    return header.height, header.width


def to_probabilities(values: np.ndarray, source: str) -> np.ndarray:
    """Turn uint8, uint16, bool or floating values (H, W) into probabilities, as the module says.

    Raises:
        ValueError: If floating values are not finite or not in [0, 1], or the type is another one.
    """
    if values.dtype == bool:
        return values.astype(np.float32)
    if values.dtype in (np.uint8, np.uint16):
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    if values.dtype.kind != 'f':
        raise ValueError(f'{source}: probabilities, uint8, uint16 or bool are needed, not {values.dtype}')
    check_probabilities(values, source)
    return values if values.dtype == np.float64 else values.astype(np.float32, copy=False)


def to_uint8(probabilities: np.ndarray) -> np.ndarray:
    """Round ``255 * p``, but so that a value is at least 128 exactly where p > 0.5."""
    rounded = np.empty(probabilities.shape, np.uint8)
    for rows, part in zip(
        np.array_split(rounded, 64), np.array_split(probabilities, 64), strict=True
    ):  # float64 is large
        values = np.rint(np.float64(255) * part)
        rows[...] = np.where(part > 0.5, np.maximum(values, 128), np.minimum(values, 127))
    return rounded


def to_half(probabilities: np.ndarray) -> np.ndarray:
    """Round to float16, but so that a value is above 0.5 exactly where p > 0.5."""
    half = probabilities.astype(np.float16)
    above = np.nextafter(np.float16(0.5), np.float16(1))
    return np.where(probabilities > 0.5, np.maximum(half, above), np.minimum(half, np.float16(0.5)))


def write_prediction(path: Path, probabilities: np.ndarray, dtype: Literal['float16', 'float32'] = 'float32') -> None:
    """Write probabilities (H, W) as ``.png``, rounded as :func:`to_uint8` does, or as ``.npz`` (key 'probability').

    The file is there whole or not at all.

    Raises:
        ValueError: If the values are no probabilities, or the name has another extension; the message names the file.
    """
    probabilities = to_probabilities(probabilities, str(path))
    if path.suffix == '.png':
        content = encode_png(to_uint8(probabilities))
    elif path.suffix != '.npz':
        raise ValueError(f'{path}: probabilities are written as .png or .npz')
    else:
        buffer = BytesIO()
        rounded = to_half(probabilities) if dtype == 'float16' else probabilities.astype(np.float32)
        np.savez_compressed(buffer, probability=rounded)
        content = buffer.getvalue()
    # Two processes of a job can meet at an image with which the sampler filled up its last batch.
    write_atomically(path, content)


def _read_array(path: Path, key: str | None) -> np.ndarray:
    extension = path.suffix.lower()
    if extension == '.npy':
        with open(path, 'rb') as file:
            _refuse_large_array(file, path)
        values = np.load(path, allow_pickle=False)
    elif extension == '.npz':
        with np.load(path, allow_pickle=False) as file:
            name = _choose(file.files, key)
            with file.zip.open(name if name in file.zip.namelist() else f'{name}.npy') as member:
                _refuse_large_array(member, path)
            values = file[name]
    else:
        arrays = {name: (shape, kind) for name, shape, kind in whosmat(path)}
        name = _choose(list(arrays), key)
        shape, kind = arrays[name]
        # Names of whole numbers end in their bits.
        itemsize = _MAT_BYTES.get(kind) or int(re.search(r'\d*$', kind)[0] or 64) // 8
        refuse_expansion(math.prod(shape) * itemsize, path.stat().st_size, f'{"x".join(map(str, shape))} {kind}')
        values = loadmat(path, variable_names=[name])[name]
    squeezed = values.squeeze(tuple(i for i, n in enumerate(values.shape) if n == 1 and values.ndim > 2))
    if squeezed.ndim != 2 or not squeezed.size:
        raise ValueError(f'one map (H, W) is needed, got an array of shape {values.shape}')
    return squeezed


def _refuse_large_array(file: BinaryIO, path: Path) -> None:
    """Refuse by its header an array that takes far more memory than its file, see :func:`refuse_expansion`."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    refuse_expansion(math.prod(shape) * dtype.itemsize, path.stat().st_size, f'{"x".join(map(str, shape))} {dtype}')


def _choose(names: Sequence[str], key: str | None) -> str:
    if key is None and len(names) == 1:
        return names[0]
    usual = [name for name in _KEYS if name in names] if key is None else [key]
    if not usual or usual[0] not in names:
        raise ValueError(f'holds {", ".join(names) or "nothing"}; ' + (f'no {key}' if key else 'say which with --key'))
    return usual[0]


def _guarded(read: Callable[[Path, str | None], np.ndarray], path: Path, key: str | None) -> np.ndarray:
    """Read, with the file's name in whatever error there is: NumPy and SciPy raise almost anything."""
    try:
        return read(path, key)
    except Exception as e:
        raise ValueError(f'{path}: {e}') from e


def _one_channel(values: np.ndarray, source: str) -> np.ndarray:
    """The gray values of an image; alpha is dropped."""
    if values.ndim == 2:
        return values
    if values.shape[2] > 2 and not (values[..., :3] == values[..., :1]).all():
        raise ValueError(f'{source}: a picture in colors, no map of probabilities')
    return np.ascontiguousarray(values[..., 0])
