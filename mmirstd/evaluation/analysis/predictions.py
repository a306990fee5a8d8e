"""Predictions and masks as files, whichever code wrote them: their names, their values, and which belong together.

A prediction is read as probabilities (H, W):

- an image's values count as probabilities ``value / 255`` (``value / 65535`` for 16 bits), so that with the threshold
  0.5 exactly the values from 128 (32768) on are positive. Images that hold labels, 0 and 1, in place of values are
  told by the whole folder, see :func:`hold_labels`;
- ``.npy``, ``.npz`` and ``.mat`` (as RPCANet's tests write them) hold probabilities, or a mask: bool, or uint8 as an
  image would hold it.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from scipy.io import loadmat
from tqdm import tqdm

from mmirstd.datasets.published_splits import SPLITS_DIR, load_published
from mmirstd.io.files import replace_durably
from mmirstd.io.ids import expand_folders, read_ids
from mmirstd.io.images import IMAGE_EXTENSIONS, decode_image, read_header
from mmirstd.utils.text import abridge

ARRAY_EXTENSIONS = ('.npz', '.npy', '.mat')
# What codes put behind an id: NUAA-SIRST's masks, DNANet's pictures, and so on.
SUFFIX = re.compile(r'[_-](pixels0|pred|prediction|prob|mask|gt|label|seg|out|output|result)$', re.I)
# Where an array file holds several: RPCANet's, mmirstd's and other usual names.
_KEYS = ('probability', 'T', 'prob', 'pred', 'prediction', 'mask', 'arr_0')


class Pair(NamedTuple):
    """The files of one id; without a prediction (it is missing) or an image, None. Shapes are (height, width)."""

    img_id: str
    prediction: Path | None
    mask: Path
    image: Path | None = None
    prediction_shape: tuple[int, int] | None = None
    mask_shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class Pairing:
    """Pairs in the order of the list, and what does not fit.

    `missing` are ids without a prediction, `extra` names of predictions that are of no mask, or of none in the list,
    `unlisted` the number of predictions that have a mask outside the list. `sizes` maps the ids whose prediction is not
    of the size of its mask to a description.
    """

    pairs: list[Pair]
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    unlisted: int = 0
    sizes: dict[str, str] = field(default_factory=dict)


def file_id(stem: str, suffix: str | None = None) -> str | None:
    """Return the id in a file name without extension; None if it does not end in the given suffix.

    Without one, what :data:`SUFFIX` knows is cut off: ``Misc_1_pixels0`` and ``Misc_1_Pred`` are ``Misc_1``.
    """
    if suffix is None:
        match = SUFFIX.search(stem)
        return stem[: match.start()] if match and match.start() else stem
    return stem[: len(stem) - len(suffix)] if stem.endswith(suffix) and len(stem) > len(suffix) else None


def index_folder(
    folder: Path, extensions: Sequence[str], *, suffix: str | None = None, nested: bool = False, option: str = 'suffix'
) -> dict[str, Path]:
    """Map the ids of the files in a folder, sorted, to their paths; with ``nested``, folders below belong to the ids.

    Raises:
        FileNotFoundError: If there is no such folder, or no such file in it.
        ValueError: If two files belong to one id; the message names `option`, with which they can be told apart.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f'there is no folder {folder}')
    found = sorted(folder.rglob('*') if nested else folder.iterdir())
    files = [p for p in found if p.suffix.lower() in extensions and not p.name.startswith('.') and p.is_file()]
    index: dict[str, Path] = {}
    for path in files:
        name = path.relative_to(folder).with_suffix('').as_posix()
        img_id = file_id(name, suffix)
        if img_id is None:
            continue
        if img_id in index:
            raise ValueError(
                f'{folder}: {index[img_id].name} and {path.name} both belong to id {img_id!r}; tell them apart '
                f'with {option}'
            )
        index[img_id] = path
    if not index:
        kinds = ', '.join(extensions)
        below = '' if nested or not any(p.is_dir() for p in found) else '; folders below are searched with --nested'
        ending = f' whose names end in {suffix!r}' if suffix else ''
        raise FileNotFoundError(f'{folder} holds no files ({kinds}){ending}{below}')
    return index


def load_split(split: str) -> tuple[str, list[str]]:
    """Return name and ids of a list: a text file, or a published one such as ``'NUAA-SIRST basicirstd/test'``.

    Raises:
        FileNotFoundError: If it is neither.
        ValueError: If the dataset is known and the list is not.
    """
    if Path(split).is_file():
        return Path(split).name, read_ids(split)
    dataset, _, name = split.partition(' ')
    if name and (SPLITS_DIR / dataset).is_dir():
        name, ids = load_published(dataset, name)
        return f'{dataset} {name}', ids
    known = ', '.join(sorted(p.name for p in SPLITS_DIR.iterdir() if p.is_dir()))
    raise FileNotFoundError(
        f"there is no split list {split}: give a text file, or the name of a published one such as 'NUAA-SIRST "
        f"basicirstd/test' (of {known})"
    )


def pair_files(
    pred_dir: Path,
    mask_dir: Path,
    *,
    img_dir: Path | None = None,
    ids: Sequence[str] | None = None,
    pred_suffix: str | None = None,
    mask_suffix: str | None = None,
    img_suffix: str | None = None,
    nested: bool = False,
    key: str | None = None,
    progress: bool = False,
) -> Pairing:
    """Find the prediction of every mask, or of every id of a list, and compare their sizes.

    Args:
        pred_dir: Folder of the predictions.
        mask_dir: Folder of the masks; the same one is possible where suffixes are given.
        img_dir: Folder of the images, where they are wanted.
        ids: The list to evaluate, in its order, an entry ``41/`` standing for all ids that begin so; None: all masks.
        pred_suffix: What follows the id in the names of predictions, extension left out; None: see :func:`file_id`.
        mask_suffix: Likewise of masks.
        img_suffix: Likewise of images.
        nested: Also read folders below.
        key: Name of the array in ``.npz`` and ``.mat`` files.
        progress: Show a progress bar on stderr.

    Raises:
        FileNotFoundError: If a folder is missing or holds nothing, or an id of the list has no mask, or no image.
        ValueError: If two files belong to one id, or a file cannot be read.
    """
    if pred_dir.resolve() == mask_dir.resolve() and (pred_suffix is None or pred_suffix == mask_suffix):
        raise ValueError(f'{pred_dir} is the folder of the masks, too: give --pred-suffix and --mask-suffix')
    predictions = index_folder(
        pred_dir, ARRAY_EXTENSIONS + IMAGE_EXTENSIONS, suffix=pred_suffix, nested=nested, option='--pred-suffix'
    )
    masks = index_folder(mask_dir, IMAGE_EXTENSIONS, suffix=mask_suffix, nested=nested, option='--mask-suffix')
    if ids is None:
        ids = list(masks)
    else:
        ids = [i if i in masks else file_id(i) for i in expand_folders(ids, masks, 'the list')]
        _refuse_missing(ids, masks, 'mask', mask_dir)
    images: dict[str, Path] = {}
    if img_dir is not None:
        images = index_folder(img_dir, IMAGE_EXTENSIONS, suffix=img_suffix, nested=nested, option='--img-suffix')
        _refuse_missing(ids, images, 'image', img_dir)
    missing = [i for i in ids if i not in predictions]
    extra = [str(path.name) for i, path in predictions.items() if i not in masks]
    listed = set(ids)
    unlisted = sum(i in masks and i not in listed for i in predictions)

    def measure(img_id: str) -> Pair:
        path = predictions.get(img_id)
        header = read_header(str(masks[img_id]))
        shape = None if path is None else prediction_shape(path, key)
        return Pair(img_id, path, masks[img_id], images.get(img_id), shape, (header.height, header.width))

    pairs = _map(measure, ids, 'sizes', progress)
    sizes = {
        p.img_id: f'{p.prediction.name} is {_size(p.prediction_shape)}, {p.mask.name} is {_size(p.mask_shape)}'
        for p in pairs
        if p.prediction is not None and p.prediction_shape != p.mask_shape
    }
    return Pairing(pairs, missing, extra, unlisted, sizes)


def hold_labels(paths: Iterable[Path]) -> bool:
    """Whether images hold labels: none has a value but 0 and 1, and at least one has a 1.

    Reads until it meets another value, which is in the first image with a prediction. The whole folder decides,
    because a map that is nearly 0 may hold 1 as its highest value, and is no mask for that.
    """
    any_ones = False
    for path in paths:
        if path.suffix.lower() not in IMAGE_EXTENSIONS:
            continue
        highest = _one_channel(decode_image(path.read_bytes(), str(path)), str(path)).max()
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
        values = _one_channel(decode_image(path.read_bytes(), str(path)), str(path))
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
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f'{source}: {np.count_nonzero(~np.isfinite(values))} values are not finite')
    if low < 0 or high > 1:
        raise ValueError(f'{source}: probabilities must lie in [0, 1], got [{low:g}, {high:g}]; are these logits?')
    return values if values.dtype == np.float64 else values.astype(np.float32)


def to_uint8(probabilities: np.ndarray) -> np.ndarray:
    """Round ``255 * p``, but so that a value is at least 128 exactly where p > 0.5."""
    values = np.rint(np.float64(255) * probabilities).astype(np.uint8)
    return np.where(probabilities > 0.5, np.maximum(values, 128), np.minimum(values, 127)).astype(np.uint8)


def to_half(probabilities: np.ndarray) -> np.ndarray:
    """Round to float16, but so that a value is above 0.5 exactly where p > 0.5."""
    half = probabilities.astype(np.float16)
    above = np.nextafter(np.float16(0.5), np.float16(1))
    return np.where(probabilities > 0.5, np.maximum(half, above), np.minimum(half, np.float16(0.5)))


def write_prediction(path: Path, probabilities: np.ndarray, dtype: Literal['float16', 'float32'] = 'float32') -> None:
    """Write probabilities (H, W) as ``.png``, rounded as :func:`to_uint8` does, or as ``.npz`` (key 'probability').

    The file is there whole or not at all.
    """
    if path.suffix == '.png':
        content = cv2.imencode('.png', to_uint8(probabilities))[1].tobytes()
    else:
        buffer = BytesIO()
        rounded = to_half(probabilities) if dtype == 'float16' else probabilities.astype(np.float32)
        np.savez_compressed(buffer, probability=rounded)
        content = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes of a job can meet at an image with which the sampler filled up its last batch.
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        temporary.write_bytes(content)
        replace_durably(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _read_array(path: Path, key: str | None) -> np.ndarray:
    extension = path.suffix.lower()
    if extension == '.npy':
        values = np.load(path, allow_pickle=False)
    elif extension == '.npz':
        with np.load(path, allow_pickle=False) as file:
            values = file[_choose(file.files, key)]
    else:
        content = {k: v for k, v in loadmat(path).items() if not k.startswith('__')}
        values = content[_choose(list(content), key)]
    squeezed = values.squeeze(tuple(i for i, n in enumerate(values.shape) if n == 1 and values.ndim > 2))
    if squeezed.ndim != 2 or not squeezed.size:
        raise ValueError(f'one map (H, W) is needed, got an array of shape {values.shape}')
    return squeezed


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
    """The grey values of an image; alpha is dropped."""
    if values.ndim == 2:
        return values
    if values.shape[2] > 2 and not (values[..., :3] == values[..., :1]).all():
        raise ValueError(f'{source}: a picture in colours, no map of probabilities')
    return np.ascontiguousarray(values[..., 0])


def _refuse_missing(ids: Sequence[str], index: dict[str, Path], kind: str, folder: Path) -> None:
    if missing := [i for i in ids if i not in index]:
        raise FileNotFoundError(f'{len(missing)} of {len(ids)} ids have no {kind} in {folder}: {abridge(missing)}')


def _map(function: Callable[[str], Any], ids: Sequence[str], what: str, progress: bool) -> list:
    """Map in threads, since files are waited for."""
    with ThreadPoolExecutor(8) as pool:
        return list(tqdm(pool.map(function, ids), what, len(ids), delay=1, disable=not progress, leave=False))


def _size(shape: tuple[int, int]) -> str:
    return f'{shape[1]}x{shape[0]}'
