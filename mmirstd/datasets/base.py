"""Base class of the infrared small target datasets: pairs of image and mask files, and named splits of them."""

import logging
import os.path as osp
from collections import Counter
from collections.abc import Collection
from io import BytesIO
from typing import Any, ClassVar, NamedTuple

from mmengine import fileio
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from PIL import Image

from mmirstd.datasets.split_lists import IMAGE_EXTENSIONS, abridge, digest, load_published, read_ids
from mmirstd.registry import DATASETS

# 8 bits per channel once opened; 'I', 'I;16' and 'F' hold more than LoadIRImage can take.
EIGHT_BIT_MODES = frozenset({'1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'CMYK', 'YCbCr'})


class Layout(NamedTuple):
    """Folders below ``data_root``, and what follows an id in the file names there.

    A suffix without an image extension (``'_pixels0'``) goes with all of ``IMAGE_EXTENSIONS``. Earlier ones win.
    """

    img_dir: str
    mask_dir: str
    img_suffixes: tuple[str, ...] = ('',)
    mask_suffixes: tuple[str, ...] = ('',)


@DATASETS.register_module()
class IRSTDDataset(BaseSegDataset):
    """Images and target masks of one dataset, whole or one split of it.

    Every ``data_info`` has ``img_path``, ``seg_map_path``, ``img_id`` (file name without suffix), ``mask_resize``
    (whether the mask may be resized to its image), and what :class:`BaseSegDataset` adds. In training mode
    ``results['dataset']`` is the dataset itself, so that transforms can draw other samples. Once loaded,
    ``metainfo['split']`` is ``dict(dataset=, name=, num=, sha256=)``, the hash being that of the sorted ids;
    ``ConcatDataset`` needs ``ignore_keys=['split']`` to join datasets.

    Args:
        split: A published list such as ``'basicirstd/train'`` (see :mod:`mmirstd.datasets.split_lists`).
        ann_file: A list of one's own, absolute or relative to ``data_root``. With neither, all images are taken.
        data_root: Folder of the dataset. Without the next four, it must be laid out as one of ``LAYOUTS``.
        img_dir: Folder of the images, absolute or relative to ``data_root``.
        mask_dir: Folder of the masks, likewise; it may be ``img_dir`` when ``mask_suffix`` tells them apart.
        img_suffix: What follows the id in an image's name, with or without extension.
        mask_suffix: What follows the id in a mask's name, with or without extension.
        kwargs: Arguments of :class:`BaseSegDataset`.

    Raises:
        FileNotFoundError: If folders, split list, images or masks are missing.
        ValueError: If a split is unknown, a list has duplicates, or two files belong to one id.
    """

    METAINFO: ClassVar[dict] = {'classes': ('background', 'target'), 'palette': [[0, 0, 0], [255, 0, 0]]}
    # Spelled as in ``splits/``; None means that the dataset has no published lists and is named after its folder.
    NAME: ClassVar[str | None] = None
    LAYOUTS: ClassVar[tuple[Layout, ...]] = (Layout('images', 'masks'),)
    # Ids whose published mask is known to differ from its image in size.
    MASK_RESIZE_IDS: ClassVar[Collection[str]] = frozenset()

    def __init__(
        self,
        split: str | None = None,
        ann_file: str = '',
        data_root: str | None = None,
        img_dir: str | None = None,
        mask_dir: str | None = None,
        img_suffix: str | None = None,
        mask_suffix: str | None = None,
        **kwargs: Any,
    ) -> None:
        if 'data_prefix' in kwargs:
            raise TypeError(f'{type(self).__name__} takes img_dir and mask_dir, not data_prefix')
        if split and ann_file:
            raise ValueError(f'give split ({split!r}) or ann_file ({ann_file!r}), not both')
        if data_root is None:
            raise ValueError(f'{type(self).__name__} needs data_root, the folder that holds images and masks')
        self.split = split
        self.split_name = split or ann_file or 'all'
        self.layouts = tuple(
            dict.fromkeys(
                Layout(
                    layout.img_dir if img_dir is None else img_dir,
                    layout.mask_dir if mask_dir is None else mask_dir,
                    layout.img_suffixes if img_suffix is None else (img_suffix,),
                    layout.mask_suffixes if mask_suffix is None else (mask_suffix,),
                )
                for layout in self.LAYOUTS
            )
        )
        super().__init__(ann_file=ann_file, data_root=str(data_root), **kwargs)

    @property
    def name(self) -> str:
        """Name of the dataset as reported."""
        return self.NAME or osp.basename(osp.abspath(self.data_root))

    def full_init(self) -> None:
        """Load the list of samples, and report the split with its hash."""
        if self._fully_initialized:
            return
        if self.label_map is not None or self.reduce_zero_label:
            raise ValueError(f'classes are fixed to {self.METAINFO["classes"]}, and reduce_zero_label to False')
        super().full_init()
        infos = [self.get_data_info(i) for i in range(len(self))]
        ids = [info['img_id'] for info in infos]
        split = {'dataset': self.name, 'name': self.split_name, 'num': len(ids), 'sha256': digest(ids)}
        self._metainfo['split'] = split
        print_log('{dataset} {name}: {num} images, sha256 of the ids {sha256}'.format(**split), logger='current')
        for info in infos:
            if info['mask_resize'] and (sizes := self._sizes(info))[0] != sizes[1]:
                print_log(
                    f'{self.name}: the mask of {info["img_id"]} is {_size(sizes[1])} and its image {_size(sizes[0])}; '
                    'it is resized to its image by nearest neighbour',
                    logger='current',
                    level=logging.WARNING,
                )

    def load_data_list(self) -> list[dict]:
        """Find the folders, list each once, and pair the files of every id of the split."""
        layout, img_dir, mask_dir = self._find_layout()
        self.data_prefix = {'img_path': img_dir, 'seg_map_path': mask_dir}
        masks = self._index(mask_dir, layout.mask_suffixes)
        images = self._index(img_dir, layout.img_suffixes, skip=masks.values() if img_dir == mask_dir else ())
        if not images:
            raise FileNotFoundError(f'no images in {img_dir}; expected names ending in {_endings(layout.img_suffixes)}')
        ids = self._load_ids(images)
        for kind, index, folder, suffixes in (
            ('image', images, img_dir, layout.img_suffixes),
            ('mask', masks, mask_dir, layout.mask_suffixes),
        ):
            if missing := [i for i in ids if i not in index]:
                raise FileNotFoundError(
                    f'{self.name} {self.split_name}: {len(missing)} of {len(ids)} ids have no {kind} in {folder}: '
                    f'{abridge(missing)}; expected names ending in {_endings(suffixes)}'
                )
        return [
            {
                'img_path': self._join(img_dir, images[i]),
                'seg_map_path': self._join(mask_dir, masks[i]),
                'img_id': i,
                'mask_resize': i in self.MASK_RESIZE_IDS,
                'label_map': self.label_map,
                'reduce_zero_label': self.reduce_zero_label,
                'seg_fields': [],
            }
            for i in ids
        ]

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one sample; in training mode ``results['dataset']`` is this dataset."""
        if self.test_mode:
            return super().prepare_data(idx)
        return self.pipeline(self.get_data_info(idx) | {'dataset': self})

    def check(self) -> dict:
        """Read the header of every file, and the checksums of PNG files: well under a second per 1,000 images.

        Returns:
            ``num`` images, their ``min_size`` and ``max_size`` as (width, height) over each axis, and ``modes``, a
            count of the images' PIL modes.

        Raises:
            ValueError: If a file cannot be read, an image has more than 8 bits, or a mask differs from its image in
                size and is not known to; the message names the files.
        """
        sizes, modes = [], Counter()
        for info in map(self.get_data_info, range(len(self))):
            (size, mode), (mask_size, _) = (self._header(info[key]) for key in ('img_path', 'seg_map_path'))
            if mode not in EIGHT_BIT_MODES:
                raise ValueError(f'{info["img_path"]}: mode {mode!r}; only 8-bit images can be loaded')
            if size != mask_size and not info['mask_resize']:
                raise ValueError(
                    f'sizes differ: {info["img_path"]} is {_size(size)}, {info["seg_map_path"]} is {_size(mask_size)}'
                )
            sizes.append(size)
            modes[mode] += 1
        widths, heights = zip(*sizes, strict=True)
        return {
            'num': len(sizes),
            'min_size': (min(widths), min(heights)),
            'max_size': (max(widths), max(heights)),
            'modes': dict(modes),
        }

    def _find_layout(self) -> tuple[Layout, str, str]:
        if not fileio.isdir(self.data_root, backend_args=self.backend_args):
            raise FileNotFoundError(f'{self.name}: the folder data_root={self.data_root!r} does not exist')
        for layout in self.layouts:
            folders = [self._join(self.data_root, folder) for folder in (layout.img_dir, layout.mask_dir)]
            if all(fileio.isdir(folder, backend_args=self.backend_args) for folder in folders):
                return layout, *folders
        expected = ', or '.join(f'{layout.img_dir} and {layout.mask_dir}' for layout in self.layouts)
        raise FileNotFoundError(
            f'{self.name}: data_root={self.data_root!r} does not hold the folders {expected}; '
            'give img_dir and mask_dir if yours have other names'
        )

    def _index(self, folder: str, suffixes: tuple[str, ...], skip: Collection[str] = ()) -> dict[str, str]:
        """Map the ids of the image files in ``folder`` to their names."""
        index, skip = {}, set(skip)
        for name in fileio.list_dir_or_file(folder, list_dir=False, backend_args=self.backend_args):
            sample = _sample_id(name, suffixes)
            if sample is None or name in skip:
                continue
            if sample in index:
                raise ValueError(
                    f'{folder}: {index[sample]} and {name} both belong to id {sample!r}; '
                    'tell them apart with img_suffix or mask_suffix'
                )
            index[sample] = name
        return index

    def _load_ids(self, images: Collection[str]) -> list[str]:
        if self.split:
            self.split_name, ids = load_published(self.name, self.split)
            return ids
        return read_ids(self.ann_file, self.backend_args) if self.ann_file else sorted(images)

    def _join(self, *parts: str) -> str:
        return fileio.join_path(*parts, backend_args=self.backend_args)

    def _header(self, path: str) -> tuple[tuple[int, int], str]:
        """Size (width, height) and PIL mode of a file; a local file is not read whole."""
        source = path if osp.isfile(path) else BytesIO(fileio.get(path, backend_args=self.backend_args))
        try:
            with Image.open(source) as image:
                header = image.size, image.mode
                image.verify()
        except Exception as error:  # PIL's decoders raise errors of many kinds
            raise ValueError(f'{path}: not a readable image ({error})') from error
        return header

    def _sizes(self, info: dict) -> tuple[tuple[int, int], tuple[int, int]]:
        return self._header(info['img_path'])[0], self._header(info['seg_map_path'])[0]


def _sample_id(name: str, suffixes: tuple[str, ...]) -> str | None:
    extension = osp.splitext(name)[1]
    if extension.lower() not in IMAGE_EXTENSIONS:
        return None
    for suffix in suffixes:
        tail = suffix if _has_extension(suffix) else suffix + extension
        if name.endswith(tail) and len(name) > len(tail):
            return name[: -len(tail)]
    return None


def _has_extension(suffix: str) -> bool:
    return suffix.lower().endswith(IMAGE_EXTENSIONS)


def _endings(suffixes: tuple[str, ...]) -> str:
    extensions = f'({"|".join(IMAGE_EXTENSIONS)})'
    return ' or '.join(suffix if _has_extension(suffix) else suffix + extensions for suffix in suffixes)


def _size(size: tuple[int, int]) -> str:
    return f'{size[0]}x{size[1]}'
