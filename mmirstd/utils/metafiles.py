"""What the ``metafile.yml`` of each family of configs says of sources, published results and published weights.

Beside the keys that OpenMMLab knows, a collection may have ``License`` (of its source) and ``Quoted``: published
results in percent, each with the dataset and with who measured it. ``PublishedWeights`` lists files of others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmirstd.utils import configs
from mmirstd.utils.configs import MetafileError

# Config suffix -> name of the dataset, where one network is trained on one set.
DATASET_NAMES = {'nuaa': 'NUAA-SIRST', 'nudt': 'NUDT-SIRST', 'irstd1k': 'IRSTD-1k'}
_ENDINGS = {*DATASET_NAMES, 'irdst', 'mdfa', 'synthetic'}


@dataclass(frozen=True, kw_only=True)
class QuotedResult:
    """A result that others published.

    Attributes:
        dataset: Name of the dataset.
        metrics: In percent, Fa in 1e-6.
        source: Who measured it.
        note: What else is to be known, such as training on several sets.
        model: The one model of the collection that it is of; None: of all. Empty: the source does not say of which, so
            that it stands beside none.
    """

    dataset: str
    metrics: Mapping[str, float]
    source: str
    note: str = ''
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A method: where its code is, under which license, and what was published of it."""

    name: str
    code: str | None = None
    license: str | None = None
    quoted: tuple[QuotedResult, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReferenceResult:
    """What was measured of published weights on a test split outside of this project.

    Attributes:
        iou: Measured.
        images: Number of first images that were measured; None: all.
        without: Ids of images that were left out.
        size: Height and width that images (bilinear) and masks (nearest neighbor) were resized to; None: they were not.
        backend: Library that resized them, as mmcv names it: cv2, or pillow, which averages where it shrinks.
        options: What differs from the options of the weights, by dotted keys.
    """

    iou: float
    images: int | None = None
    without: tuple[str, ...] = ()
    size: int | None = None
    backend: str = 'cv2'
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def conditions(self) -> str:
        """What differs from a test of all images with the options of the weights, in words; empty: nothing."""
        words = [f'first {self.images} images'] if self.images else []
        words += [f'without {", ".join(self.without)}'] if self.without else []
        by = '' if self.backend == 'cv2' else f' by {self.backend}'
        words += [f'at {self.size} x {self.size}{by}'] if self.size else []
        return ', '.join(words + [f'{key.rpartition(".")[2]} {value}' for key, value in self.options.items()])


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """A file of weights that others published.

    Attributes:
        name: Of the file, without extension.
        config: Name of the config that describes the network.
        source: The conversion, one of those of ``mmirstd convert``.
        trained_on: Names of the datasets.
        options: What differs from the config, by dotted keys.
        reference: What was measured outside of this project, by dataset.
    """

    name: str
    config: str
    source: str
    trained_on: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, ReferenceResult] = field(default_factory=dict)


def model_of(config: str) -> str:
    """The name of a config without the dataset that it trains on.

    >>> model_of('acm-unet_nudt'), model_of('sgem_unet-s_joint')
    ('acm-unet', 'sgem_unet-s_joint')
    """
    stem, _, dataset = Path(config).stem.rpartition('_')
    return stem if dataset in _ENDINGS else Path(config).stem


def is_tested_on(config: str, dataset: str) -> bool:
    """Whether a config is for the dataset with that ending, or leaves it out of training to be tested on it."""
    return Path(config).stem.endswith((f'_{dataset}', f'_no-{dataset}'))


def collections() -> dict[str, Collection]:
    """All methods by name."""
    found = {}
    for path, content in configs.read_metafiles().items():
        for entry in content.get('Collections') or []:
            if not isinstance(entry, Mapping) or 'Name' not in entry:
                raise MetafileError(f'{path}: a collection has no Name: {entry!r}')
            quoted = tuple(_quoted(item, entry, path) for item in entry.get('Quoted') or [])
            name = entry['Name']
            found[name] = Collection(name=name, code=entry.get('Code'), license=entry.get('License'), quoted=quoted)
    return found


def published_weights() -> list[PublishedWeights]:
    """All published weights that are known."""
    found = []
    for path, content in configs.read_metafiles().items():
        for entry in content.get('PublishedWeights') or []:
            try:
                found.append(
                    PublishedWeights(
                        name=entry['Name'],
                        config=entry['Config'],
                        source=entry['Source'],
                        trained_on=tuple(entry['TrainedOn']),
                        options=entry.get('Options') or {},
                        reference={name: _reference(item) for name, item in (entry.get('Reference') or {}).items()},
                    )
                )
            except KeyError as error:
                raise MetafileError(
                    f'{path}: PublishedWeights {entry.get("Name")}: {error.args[0]} is missing'
                ) from None
            except TypeError:
                raise MetafileError(
                    f'{path}: PublishedWeights {entry.get("Name")}: Reference holds {{IoU: ...}} of each dataset'
                ) from None
    return found


def _reference(item: Mapping[str, Any]) -> ReferenceResult:
    return ReferenceResult(
        iou=item['IoU'],
        images=item.get('Images'),
        without=tuple(item.get('Without') or ()),
        size=item.get('Size'),
        backend=item.get('Backend', 'cv2'),
        options=item.get('Options') or {},
    )


def _quoted(item: Mapping[str, Any], entry: Mapping[str, Any], path: Path) -> QuotedResult:
    if missing := {'Dataset', 'Metrics', 'Source'} - item.keys():
        raise MetafileError(f'{path}: {entry["Name"]}: a quoted result has no {sorted(missing)[0]}')
    return QuotedResult(
        dataset=item['Dataset'],
        metrics=item['Metrics'],
        source=item['Source'],
        note=item.get('Note', ''),
        model=item.get('Model'),
    )
