"""Synthetic sequences as a dataset: no files, the same frame at the same index for ever."""

from functools import lru_cache
from typing import Any

import numpy as np

from mmirstd.datasets.synthetic import SyntheticIRSTDDataset
from mmirstd.registry import DATASETS
from mmirstd.synthesis.scenes import scene_generator
from mmirstd.synthesis.sequences import render_sequence


@DATASETS.register_module()
class SyntheticSequenceDataset(SyntheticIRSTDDataset):
    """Frames of synthetic sequences, in order: those of one sequence follow each other.

    A frame's id is ``SEQUENCE/FRAME``, both from 000001. With a batch size of ``frames`` and no shuffling, a batch is
    one sequence, as detectors of sequences need it.

    Args:
        length: Number of frames of all sequences together.
        frames: Of each sequence.
        kwargs: Of :class:`SyntheticIRSTDDataset`.

    Raises:
        ValueError: If ``frames`` does not divide ``length``.
    """

    name = 'SyntheticSequences'

    def __init__(self, length: int, frames: int = 6, **kwargs: Any) -> None:
        if frames < 1 or length % frames:
            raise ValueError(f'length={length} must be a multiple of frames={frames}')
        self.frames = frames
        self._sequence = lru_cache(maxsize=1)(self._render)
        super().__init__(length, **kwargs)

    def split_hash(self) -> str:
        """That of all parameters."""
        return self._hash([super().split_hash(), self.frames], 12)

    @property
    def image_identities(self) -> list[str]:
        """What frames are known by outside of the dataset."""
        return [f'sequences-{self.frames}/{identity}' for identity in super().image_identities]

    def load_data_list(self) -> list[dict]:
        """One entry per frame."""
        entries = []
        folder = f'synthetic/{self.part}/sequences-{self.frames}/{self._key}'
        for i in range(self.length):
            name = '{:06d}/{:06d}'.format(*(n + 1 for n in divmod(i, self.frames)))
            seed = (self.seed, self.part, i)
            entries.append(self.sample_info(f'{folder}/{name}.png', None, name, scene_seed=seed))
        return entries

    def pipeline_input(self, idx: int) -> dict:
        """Render a frame, and the others of its sequence, which are kept until one of another is asked for."""
        info = self.get_data_info(idx)
        sequence, frame = divmod(info['scene_seed'][2], self.frames)
        images, masks = self._sequence(sequence)
        return info | {'img': images[frame].copy(), 'gt_seg_map': masks[frame].copy(), 'seg_fields': ['gt_seg_map']}

    def check(self) -> dict:
        """Render the first sequence, and report as :meth:`IRSTDDataset.check` does for files."""
        self._sequence(0)
        size = self.size[::-1]
        return {'num': len(self), 'min_size': size, 'max_size': size, 'modes': {'L': len(self)}}

    def _render(self, sequence: int) -> tuple[np.ndarray, np.ndarray]:
        return render_sequence(scene_generator(self.seed, self.part, sequence), self.frames, self.size, self.scene)
