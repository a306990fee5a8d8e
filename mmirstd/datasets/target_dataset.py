"""What all datasets share: two classes, and a report of the split that was loaded."""

import math
from collections.abc import Iterable
from itertools import dropwhile
from typing import Any, ClassVar, Literal

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations

from mmirstd.datasets.sample_cache import GIB, SampleCache
from mmirstd.utils.errors import UserError


class DatasetArgumentError(UserError, ValueError):
    """An argument of a dataset has a value that cannot be; the message names the class and the argument."""


class TargetDataset(BaseSegDataset):
    """Base of datasets with one class of targets over background.

    Every ``data_info`` has ``img_path``, ``seg_map_path``, ``img_id``, ``mask_resize`` (whether the mask may be resized
    to its image), and what :class:`BaseSegDataset` adds. ``metainfo`` is the same for every set and split with
    masks, so that MMEngine's wrappers join them as they are.

    Args:
        cache: ``'memory'`` keeps each sample as the loading transforms at the beginning of the pipeline return it, see
            :class:`~mmirstd.datasets.sample_cache.SampleCache`. Samples and random numbers are the same as without. A
            file that changes during a run is not read again.
        cache_limit: Bytes that the cache may take.
        kwargs: Arguments of :class:`BaseSegDataset`.

    Raises:
        DatasetArgumentError: If ``cache`` or ``cache_limit`` has another value.
        ValueError: If other classes or ``reduce_zero_label`` are asked for.
    """

    METAINFO: ClassVar[dict] = {'classes': ('background', 'target'), 'palette': [[0, 0, 0], [255, 0, 0]]}
    # Arguments of BaseSegDataset that have no effect here -> what has.
    UNUSED: ClassVar[dict[str, str]] = {
        'seg_map_suffix': 'mask_suffix',
        'data_prefix': 'img_dir and mask_dir',
        'filter_cfg': 'on_bad, or ids as ann_file',
        'ignore_index': 'ignore_value, a value in mask files',
    }
    HASHED: ClassVar[str] = 'ids'  # what sha256 is made from, as the log says it

    has_masks: bool = True  # without, seg_map_path is None, and metainfo['has_masks'] is False
    name: str  # of the dataset, as reported
    split_name: str

    def __init__(self, *, cache: Literal['memory'] | None = None, cache_limit: int = 2 * GIB, **kwargs: Any) -> None:
        if cache not in ('memory', None):
            raise DatasetArgumentError(f"{type(self).__name__}: cache must be 'memory' or None, got {cache!r}")
        if not isinstance(cache_limit, int | float) or not 1 <= cache_limit < math.inf:
            text = f'cache_limit must be a number of bytes, at least 1 byte, got {cache_limit!r}'
            raise DatasetArgumentError(f'{type(self).__name__}: {text}')
        self.cache, self.cache_limit = cache, int(cache_limit)
        self.sample_cache: SampleCache | None = None
        super().__init__(**kwargs)

    @classmethod
    def refuse_unused(cls, given: Iterable[str]) -> None:
        """Refuse arguments that :class:`BaseSegDataset` takes and this dataset would ignore.

        Raises:
            TypeError: Naming the argument that has the effect.
        """
        for name in given:
            if name in cls.UNUSED:
                raise TypeError(f'{cls.__name__} takes {cls.UNUSED[name]}, not {name}')

    @property
    def img_ids(self) -> list[str]:
        """Ids of the samples, in order."""
        self.full_init()
        return [self.get_data_info(i)['img_id'] for i in range(len(self))]

    def full_init(self) -> None:
        """Load the samples of the split, and report the split with its hash."""
        if self._fully_initialized:
            return
        if self.label_map is not None or self.reduce_zero_label:
            raise ValueError(f'classes are fixed to {self.METAINFO["classes"]}, and reduce_zero_label to False')
        super().full_init()
        if not self.has_masks:
            self._metainfo['has_masks'] = False
        if self.cache and len(self):  # now, so that processes that are forked later share it
            self.sample_cache = SampleCache(f'{self.name} {self.split_name}', len(self), self.cache_limit)
        print_log(
            f'{self.name} {self.split_name}: {len(self)} images, sha256 of the {self.HASHED} {self.split_hash()}',
            logger='current',
        )

    @property
    def split_info(self) -> dict[str, Any]:
        """``dict(dataset=, name=, num=, sha256=)`` of the split that is loaded."""
        self.full_init()
        return {'dataset': self.name, 'name': self.split_name, 'num': len(self), 'sha256': self.split_hash()}

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the classes in one mask, 0 for background and 1 for targets; ``ClassBalancedDataset`` repeats by them.

        The sample runs through the pipeline until its mask is loaded.

        Raises:
            ValueError: If the pipeline loads no mask.
        """
        sample = self.pipeline_input(idx)
        for transform in self.pipeline.transforms:
            if 'gt_seg_map' in sample:
                break
            sample = transform(sample)
        if sample.get('gt_seg_map') is None:
            raise ValueError(f'{self.name} {self.split_name}: the pipeline loads no mask to take the classes from')
        return sorted(set(np.unique(sample['gt_seg_map']).tolist()) & {0, 1})

    def pipeline_input(self, idx: int) -> dict:
        """What the pipeline starts from: ``data_info``, with the image itself where there is no file of it."""
        return self.get_data_info(idx)

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one sample, what loads it only where the cache does not hold it."""
        if self.sample_cache is None:
            return self.pipeline(self.pipeline_input(idx))
        idx = range(len(self))[idx]
        transforms = list(self.pipeline.transforms)
        others = list(dropwhile(lambda t: isinstance(t, (LoadImageFromFile, LoadAnnotations)), transforms))
        sample = self.sample_cache.get(idx)
        if sample is None:
            sample = Compose(transforms[: len(transforms) - len(others)])(self.pipeline_input(idx))
            if sample is None:
                return None
            self.sample_cache.put(idx, sample)
        return Compose(others)(sample)

    def split_hash(self) -> str:
        """First digits of the SHA-256 of what the samples are known by."""
        raise NotImplementedError

    def sample_info(
        self, img_path: str, seg_map_path: str | None, img_id: str, mask_resize: bool = False, **more: Any
    ) -> dict:
        """One ``data_info``."""
        return {
            'img_path': img_path,
            'seg_map_path': seg_map_path,
            'img_id': img_id,
            'mask_resize': mask_resize,
            'label_map': self.label_map,
            'reduce_zero_label': self.reduce_zero_label,
            'seg_fields': [],
        } | more
