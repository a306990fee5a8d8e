"""The threshold that was chosen for a model on a validation split, as it is stored with the weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.utils.text import format_threshold

META_KEY = 'operating_point'


@dataclass(frozen=True)
class CalibratedThreshold:
    """A threshold, and what it was chosen by.

    Attributes:
        threshold: A pixel is target when its probability is above; in [0, 1).
        criterion: ``'false_alarms_per_image'`` or ``'Fa'``, of which there is a ``budget``, or ``'F1'``.
        budget: The most that was allowed: false alarms per image, or Fa in false pixels per million; None for F1.
        metrics: On the validation split at this threshold: ``Pd`` with ``Pd_low`` and ``Pd_high``, the bounds of its
            interval, ``Fa``, ``F1``, ``IoU`` and ``false_alarms_per_image``.
        splits: ``dict(dataset, name, num, sha256)`` of each validation split; the hash is that of the ids.
        protocol: Name, distance and connectivity of the matching.
    """

    threshold: float
    criterion: str
    budget: float | None
    metrics: dict[str, float] = field(default_factory=dict)
    splits: list[dict[str, Any]] = field(default_factory=list)
    protocol: dict[str, Any] = field(default_factory=dict)

    def as_meta(self) -> dict[str, Any]:
        """Plain data for the ``meta`` of a checkpoint."""
        return asdict(self)

    @classmethod
    def of(cls, meta: object, source: str) -> 'CalibratedThreshold | None':
        """Read it from the ``meta`` of a checkpoint; None if there is none.

        Raises:
            CheckpointError: If what is stored there is no operating point; the message names ``source``.
        """
        stored = meta.get(META_KEY) if isinstance(meta, Mapping) else None
        if stored is None:
            return None
        threshold = stored.get('threshold') if isinstance(stored, Mapping) else None
        if not isinstance(threshold, float) or not 0 <= threshold < 1:
            raise CheckpointError(f'{source}: its operating point has no threshold in [0, 1): {str(stored)[:200]}')
        try:
            return cls(**stored)
        except TypeError as e:
            raise CheckpointError(f'{source}: its operating point is not as `mmirstd calibrate` writes it: {e}') from e

    def __str__(self) -> str:
        criterion = {'Fa': 'Fa, in false pixels per million,', 'false_alarms_per_image': 'false alarms per image'}
        chosen = 'the best F1' if self.budget is None else f'{criterion[self.criterion]} of at most {self.budget:g}'
        splits = ', '.join(f'{s["dataset"]} {s["name"]} ({s["num"]} images)' for s in self.splits)
        return f'threshold {format_threshold(self.threshold)}, chosen for {chosen} on {splits}'
