"""Which prediction, mask and image files belong together, by their names, whichever code wrote them."""

import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mmirstd.evaluation.analysis.predictions import ARRAY_EXTENSIONS, prediction_shape
from mmirstd.io.ids import resolve_entries
from mmirstd.io.images import IMAGE_EXTENSIONS, read_header
from mmirstd.utils.errors import UserError
from mmirstd.utils.progress import progress_bar
from mmirstd.utils.text import abridge

# What codes put behind an id: NUAA-SIRST's masks, DNANet's pictures, and so on.
SUFFIX = re.compile(r'[_-](pixels0|pred|prediction|prob|mask|gt|label|seg|out|output|result)$', re.I)

_LISTED = 20


class PairingError(UserError, ValueError):
    """Predictions, masks and images that do not belong together."""


class FilePair(NamedTuple):
    """The files of one id; without a prediction (it is missing) or an image, None. Shapes are (height, width)."""

    img_id: str
    prediction: Path | None
    mask: Path
    image: Path | None = None
    prediction_shape: tuple[int, int] | None = None
    mask_shape: tuple[int, int] | None = None


@dataclass(frozen=True)
class Pairing:
    """Pairs in the order of the split, and what does not fit.

    `missing` are ids without a prediction, `extra` names of predictions without a mask, `unlisted` the number of
    predictions whose mask is outside the split. `sizes` maps the ids whose prediction is not of the size of its mask to
    a description.
    """

    pairs: list[FilePair]
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
        PairingError: If two files belong to one id; the message names `option`, with which they can be told apart.
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
            raise PairingError(
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
) -> Pairing:
    """Find the prediction of every mask, or of every id of a split, and compare their sizes.

    Args:
        pred_dir: Folder of the predictions.
        mask_dir: Folder of the masks; the same one is possible where suffixes are given.
        img_dir: Folder of the images, where they are wanted.
        ids: The split to evaluate, in its order, an entry ``41/`` standing for all ids that begin so; None: all masks.
        pred_suffix: What follows the id in the names of predictions, extension left out; None: see :func:`file_id`.
        mask_suffix: Likewise of masks.
        img_suffix: Likewise of images.
        nested: Also read folders below.
        key: Name of the array in ``.npz`` and ``.mat`` files.

    Raises:
        FileNotFoundError: If a folder is missing or holds nothing, or an id of the split has no mask, or no image.
        PairingError: If two files belong to one id, or a file cannot be read.
    """
    if pred_dir.resolve() == mask_dir.resolve() and (pred_suffix is None or pred_suffix == mask_suffix):
        raise PairingError(f'{pred_dir} is the folder of the masks, too: give --pred-suffix and --mask-suffix')
    predictions = index_folder(
        pred_dir, ARRAY_EXTENSIONS + IMAGE_EXTENSIONS, suffix=pred_suffix, nested=nested, option='--pred-suffix'
    )
    masks = index_folder(mask_dir, IMAGE_EXTENSIONS, suffix=mask_suffix, nested=nested, option='--mask-suffix')
    if ids is None:
        ids = list(masks)
    else:
        ids = [i if i in masks else file_id(i) for i in resolve_entries(ids, masks, 'the split')]
        _refuse_missing(ids, masks, 'mask', mask_dir)
    images: dict[str, Path] = {}
    if img_dir is not None:
        images = index_folder(img_dir, IMAGE_EXTENSIONS, suffix=img_suffix, nested=nested, option='--img-suffix')
        _refuse_missing(ids, images, 'image', img_dir)
    missing = [i for i in ids if i not in predictions]
    extra = [str(path.name) for i, path in predictions.items() if i not in masks]
    listed = set(ids)
    unlisted = sum(i in masks and i not in listed for i in predictions)

    def measure(img_id: str) -> FilePair:
        path = predictions.get(img_id)
        header = read_header(str(masks[img_id]))
        shape = None if path is None else prediction_shape(path, key)
        return FilePair(img_id, path, masks[img_id], images.get(img_id), shape, (header.height, header.width))

    with ThreadPoolExecutor(8) as pool:  # files are waited for
        pairs = list(progress_bar(pool.map(measure, ids), 'sizes', len(ids), delay=1))
    sizes = {
        p.img_id: f'{p.prediction.name} is {_size(p.prediction_shape)}, {p.mask.name} is {_size(p.mask_shape)}'
        for p in pairs
        if p.prediction is not None and p.prediction_shape != p.mask_shape
    }
    return Pairing(pairs, missing, extra, unlisted, sizes)


def refuse_misfits(pairing: Pairing, *, missing: bool = False, extra: bool = False, sizes: bool = False) -> None:
    """See that predictions and masks fit, but for what is allowed: of that, stderr has the names.

    Raises:
        PairingError: Naming what is missing, extra or of another size, and what allows it.
    """
    other = [f'{img_id}: {text}' for img_id, text in pairing.sizes.items()]
    kinds = [
        ('without a prediction', pairing.missing, missing,
         '--split says what to evaluate, --allow-missing leaves them out, --missing-as-empty scores empty maps'),
        ('predictions without a mask', pairing.extra, extra, '--allow-extra leaves them out'),
        ('of another size than the mask', other, sizes, '--allow-sizes lets presets do as their codes do'),
    ]  # fmt: skip
    problems = []
    for what, items, allowed, advice in kinds:
        text = f'{len(items)} {what}: {abridge(items, _LISTED)}'
        if items and allowed:
            print(text, file=sys.stderr)
        elif items:
            problems.append(f'{text} ({advice})')
    if problems:
        raise PairingError(f'predictions and masks do not fit: {"; ".join(problems)}')


def _refuse_missing(ids: Sequence[str], index: dict[str, Path], kind: str, folder: Path) -> None:
    if missing := [i for i in ids if i not in index]:
        raise FileNotFoundError(f'{len(missing)} of {len(ids)} ids have no {kind} in {folder}: {abridge(missing)}')


def _size(shape: tuple[int, int]) -> str:
    return f'{shape[1]}x{shape[0]}'
