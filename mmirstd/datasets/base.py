"""Base class of the infrared small target datasets: pairs of image and mask files, and named splits of them."""

import logging
import os.path as osp
from collections import Counter
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from mmengine import fileio
from mmengine.logging import print_log

from mmirstd.datasets.layout import Layout, Place, describe_suffixes, index_files, override_layouts
from mmirstd.datasets.pair_checks import BadPairError, InspectedPair, inspect_pairs, read_pair, size_text
from mmirstd.datasets.published_splits import OFFICIAL_SPLITS, hold_out, load_published, official_prefix
from mmirstd.datasets.target_dataset import DatasetArgumentError, TargetDataset
from mmirstd.datasets.transforms.loading import LoadTargetMask
from mmirstd.io.ids import digest, find_line, read_ids, resolve_entries
from mmirstd.io.mask_content import judge_masks
from mmirstd.io.masks import MaskRule
from mmirstd.registry import DATASETS
from mmirstd.utils.text import abridge


@DATASETS.register_module()
class IRSTDDataset(TargetDataset):
    """Images and target masks of one dataset, whole or one split of it.

    An id is a file name without suffix, and the hash of the split that of the sorted ids. ``skipped`` maps the reasons
    for which ``on_bad='skip'`` left pairs out to their ids.

    Args:
        split: A published split such as ``'basicirstd/train'`` (see
            :mod:`mmirstd.datasets.published_splits`). Where folders are published instead: ``'official/train'`` and
            ``'official/test'``, with a seeded tenth of the first as ``'official/val'`` and the rest as
            ``'official/subtrain'``.
        ann_file: Text file with the ids of a split of one's own, absolute or relative to ``data_root``; an entry
            ``41/`` stands for all ids that begin so, and folders, suffixes and columns around an id are understood, see
            :func:`mmirstd.io.ids.resolve_entries`. With neither, all images are taken, and no mask may be left over.
        data_root: Folder of the dataset. Without the next four, it must be laid out as one of ``LAYOUTS``.
        img_dir: Folder of the images, absolute or relative to ``data_root``.
        mask_dir: Folder of the masks, likewise; it may be ``img_dir`` when ``mask_suffix`` tells them apart.
        img_suffix: What follows the id in an image's name, with or without extension.
        mask_suffix: What follows the id in a mask's name, with or without extension.
        on_bad: What to do about an image without its mask or a mask without its image, an unreadable or truncated
            file, an image with values that are no numbers or with an empty color channel, and a mask of another size
            than its image. 'error': a missing file is an error at once, the others are in :meth:`check`, which the
            runner calls before the first step. 'skip': all files are verified when the split is loaded; bad pairs are
            left out and counted in the log.
        missing_mask: 'error', or 'empty': an image without a mask is one of background.
        use_masks: False reads the images alone, as distillation needs them; masks may be there or not, and are no
            images where ``mask_dir`` and ``mask_suffix`` say which they are.
        target_value: Value, or values, of the target pixels in mask files; all others are background. None: those above
            127, or 1 where a mask holds 0 and 1 alone, see :mod:`mmirstd.io.masks`.
        ignore_value: Value, or values, of mask pixels that count neither in the loss nor in the metrics.
        kwargs: Arguments of :class:`BaseSegDataset`.

    Raises:
        FileNotFoundError: If folders, the file of a split, images or masks are missing.
        DatasetArgumentError: If an argument has a value that cannot be.
        ValueError: If a split is unknown or has duplicates, two files belong to one id, or no pair is left.
    """

    reads_masks = True  # False: there is no folder of masks
    # Spelled as in ``splits/``; None means that the dataset has no published splits and is named after its folder.
    NAME: ClassVar[str | None] = None
    # The first that is there is taken. A tuple of layouts is read as one dataset.
    LAYOUTS: ClassVar[tuple[Layout | tuple[Layout, ...], ...]] = (Layout('images', 'masks'),)
    # Where the split is published as folders: what the ids of 'train' and 'test' begin with.
    OFFICIAL_PARTS: ClassVar[dict[str, str]] = {}
    # Ids whose published mask is known to differ from its image in size.
    MASK_RESIZE_IDS: ClassVar[Collection[str]] = frozenset()
    # Ids whose published files are known to be damaged; they are in no split.
    CORRUPT_IDS: ClassVar[Collection[str]] = frozenset()
    # What a user of a source's splits must know, logged as a warning.
    SPLIT_NOTES: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        split: str | None = None,
        ann_file: str = '',
        data_root: str | None = None,
        img_dir: str | None = None,
        mask_dir: str | None = None,
        img_suffix: str | None = None,
        mask_suffix: str | None = None,
        on_bad: Literal['error', 'skip'] = 'error',
        missing_mask: Literal['error', 'empty'] = 'error',
        use_masks: bool = True,
        target_value: float | Sequence[float] | None = None,
        ignore_value: float | Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        self.refuse_unused(kwargs)
        wrong = None
        if split and ann_file:
            wrong = f'give split ({split!r}) or ann_file ({ann_file!r}), not both'
        elif data_root is None:
            wrong = 'needs data_root, the folder that holds images and masks'
        elif on_bad not in ('error', 'skip'):
            wrong = f"on_bad must be 'error' or 'skip', got {on_bad!r}"
        elif missing_mask not in ('error', 'empty'):
            wrong = f"missing_mask must be 'error' or 'empty', got {missing_mask!r}"
        if wrong:
            raise DatasetArgumentError(f'{type(self).__name__}: {wrong}')
        self.split = split
        self.split_name = split or ann_file or 'all'
        self.on_bad = on_bad
        self.missing_mask = missing_mask
        self._knows_masks = self.reads_masks  # and where they lie, so that they are no images where they are not read
        if not use_masks:
            self.has_masks = self.reads_masks = False
        self.mask_rule = MaskRule(target_value=target_value, ignore_value=ignore_value)
        self.images_with_targets: int | None = None  # known after check()
        self._inspected: dict[str, InspectedPair] = {}
        self.skipped: dict[str, list[str]] = {}
        self.layouts = override_layouts(
            self.LAYOUTS, img_dir=img_dir, mask_dir=mask_dir, img_suffix=img_suffix, mask_suffix=mask_suffix
        )
        super().__init__(ann_file=ann_file, data_root=str(data_root), **kwargs)

    @property
    def name(self) -> str:
        """Name of the dataset as reported."""
        return self.NAME or osp.basename(osp.abspath(self.data_root))

    def full_init(self) -> None:
        """Load the samples of the split, and report the split with its hash."""
        if self._fully_initialized:
            return
        super().full_init()
        if note := self.SPLIT_NOTES.get(self.split_name.split('/')[0]):
            self._warn(note)
        for i, img_id in enumerate(self.img_ids if self.MASK_RESIZE_IDS and self.has_masks else ()):
            if img_id in self.MASK_RESIZE_IDS:
                image, mask = read_pair(self.get_data_info(i), self.backend_args)
                if image[:2] != mask[:2]:
                    self._warn(
                        f'the mask of {img_id} is {size_text(mask)} and its image {size_text(image)}; '
                        'it is resized to its image by nearest neighbor'
                    )

    def split_hash(self) -> str:
        """That of the sorted ids."""
        return digest(self.img_ids)

    def load_data_list(self) -> list[dict]:
        """Find the folders, list each once, and pair the files of every id of the split."""
        self.skipped = {}
        places = self._find_layout()
        images, masks = self._index(places)
        ids = self._load_ids(images, masks)
        for kind, index in (('image', images), ('mask', masks)) if self.has_masks else (('image', images),):
            missing = [i for i in ids if i not in index]
            if missing and not (kind == 'mask' and self.missing_mask == 'empty'):
                if self.on_bad == 'error':
                    raise FileNotFoundError(self._describe_missing(kind, missing, len(ids), places, images | masks))
                self.skipped[f'no {kind}'] = missing
                ids = [i for i in ids if i in index]
        rule = {} if self.mask_rule == MaskRule() else {'mask_rule': self.mask_rule}
        infos = [self.sample_info(images[i], masks.get(i), i, i in self.MASK_RESIZE_IDS, **rule) for i in ids]
        if self.has_masks:
            for info in infos:
                if info['seg_map_path'] is None:
                    info['background'] = True
        return infos if self.on_bad == 'error' else self._leave_out_bad(infos)

    def corrupt_ids(self, found: Collection[str]) -> Collection[str]:
        """Return the ids to leave out, given those of all files that were found."""
        return self.CORRUPT_IDS

    def check(self) -> dict:
        """Verify every file, and judge what the masks hold, see :func:`~mmirstd.io.mask_content.judge_masks`.

        Files are decoded once, see :mod:`mmirstd.io.check_cache`: two seconds per 1,000 pairs. With ``on_bad='skip'``
        that was when the split was loaded.

        Returns:
            ``num`` images, their ``min_size`` and ``max_size`` as (width, height) over each axis, and ``modes``, a
            count of :class:`~mmirstd.io.images.Header` modes of the images.

        Raises:
            ValueError: If a file cannot be read, a mask differs from its image in size and is not known to, or it is
                not clear what in the masks is target; the message names the files.
        """
        self.full_init()
        infos = [self.get_data_info(i) for i in range(len(self))]
        new = [info for info in infos if info['img_path'] not in self._inspected]
        inspected = self._inspected | {
            info['img_path']: pair for info, pair in zip(new, inspect_pairs(new, self.backend_args), strict=True)
        }
        pairs, self._inspected = [inspected[info['img_path']] for info in infos], {}
        if self.has_masks:
            self._judge(infos, pairs)
        headers = [pair.header for pair in pairs]
        return {
            'num': len(headers),
            'min_size': (min(h.width for h in headers), min(h.height for h in headers)),
            'max_size': (max(h.width for h in headers), max(h.height for h in headers)),
            'modes': dict(Counter(h.mode for h in headers)),
        }

    def _judge(self, infos: Sequence[dict], pairs: Sequence[InspectedPair]) -> None:
        masks = {info['seg_map_path']: pair.mask for info, pair in zip(infos, pairs, strict=True) if pair.mask}
        rules = [t.rule(self.mask_rule) for t in self.pipeline.transforms if isinstance(t, LoadTargetMask)]
        name = f'{self.name} {self.split_name}'
        rule = rules[0] if rules else self.mask_rule
        self.images_with_targets = judge_masks(masks, rule, name, empty=len(pairs) - len(masks))
        if blank := [info['img_path'] for info, pair in zip(infos, pairs, strict=True) if pair.blank]:
            self._warn(f'{len(blank)} of {len(pairs)} images hold one value alone: {abridge(blank, 3)}')

    def _find_layout(self) -> list[Place]:
        if not self._isdir(self.data_root):
            raise FileNotFoundError(f'{self.name}: the folder data_root={self.data_root!r} does not exist')
        for layouts in self.layouts:
            places = [Place(layout, *(self._join(self.data_root, d) for d in layout[:2])) for layout in layouts]
            there = [tuple(self._isdir(folder) for folder in self._folders(place)) for place in places]
            # A part may be absent as a whole, but not by half.
            if any(map(all, there)) and all(all(pair) or not any(pair) for pair in there):
                if absent := [p.layout.img_dir for p, pair in zip(places, there, strict=True) if not all(pair)]:
                    self._warn(f'{self.data_root} does not hold {" and ".join(absent)}; only the rest is read')
                places = [place for place, pair in zip(places, there, strict=True) if all(pair)]
                if len(places) == 1:
                    self.data_prefix = {'img_path': places[0].img_dir, 'seg_map_path': places[0].mask_dir}
                return places
        expected = ', or '.join(
            ' with '.join(' and '.join(self._folders(Place(layout, *layout[:2]))) for layout in layouts)
            for layouts in self.layouts
        )
        raise FileNotFoundError(
            f'{self.name}: data_root={self.data_root!r} does not hold the folders {expected}; '
            'give img_dir and mask_dir if yours have other names'
        )

    def _folders(self, place: Place) -> tuple[str, ...]:
        return (place.img_dir, place.mask_dir) if self.reads_masks else (place.img_dir,)

    def _index(self, places: Sequence[Place]) -> tuple[dict[str, str], dict[str, str]]:
        """Map ids to image files, and to mask files."""
        images, masks = {}, {}
        for layout, img_dir, mask_dir in places:
            index = partial(index_files, prefix=layout.prefix, nested=layout.nested, backend_args=self.backend_args)
            skip: dict[str, Any] = {'skip_folder': mask_dir} if self._knows_masks else {}
            # Names without a suffix of masks tell nothing of which files are masks.
            if self.reads_masks or (self._knows_masks and img_dir == mask_dir and any(layout.mask_suffixes)):
                below = index(mask_dir, layout.mask_suffixes, skip_folder=img_dir)
                masks |= below if self.reads_masks else {}
                skip['skip'] = below.values() if img_dir == mask_dir else ()
            images |= index(img_dir, layout.img_suffixes, **skip)
        if not images:
            raise FileNotFoundError(
                f'no images in {" or ".join(place.img_dir for place in places)}; '
                f'expected names ending in {describe_suffixes(places[0].layout.img_suffixes)}'
            )
        return images, masks

    def _load_ids(self, images: Collection[str], masks: Collection[str]) -> list[str]:
        found = sorted({*images, *masks})
        official = self.OFFICIAL_PARTS and official_prefix(self.split, self.OFFICIAL_PARTS)
        if official:
            ids = [i for i in found if i.startswith(official)]
        elif self.split:
            others = OFFICIAL_SPLITS if self.OFFICIAL_PARTS else ()
            self.split_name, ids = load_published(self.name, self.split, others)
        else:
            ids = read_ids(self.ann_file, self.backend_args) if self.ann_file else found
        layouts = [layout for parts in self.layouts for layout in parts]
        suffixes = [s for layout in layouts for s in (*layout.img_suffixes, *layout.mask_suffixes)]
        ids = resolve_entries(ids, found, self.ann_file or self.split_name, suffixes)
        corrupt = set(self.corrupt_ids(found))
        kept = [i for i in ids if i not in corrupt]
        if len(kept) < len(ids):
            print_log(
                f'{self.name} {self.split_name}: {len(ids) - len(kept)} pairs, damaged as published, are left out',
                logger='current',
            )
        if official:
            kept = hold_out(kept, self.split)
        if not kept:
            where = f' that begin with {official!r}' if official else ''
            raise ValueError(f'{self.name} {self.split_name}: the split is empty, no ids{where} in {self.data_root}')
        return kept

    def _describe_missing(
        self, kind: str, missing: Sequence[str], num: int, places: Sequence[Place], there: dict[str, str]
    ) -> str:
        place = next((p for p in places if missing[0].startswith(p.layout.prefix)), None)
        if place is None:
            prefixes = ' or '.join(repr(p.layout.prefix) for p in places)
            return f'{self.name} {self.split_name}: ids begin with {prefixes}, unlike {abridge(missing)}'
        folder, suffixes = place.img_dir, place.layout.img_suffixes
        if kind == 'mask':
            folder, suffixes = place.mask_dir, place.layout.mask_suffixes
        counterpart = f' for {there[missing[0]]}' if missing[0] in there else ''
        line = find_line(self.ann_file, missing[0], self.backend_args) if self.ann_file else None
        where = f' (line {line} of {self.ann_file})' if line else ''
        return (
            f'{self.name} {self.split_name}: {len(missing)} of {num} ids have no {kind} in {folder}: '
            f'{abridge(missing)}{where}; expected names ending in {describe_suffixes(suffixes)}{counterpart}'
        )

    def _leave_out_bad(self, infos: list[dict]) -> list[dict]:
        num = len(infos) + sum(map(len, self.skipped.values()))
        pairs = list(zip(infos, inspect_pairs(infos, self.backend_args, skip=True), strict=True))
        faults = [error for _, error in pairs if isinstance(error, BadPairError)]
        for info, error in pairs:
            if isinstance(error, BadPairError):
                self.skipped.setdefault(error.reason, []).append(info['img_id'])
        good = [info for info, pair in pairs if isinstance(pair, InspectedPair)]
        self._inspected = {info['img_path']: pair for info, pair in pairs if isinstance(pair, InspectedPair)}
        counts = '; '.join(f'{len(ids)} {reason} ({abridge(ids)})' for reason, ids in self.skipped.items())
        if not good:
            raise ValueError(f'{self.name} {self.split_name}: no pair is left of {num}: {counts}')
        if self.skipped:
            details = [f'\n  {error}' for error in faults]
            self._warn(f"{num - len(good)} of {num} pairs are skipped (on_bad='skip'): {counts}{''.join(details[:5])}")
        return good

    def _warn(self, message: str) -> None:
        print_log(f'{self.name} {self.split_name}: {message}', logger='current', level=logging.WARNING)

    def _isdir(self, path: str) -> bool:
        return fileio.isdir(path, backend_args=self.backend_args)

    def _join(self, *parts: str) -> str:
        return fileio.join_path(*parts, backend_args=self.backend_args)
