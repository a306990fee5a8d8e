"""Synthetic scenes as a dataset: no files, the same sample at the same index for ever."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset

from mmirstd.datasets.base import IRSTDDataset
from mmirstd.registry import DATASETS
from mmirstd.synthesis.config import MIN_SIZE, SceneConfig
from mmirstd.synthesis.scenes import render_scene, scene_generator


@DATASETS.register_module()
class SyntheticIRSTDDataset(BaseSegDataset):
    """Infrared scenes with small targets, rendered when they are asked for by :class:`mmirstd.RenderScene`.

    A scene depends on ``seed``, ``part``, its index, ``size`` and ``scene``, and on nothing else: not on workers,
    threads, ``length`` or the order of access. Parts have disjoint random streams. Shares no code with
    :class:`IRSTDDataset`, which is about files, but its interface: ``data_info`` has ``img_path`` (of no file),
    ``img_id`` and ``mask_resize``, and ``metainfo['split']`` is
    ``dict(dataset=, name=, num=, sha256=)``, the hash being that of all parameters.

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

    METAINFO = IRSTDDataset.METAINFO
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
        if unsupported := {'ann_file', 'data_root', 'data_prefix'} & kwargs.keys():
            raise TypeError(f'{type(self).__name__} has no files, so no {", ".join(sorted(unsupported))}')
        scene_generator(seed, part, 0)  # checks both
        self.length = length
        self.size = tuple(size)
        self.part = self.split_name = part
        self.seed = seed
        self.scene = SceneConfig(**(scene or {}))
        super().__init__(**kwargs)

    def full_init(self) -> None:
        """List the scenes, and report what they are made from with its hash."""
        if self._fully_initialized:
            return
        if self.label_map is not None or self.reduce_zero_label:
            raise ValueError(f'classes are fixed to {self.METAINFO["classes"]}, and reduce_zero_label to False')
        super().full_init()
        parameters = json.dumps([self.seed, self.part, len(self), self.size, asdict(self.scene)], sort_keys=True)
        sha256 = hashlib.sha256(parameters.encode()).hexdigest()[:12]
        self._metainfo['split'] = {'dataset': self.name, 'name': self.part, 'num': len(self), 'sha256': sha256}
        self.img_ids = [self.get_data_info(i)['img_id'] for i in range(len(self))]
        print_log(f'{self.name} {self.part}: {len(self)} scenes, sha256 of the parameters {sha256}', logger='current')

    @property
    def image_identities(self) -> list[str]:
        """What scenes are known by outside of the dataset: equal exactly where the scenes are, whatever ``length``."""
        scene = json.dumps([self.seed, self.size, asdict(self.scene)], sort_keys=True)
        key = hashlib.sha256(scene.encode()).hexdigest()[:8]
        return [f'{self.part}/{key}/{i}' for i in self.img_ids]

    def load_data_list(self) -> list[dict]:
        """One entry per index."""
        return [
            {
                'img_path': f'synthetic/{self.part}/{i + 1:06d}.png',
                'seg_map_path': f'synthetic/{self.part}/masks/{i + 1:06d}.png',
                'img_id': f'{i + 1:06d}',
                'mask_resize': False,
                'scene_seed': (self.seed, self.part, i),
                'scene_size': self.size,
                'label_map': self.label_map,
                'reduce_zero_label': self.reduce_zero_label,
                'seg_fields': [],
            }
            for i in range(self.length)
        ]

    def get_data_info(self, idx: int) -> dict:
        """As usual, and ``scene_config``."""
        return super().get_data_info(idx) | {'scene_config': self.scene}

    def check(self) -> dict:
        """Render the first scene, and report as :meth:`IRSTDDataset.check` does for files."""
        render_scene(scene_generator(self.seed, self.part, 0), self.size, self.scene)
        size = self.size[::-1]
        return {'num': len(self), 'min_size': size, 'max_size': size, 'modes': {'L': len(self)}}
