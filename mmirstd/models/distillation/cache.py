"""What a teacher made of indexed views, read instead of computed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmseg.structures import SegDataSample
from torch import Tensor

from mmirstd.checkpoints.loading import note_load
from mmirstd.io.feature_store import INDEX, FeatureStore, FeatureStoreError
from mmirstd.models.distillation.teacher import teacher_key


class TeacherCache:
    """A folder that ``mmirstd cache-teacher`` fills: one store of features for each set of indexed views.

    Args:
        folder: The folder.
        teacher: Config of the teacher; its weights are hashed, where their file is at hand.

    Raises:
        FeatureStoreError: If there is no store, or it is of another teacher.
    """

    def __init__(self, folder: str | Path, teacher: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        folders = sorted(path.parent for path in self.folder.glob(f'*/{INDEX}'))
        if not folders:
            raise FeatureStoreError(f'{folder} holds no features: run `mmirstd cache-teacher CONFIG --out {folder}`')
        self._stores = {path.name: FeatureStore(path) for path in folders}
        self.first = next(iter(self._stores.values()))
        try:
            self._teacher = teacher_key(teacher)
        except FileNotFoundError as e:
            print_log(f'{folder} is taken to be of the weights in {e.filename}, which is not there', 'current', 30)
            self._teacher = self.first.key.get('teacher')
        for store in self._stores.values():
            store.check({'teacher': self._teacher, 'views': store.folder.name})

    def note_provenance(self) -> None:
        """Let the run know which checkpoints the features come from."""
        for source, meta in self.first.note.get('sources', ()):
            note_load(source, meta)

    def read(self, samples: Sequence[SegDataSample], device: torch.device) -> tuple[Tensor, ...]:
        """Return what the teacher made of a batch of views: maps (B, C_i, H_i, W_i), float32.

        Raises:
            FeatureStoreError: If the samples are no indexed views, or these views are not here.
        """
        rows = []
        for sample in samples:
            if 'view' not in sample:
                raise FeatureStoreError('a teacher cache needs samples of an IndexedViews dataset')
            key, index = sample.view
            if key not in self._stores:
                raise FeatureStoreError(
                    f'{self.folder} is stale: it holds views {", ".join(self._stores)}, and those of the config are '
                    f'{key}: other images, or another augmentation or seed; make the cache anew'
                )
            rows.append(self._stores[key].read(index))
        # Stacked by NumPy: under autocast on a CPU, PyTorch refuses to join tensors of float16.
        stacked = (torch.from_numpy(np.stack(maps)) for maps in zip(*rows, strict=True))
        return tuple(maps.to(device).float() for maps in stacked)
