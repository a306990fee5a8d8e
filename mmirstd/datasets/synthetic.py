"""Synthetic scenes as a dataset: no files, the same sample at the same index for ever."""

import hashlib
import json
from dataclasses import asdict
from typing import Any, ClassVar

from mmirstd.datasets.target_dataset import TargetDataset
from mmirstd.registry import DATASETS
from mmirstd.synthesis.config import MIN_SIZE, SceneConfig
from mmirstd.synthesis.scenes import render_scene, scene_generator


@DATASETS.register_module()
class SyntheticIRSTDDataset(TargetDataset):
    """Infrared scenes with small targets, rendered when they are asked for.

    The pipeline gets ``img``, uint8 (H, W), and ``gt_seg_map``, uint8 (H, W) in {0, 1}, in place of files: it is the
    same as that of files, from ``LoadIRImage`` on.

    A scene depends on ``seed``, ``part``, its index, ``size`` and ``scene``, and on nothing else: not on workers,
    threads, ``length`` or the order of access. Parts have disjoint random streams. ``img_path`` names no file; it
    is another for each scene, whichever sets stand side by side. The hash of the split is that of all parameters.

    Args:
        length: Number of scenes.
        size: Height and width of a scene.
        part: 'train', 'val' or 'test'.
        seed: Of all scenes.
        scene: Fields of :class:`SceneConfig` that differ from its defaults.
        kwargs: Arguments of :class:`BaseSegDataset`, such as ``pipeline`` and ``test_mode``.

    Raises:
        TypeError: If ``scene`` has an unknown key.
        ValueError: If a value is out of its range.
    """

    HASHED = 'parameters'
    UNUSED: ClassVar[dict[str, str]] = {
        'filter_cfg': 'length and scene',
        'ignore_index': 'masks without ignored pixels',
    }
    _OF_FILES = frozenset(('ann_file', 'data_root', 'data_prefix', 'img_suffix', 'seg_map_suffix', 'backend_args'))
    name = 'Synthetic'

    def __init__(
        self,
        length: int,
        size: tuple[int, int] = (256, 256),
        part: str = 'train',
        seed: int = 0,
        scene: dict | None = None,
        **kwargs: Any,
    ) -> None:
        if length < 1:
            raise ValueError(f'length must be at least 1, got {length}')
        if len(size) != 2 or min(size) < MIN_SIZE:
            raise ValueError(f'size must be (height, width), at least {MIN_SIZE} each, got {size}')
        if unsupported := self._OF_FILES & kwargs.keys():
            raise TypeError(f'{type(self).__name__} has no files, so no {", ".join(sorted(unsupported))}')
        self.refuse_unused(kwargs)
        scene_generator(seed, part, 0)  # checks both
        self.length = length
        self.size = tuple(size)
        self.part = self.split_name = part
        self.seed = seed
        self.scene = SceneConfig(**(scene or {}))
        super().__init__(**kwargs)

    def split_hash(self) -> str:
        """That of all parameters."""
        return self._hash([self.seed, self.part, len(self), self.size, asdict(self.scene)], 12)

    @property
    def image_identities(self) -> list[str]:
        """What scenes are known by outside of the dataset: equal exactly where the scenes are, whatever ``length``."""
        key = self._key
        return [f'{self.part}/{key}/{i}' for i in self.img_ids]

    @property
    def _key(self) -> str:
        """What all scenes of one index and part depend on besides."""
        return self._hash([self.seed, self.size, asdict(self.scene)], 8)

    def load_data_list(self) -> list[dict]:
        """One entry per index."""
        folder = f'synthetic/{self.part}/{self._key}'
        return [
            self.sample_info(
                f'{folder}/{i + 1:06d}.png',
                None,
                f'{i + 1:06d}',
                scene_seed=(self.seed, self.part, i),
            )
            for i in range(self.length)
        ]

    def pipeline_input(self, idx: int) -> dict:
        """Render a scene."""
        info = self.get_data_info(idx)
        image, mask, _ = render_scene(scene_generator(*info['scene_seed']), self.size, self.scene)
        return info | {'img': image, 'gt_seg_map': mask, 'seg_fields': ['gt_seg_map']}

    def check(self) -> dict:
        """Render the first scene, and report as :meth:`IRSTDDataset.check` does for files."""
        render_scene(scene_generator(self.seed, self.part, 0), self.size, self.scene)
        size = self.size[::-1]
        return {'num': len(self), 'min_size': size, 'max_size': size, 'modes': {'L': len(self)}}

    @staticmethod
    def _hash(parameters: list, digits: int) -> str:
        return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:digits]
