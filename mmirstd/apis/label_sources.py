"""Annotations of any source, brought to their images."""

import json
import os.path as osp
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmirstd.datasets.layout import index_files
from mmirstd.evaluation.analysis.pairing import file_id
from mmirstd.io.annotations import AnnotatedImage, Annotation, AnnotationError, checked_size, finite_numbers
from mmirstd.io.coco import read_coco
from mmirstd.io.ids import SplitFileError, resolve_entries
from mmirstd.io.images import IMAGE_EXTENSIONS, read_header, read_image
from mmirstd.io.masks import DEFAULT_RULE, mask_labels
from mmirstd.io.yolo import read_yolo
from mmirstd.ops.components import label_components
from mmirstd.utils.errors import ArgumentError
from mmirstd.utils.text import abridge

# LabelImg and others write it beside the files of the images.
_CLASSES = 'classes.txt'


@dataclass(frozen=True)
class LabelItem:
    """An image to convert: its id, its file (None without images), and what is annotated in it, by `read`."""

    id: str
    path: str | None
    source: str
    entry: Any

    def read(self) -> AnnotatedImage:
        """Read the annotations; the size is known afterwards.

        Raises:
            ValueError: If a file cannot be read, or does not fit its image; the message names it.
        """
        size = None
        if self.path is not None:
            header = read_header(self.path)
            size = header.height, header.width
        found = self.entry(size)
        if size is not None and found.size not in (None, size):
            raise AnnotationError(
                f'{self.source}: {found.name} is {found.size[0]} x {found.size[1]} (height x width) there, the image '
                f'{self.path} {size[0]} x {size[1]}'
            )
        found.size = found.size or size
        return found


def find_items(source: str | Path, images: str | Path | None) -> tuple[str, list[LabelItem]]:
    """List the images of a source of annotations.

    Args:
        source: A file of COCO, the ``targets.json`` of ``mmirstd infer``, a folder with text files of YOLO, or a folder
            with masks.
        images: Folder of the images. An image without annotations is one of background; only masks and ``targets.json``
            do without the folder, and say themselves which images there are.

    Returns:
        The kind of the source, ``'coco'``, ``'targets'``, ``'yolo'`` or ``'masks'``, and the images in the order of
        their ids.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If the source is of no known kind, or names an image that is not there; the message names it.
    """
    source = str(source)
    kind = _kind(source)
    index = None
    if images is not None:
        if not osp.isdir(images):
            raise FileNotFoundError(f'{images}: no folder of images')
        index = index_files(str(images), ('',), nested=True)
        if not index:
            raise FileNotFoundError(f'{images}: holds no images ({", ".join(IMAGE_EXTENSIONS)})')
    elif kind in ('coco', 'yolo'):
        raise ArgumentError(f'{source}: annotations of {kind.upper()} need the folder of their images: --images DIR')
    if kind == 'masks':
        entries = _unique(_masks(source, index or {}), source)
    else:
        entries = {'coco': _coco, 'targets': _targets, 'yolo': _yolo}[kind](source)
    names = {name.replace('\\', '/').removeprefix('./'): entry for name, entry in entries}
    if index is None:
        return kind, [LabelItem(_stem(name), None, source, names[name]) for name in sorted(names)]
    ids = _resolve(list(names), index, source)
    by_id = dict(zip(ids, names.values(), strict=True))
    if missing := [name for i, name in zip(ids, names, strict=True) if i not in index]:
        raise AnnotationError(f'{source}: {len(missing)} annotated images are not in {images}: {abridge(missing)}')
    if kind in ('masks', 'targets') and (extra := sorted(index.keys() - by_id.keys())):
        raise AnnotationError(f'{source}: {len(extra)} images of {images} have nothing there: {abridge(extra)}')
    return kind, [LabelItem(i, index[i], source, by_id.get(i, _background(i))) for i in sorted(index)]


def source_files(source: str | Path) -> list[str]:
    """The files of a source of annotations, which no output may replace."""
    return [str(f) for f in Path(source).rglob('*') if f.is_file()] if osp.isdir(source) else [str(source)]


def _kind(source: str) -> str:
    if osp.isdir(source):
        files = [f.name for f in Path(source).rglob('*') if not f.name.startswith('.') and f.name != _CLASSES]
        masks, texts = (any(f.lower().endswith(e) for f in files) for e in (IMAGE_EXTENSIONS, '.txt'))
        if masks and texts:
            raise AnnotationError(f'{source}: holds images and text files; give the folder of the labels alone')
        if not (masks or texts):
            raise FileNotFoundError(f'{source}: holds neither masks nor text files of YOLO')
        return 'masks' if masks else 'yolo'
    if not osp.isfile(source):
        raise FileNotFoundError(f'{source}: no such file or folder')
    return 'targets' if isinstance(_reports(source), list) else 'coco'


def _reports(path: str) -> list[dict] | None:
    """The images of a ``targets.json``; None if it is another file."""
    try:
        content = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f'{path}: not JSON ({error})') from error
    found = content.get('images') if isinstance(content, dict) and 'annotations' not in content else None
    is_report = isinstance(found, list) and all(isinstance(i, dict) and 'targets' in i for i in found)
    return found if is_report else None


def _coco(path: str) -> Iterator[tuple[str, Any]]:
    return _unique(((image.name, lambda _, image=image: image) for image in read_coco(path)), path)


def _targets(path: str) -> Iterator[tuple[str, Any]]:
    return _unique(((str(r.get('image')), lambda _, r=r: _from_report(r, path)) for r in _reports(path)), path)


def _from_report(report: dict, path: str) -> AnnotatedImage:
    name = str(report.get('image'))
    found = AnnotatedImage(name, checked_size(report.get('height'), report.get('width'), f'{path}, {name}'))
    for number, target in enumerate(report['targets'], 1):
        where = f'{path}, {name}, target {number}'
        keys = ('top', 'left', 'bottom', 'right', 'score')
        *box, score = finite_numbers([target.get(key) for key in keys], where, ', '.join(keys), 5)
        found.annotations.append(Annotation(where, box=tuple(box), score=score))
    return found


def _yolo(folder: str) -> Iterator[tuple[str, Any]]:
    for path in sorted(Path(folder).rglob('*.txt')):
        if path.name != _CLASSES and not path.name.startswith('.'):
            name = path.relative_to(folder).with_suffix('').as_posix()
            yield name, lambda size, path=path, name=name: AnnotatedImage(name, size, read_yolo(path, size))


def _masks(folder: str, images: Container[str]) -> Iterator[tuple[str, Any]]:
    """Masks by the name of their image: their own, unless it has one of the usual endings, such as ``_pixels0``."""
    for own, path in index_files(folder, ('',), nested=True).items():
        name = own if own in images else file_id(own)
        yield name, lambda _, path=path, name=name: _from_mask(path, name)


def _from_mask(path: str, name: str) -> AnnotatedImage:
    mask = mask_labels(read_image(path), DEFAULT_RULE, path) == 1
    components = label_components(mask)
    labels = components.label_map(mask.shape)
    found = AnnotatedImage(name, mask.shape)
    for number, (top, left, bottom, right) in enumerate(components.boxes.tolist(), 1):
        pixels = labels[top:bottom, left:right] == number
        found.annotations.append(Annotation(f'{path}, target {number}', pixels=((top, left, bottom, right), pixels)))
    return found


def _background(name: str) -> Any:
    return lambda size: AnnotatedImage(name, size)


def _unique(entries: Iterator[tuple[str, Any]], path: str) -> Iterator[tuple[str, Any]]:
    seen = set()
    for name, entry in entries:
        if _stem(name) in seen:
            raise AnnotationError(f'{path}: the image {name} is there twice')
        seen.add(_stem(name))
        yield name, entry


def _stem(name: str) -> str:
    stem, extension = osp.splitext(name)
    return stem if extension.lower() in IMAGE_EXTENSIONS else name


def _resolve(names: Sequence[str], index: dict[str, str], source: str) -> list[str]:
    """Ids of the named images, which may have other folders before them."""
    try:
        return resolve_entries([_stem(name) for name in names], index, source)
    except SplitFileError as error:
        raise AnnotationError(str(error)) from error
