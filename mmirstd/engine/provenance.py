"""Whether a model is evaluated on images that it was trained on."""

from collections.abc import Iterable, Sequence
from os import path as osp
from typing import Any, NamedTuple

from mmirstd.checkpoints.provenance import SEPARATOR, Provenance, SplitRecord, split_record
from mmirstd.datasets.published_splits import published_datasets, published_splits
from mmirstd.datasets.wrapped import leaves
from mmirstd.utils.errors import UserError
from mmirstd.utils.text import did_you_mean

# Images that two sets share. All 427 of SIRST v1 are in SIRST v2 under their names, byte for byte, and no other image
# there is called so.
SHARED = {'SIRST-v2': ('NUAA-SIRST', 'Misc_')}
# Sets of which each image is made from one of another set, and it is not published from which.
DERIVED = {'SIRST-Aug': 'NUAA-SIRST'}


class OverlapError(UserError, ValueError):
    """A model was, or would be, trained on images that it is evaluated on."""


class Overlap(NamedTuple):
    """What an evaluated split has in common with one that was trained on."""

    evaluated: SplitRecord
    trained: SplitRecord
    count: int
    certain: bool = True  # False: at most ``count``, as the two sets are of the same images under other names

    def __str__(self) -> str:
        """One clause."""
        dataset, name = self.trained['dataset'], self.trained['name']
        evaluated = self.evaluated
        target = f'{evaluated["num"]} images of {evaluated["dataset"]} {evaluated["name"]}'
        if not self.certain:
            return f'up to {target} were trained on ({dataset} {name}): one set is made from the images of the other'
        same = dataset == evaluated['dataset']
        return f'{self.count} of {target} were trained on ({name if same else f"{dataset} {name}"})'


def identity(dataset: str, image_id: str) -> tuple[str, str]:
    """The dataset and id an image is known by, which is another where sets share images."""
    original, prefix = SHARED.get(dataset, (dataset, ''))
    return (original, image_id) if image_id.startswith(prefix) else (dataset, image_id)


def find_overlaps(evaluated: Iterable[SplitRecord], trained: Sequence[SplitRecord]) -> list[Overlap]:
    """Compare every evaluated split with every trained one."""
    seen = [(entry, {identity(entry['dataset'], i) for i in entry['ids']}) for entry in trained]
    overlaps = []
    for entry in evaluated:
        own = {identity(entry['dataset'], i) for i in entry['ids']}
        for other, images in seen:
            if common := len(own & images):
                overlaps.append(Overlap(entry, other, common))
            elif _made_from(entry['dataset'], images) or _made_from(other['dataset'], own):
                overlaps.append(Overlap(entry, other, entry['num'], certain=False))
    return overlaps


def _made_from(dataset: str, images: Iterable[tuple[str, str]]) -> bool:
    return dataset in DERIVED and any(owner == DERIVED[dataset] for owner, _ in images)


def is_allowed(overlap: Overlap, allow: Iterable[str]) -> bool:
    """Whether ``allow`` has the dataset that was trained on, or dataset and name of each split of it."""
    dataset, names = overlap.trained['dataset'], overlap.trained['name'].split(SEPARATOR)
    allow = {' '.join(name.split()) for name in allow}
    return dataset in allow or all(f'{dataset} {name}' in allow for name in names)


def check_overlaps(
    evaluated: Iterable[SplitRecord], trained: Sequence[SplitRecord], allow: Iterable[str], where: str
) -> list[Overlap]:
    """Return the overlaps, all of them allowed by name.

    Raises:
        OverlapError: If others are there; the message says how many of which split, and how to allow it. It starts with
            ``where`` the trained splits come from.
    """
    overlaps = find_overlaps(evaluated, trained)
    if refused := [o for o in overlaps if not is_allowed(o, allow)]:
        names = list(dict.fromkeys(o.trained['dataset'] for o in refused))
        finer = [f"'{o.trained['dataset']} {n}'" for o in refused for n in o.trained['name'].split(SEPARATOR)]
        raise OverlapError(
            f'{where}: {"; ".join(map(str, refused))}. Metrics on them would be false. If that is meant, allow it by '
            f'name: --allow-overlap {" ".join(names)}, or for these splits alone {" ".join(dict.fromkeys(finer))}; '
            f'in a config allow_overlap = {names}'
        )
    return overlaps


def allowed_names(value: object) -> list[str]:
    """Check ``allow_overlap`` of a config: a name or a list of names.

    Raises:
        TypeError: If it is something else.
    """
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else [value]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"allow_overlap must be a list of names such as ['NUAA-SIRST'], not {value!r}")
    return names


def unknown_names(names: Iterable[str], splits: Iterable[SplitRecord]) -> dict[str, str]:
    """Find what in ``allow_overlap`` names no dataset that is published or among ``splits``, or no split of one.

    Returns:
        By name, what may have been meant, to go at the end of a message.
    """
    there: dict[str, set[str]] = {name: set(published_splits(name)) for name in published_datasets()}
    for split in splits:
        there.setdefault(split['dataset'], set()).update(split['name'].split(SEPARATOR))
    full = [*there, *(f'{dataset} {name}' for dataset, known in there.items() for name in known)]
    names = [' '.join(name.split()) for name in names]
    return {name: did_you_mean(name, full, 1) for name in names if name not in full}


def provenance_of_dataset(dataset: Any) -> Provenance:
    """The images of a dataset, those inside wrappers each counted under its own; a kind without ids is unknown."""
    total = Provenance()
    for leaf in leaves(dataset):
        if (entry := _split_of(leaf)) is None:
            total += Provenance(unknown_splits=[type(leaf).__name__])
        else:
            total += Provenance([entry])
    return total


def _split_of(dataset: Any) -> SplitRecord | None:
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    root = getattr(dataset, 'data_root', None) or ''
    name = getattr(dataset, 'name', None) or (osp.basename(osp.abspath(root)) if root else type(dataset).__name__)
    ids = getattr(dataset, 'image_identities', None) or getattr(dataset, 'img_ids', None)
    if ids is None:
        if not hasattr(dataset, 'get_data_info'):
            return None
        infos = map(dataset.get_data_info, range(len(dataset)))
        ids = [info.get('img_id') or _relative(info.get('img_path'), root) for info in infos]
        if not all(isinstance(i, str) for i in ids):
            return None
    return split_record(name, getattr(dataset, 'split_name', None) or 'all', ids)


def _relative(path: str | None, root: str) -> str | None:
    """A path below the dataset's folder, without extension: the id of an image where a dataset gives none."""
    if path is None:
        return None
    inside = root and '://' not in path and not osp.relpath(path, root).startswith('..')
    return osp.splitext(osp.relpath(path, root) if inside else path)[0]
