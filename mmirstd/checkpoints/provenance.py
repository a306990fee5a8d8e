"""What a checkpoint says of the images that its model was trained on.

An image is known by the canonical name of its dataset and its id there. In the ``meta`` of a checkpoint are
``trained_on``, one ``dict(dataset, name, num, sha256, ids)`` for each dataset, ``unknown_splits``, the checkpoints it
started from that do not say, and ``allowed_overlaps``, what was asked for by name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import path as osp
from typing import Any

from mmirstd.io.ids import digest

SplitRecord = dict[str, Any]  # dict(dataset, name, num, sha256, ids)

SEPARATOR = ' + '  # between the names of splits that were joined


def split_record(dataset: str, name: str, ids: Iterable[str]) -> SplitRecord:
    """The record of one split; ``sha256`` is that of the sorted ids, as in ``split_info``."""
    ids = list(dict.fromkeys(ids))
    return {'dataset': dataset, 'name': name, 'num': len(ids), 'sha256': digest(ids), 'ids': ids}


def merge(splits: Iterable[SplitRecord]) -> list[SplitRecord]:
    """Join splits to one for each dataset, no id twice."""
    merged: dict[str, tuple[dict, dict]] = {}
    for entry in splits:
        names, ids = merged.setdefault(entry['dataset'], ({}, {}))
        names.update(dict.fromkeys(entry['name'].split(SEPARATOR)))
        ids.update(dict.fromkeys(entry['ids']))
    return [split_record(dataset, SEPARATOR.join(names), ids) for dataset, (names, ids) in merged.items()]


@dataclass
class Provenance:
    """What is known of the training of a model."""

    trained_on: list[SplitRecord] = field(default_factory=list)
    unknown_splits: list[str] = field(default_factory=list)
    allowed_overlaps: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, meta: object, source: str) -> 'Provenance':
        """Read it from the ``meta`` of a checkpoint; one without it, or with something else there, is unknown."""
        meta = meta if isinstance(meta, Mapping) else {}
        name = osp.basename(source)
        splits = meta.get('trained_on')
        if not isinstance(splits, (list, tuple)) or not all(map(_is_record, splits)):
            return cls(unknown_splits=[name])
        texts = (meta.get(key) or [] for key in ('unknown_splits', 'allowed_overlaps'))
        return cls(merge(splits), *([str(text) for text in part] for part in texts))

    def __add__(self, other: 'Provenance') -> 'Provenance':
        """Of a model that comes from both."""
        return Provenance(
            merge([*self.trained_on, *other.trained_on]),
            list(dict.fromkeys(self.unknown_splits + other.unknown_splits)),
            list(dict.fromkeys(self.allowed_overlaps + other.allowed_overlaps)),
        )

    def as_meta(self) -> dict[str, list]:
        """Entries for the ``meta`` of a checkpoint: plain data; what is empty is left out, but for ``trained_on``."""
        entries = {'unknown_splits': self.unknown_splits, 'allowed_overlaps': self.allowed_overlaps}
        return {'trained_on': self.trained_on} | {key: value for key, value in entries.items() if value}


def _is_record(entry: object) -> bool:
    if not isinstance(entry, Mapping) or not all(isinstance(entry.get(key), str) for key in ('dataset', 'name')):
        return False
    ids = entry.get('ids')
    return isinstance(ids, (list, tuple)) and all(isinstance(i, str) for i in ids)
