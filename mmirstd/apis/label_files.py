"""Which files converted annotations become."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from mmirstd.apis.label_sources import LabelItem
from mmirstd.apis.label_targets import LocatedTarget, coco_target
from mmirstd.datasets.prepare.writing import Link, OutputFile
from mmirstd.io.coco import coco_dict
from mmirstd.io.tables import json_bytes
from mmirstd.io.yolo import yolo_lines

LabelFormat = Literal['masks', 'coco', 'yolo']


class ConvertedImage(NamedTuple):
    """An image, its (height, width) and targets, a hash of its pixels, and its mask as PNG where one is written."""

    item: LabelItem
    size: tuple[int, int]
    targets: list[LocatedTarget]
    pixels: str
    mask: bytes


def label_files(
    images: Sequence[ConvertedImage],
    to: LabelFormat,
    parts: Mapping[str, Sequence[str]],
    categories: Sequence[str],
    link: Link,
) -> list[OutputFile]:
    """The files of a conversion, see :func:`mmirstd.apis.convert_labels`.

    Args:
        images: In the order of their ids.
        to: What to write.
        parts: Ids of each split; empty without splits.
        categories: Of the targets, in the order of their numbers.
        link: How images get there.
    """
    files = [_lines(f'{part}.txt', ids) for part, ids in parts.items()]
    if to == 'coco':
        return files + _coco_files(images, parts, categories)
    # Numbers of YOLO stay what they are.
    numbered = all(map(str.isdecimal, categories))
    classes = {name: int(name) if numbered else i for i, name in enumerate(categories)}
    for image in images:
        if to == 'masks':
            files.append(OutputFile(f'masks/{image.item.id}.png', content=image.mask))
        else:
            boxes = ((classes[target.annotation.category], target.extent) for target in image.targets)
            files.append(OutputFile(f'labels/{image.item.id}.txt', content=yolo_lines(boxes, image.size).encode()))
        if image.item.path is not None:
            files.append(OutputFile(f'images/{_file_name(image)}', source=Path(image.item.path), link=link))
    if to == 'yolo' and not numbered:
        files.append(_lines('classes.txt', categories))
    return files


def _coco_files(
    images: Sequence[ConvertedImage], parts: Mapping[str, Sequence[str]], categories: Sequence[str]
) -> list[OutputFile]:
    entries = {
        image.item.id: (number, _file_name(image), image.size, [coco_target(t, image.size) for t in image.targets])
        for number, image in enumerate(images, 1)
    }
    sets = {f'annotations/{part}.json': ids for part, ids in parts.items()} or {'annotations.json': list(entries)}
    return [
        OutputFile(name, content=json_bytes(coco_dict((entries[i] for i in ids), categories)))
        for name, ids in sets.items()
    ]


def _lines(name: str, lines: Sequence[str]) -> OutputFile:
    return OutputFile(name, content=''.join(f'{line}\n' for line in lines).encode())


def _file_name(image: ConvertedImage) -> str:
    return image.item.id + ('.png' if image.item.path is None else Path(image.item.path).suffix)
