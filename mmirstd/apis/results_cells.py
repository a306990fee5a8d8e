"""What the tables of the results pages are made from, and how their cells read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmirstd.apis.run_records import protocol_metrics
from mmirstd.io.tables import markdown_rows
from mmirstd.utils.errors import UserError
from mmirstd.utils.metafiles import DATASET_NAMES, Collection, collections
from mmirstd.visualization.training_curves import TrainingCurve

DATASETS = tuple(DATASET_NAMES.values())
Record = Mapping[str, Any]


class TableError(UserError, ValueError):
    """A table that the records do not give."""


@dataclass(frozen=True)
class Results:
    """What the tables are made from.

    Attributes:
        records: Of the runs.
        benchmark: What ``mmirstd benchmark`` wrote as JSON; None: nothing was timed.
        costs: What ``mmirstd flops --json`` printed, for models that were neither timed nor run.
        collections: The methods by name, from the metafiles.
        ablations: What ``mmirstd ablate`` wrote as JSON, by name.
        curves: Of the trainings that packaged weights come from, by config, from their logs.
    """

    records: Sequence[Record]
    benchmark: Mapping[str, Any] | None = None
    costs: Sequence[Mapping[str, Any]] = ()
    collections: Mapping[str, Collection] = field(default_factory=collections)
    ablations: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    curves: Mapping[str, TrainingCurve] = field(default_factory=dict)

    def of_kind(self, *kinds: str) -> list[Record]:
        """The records of sets with targets whose weights come from there, by weights and dataset."""
        found = [r for r in self.records if r['weights']['kind'] in kinds and num_targets(r)]
        return sorted(found, key=lambda r: (weights_name(r).lower(), DATASETS.index(r['dataset'])
                      if r['dataset'] in DATASETS else len(DATASETS)))  # fmt: skip

    def record(self, name: str) -> Record:
        """The record of that name.

        Raises:
            TableError: If there is none.
        """
        for record in self.records:
            if record['name'] == name:
                return record
        raise TableError(f'there is no record {name}')


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as Markdown, or a line that says that there is none."""
    return markdown_rows(rows) if rows else '*No run of this kind has a record yet.*'


def weights_name(record: Record) -> str:
    """How tables call the weights of a record: the weights that a training started from are left out."""
    kind, name = record['weights']['kind'], record['weights']['name'] or record['model']
    if kind == 'trained':
        name, notes = record['config'], [record['budget']]
    else:
        notes = [record['model']] if kind == 'given' else []
    words = (record.get('variant') or '').split(', ')
    notes += [word for word in words if word and not word.startswith('load_from=')]
    return f'{name} ({", ".join(notes)})' if notes else name


def weights_key(record: Record) -> tuple[str, str | None]:
    """What tells weights apart: their name, and the hash of the file."""
    return weights_name(record), record['weights']['sha256']


def num_targets(record: Record) -> int:
    """Targets in the images that were tested."""
    return record['curves']['counts'].get('targets', 0)


def trained_on(record: Record) -> str:
    """Names of the datasets that the weights were trained on."""
    names = list(dict.fromkeys(split['dataset'] for split in record['weights']['trained_on']))
    return ' + '.join(names) or ('-' if record['weights']['kind'] == 'none' else 'unknown')


def with_interval(record: Record, metric: str) -> str:
    """A metric under ``exact`` with its 95 % interval, where the record has one."""
    value = fraction(protocol_metrics(record)[metric])
    bounds = next(e for e in record['protocols'] if e['name'] == 'exact')['intervals'].get(metric)
    return f'{value} [{bounds[0]:.3f}, {bounds[1]:.3f}]' if bounds else value


def fraction(value: float | None) -> str:
    """With four digits."""
    return '-' if value is None else f'{value:.4f}'


def fa(value: float | None) -> str:
    """With four significant digits."""
    return '-' if value is None else f'{value:.4g}'


def percent(record: Record | None) -> str:
    """IoU under ``exact``."""
    value = None if record is None else protocol_metrics(record)['IoU']
    return '-' if value is None else f'{100 * value:.2f}'
