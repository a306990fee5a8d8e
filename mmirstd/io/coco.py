"""Annotations of COCO: one JSON file with images, annotations and categories."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmirstd.io.annotations import AnnotatedImage, Annotation, AnnotationError, checked_size, finite_numbers
from mmirstd.utils.errors import MissingExtraError


def read_coco(path: str | Path) -> list[AnnotatedImage]:
    """Read a file of COCO. A segmentation counts before a box, and a box before keypoints.

    A box without an extent is a point. Each visible keypoint is one, too.

    Args:
        path: JSON file.

    Returns:
        All its images, in order. Names are ``file_name`` as it stands, with its extension.

    Raises:
        AnnotationError: If the file is no such file, or a value is wrong; the message names file, annotation and value.
    """
    path = str(path)
    try:
        content = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f'{path}: not JSON ({error})') from error
    if not isinstance(content, dict) or not {'images', 'annotations'} <= content.keys():
        raise AnnotationError(f"{path}: no file of COCO: it has no lists 'images' and 'annotations'")
    names = {c['id']: c['name'] for c in _entries(content, 'categories', ('id', 'name'), path)}
    images: dict[Any, AnnotatedImage] = {}
    for image in _entries(content, 'images', ('id', 'file_name', 'height', 'width'), path):
        where = f'{path}, image {image["id"]!r}'
        if not isinstance(image['file_name'], str) or not image['file_name']:
            raise AnnotationError(f'{where}: file_name {image["file_name"]!r} is no name')
        if image['id'] in images:
            raise AnnotationError(f'{where}: the id is there twice')
        images[image['id']] = AnnotatedImage(image['file_name'], checked_size(image['height'], image['width'], where))
    for number, entry in enumerate(_entries(content, 'annotations', ('image_id',), path)):
        where = f'{path}, annotation {entry.get("id", f"number {number}")!r}'
        if entry['image_id'] not in images:
            raise AnnotationError(f'{where}: image_id {entry["image_id"]!r} is that of no image')
        image = images[entry['image_id']]
        category = entry.get('category_id')
        if category is not None and names and category not in names:
            raise AnnotationError(f'{where}: category_id {category!r} is that of no category')
        common = {
            'where': f'{where} ({image.name})',
            'category': str(names.get(category, 'target' if category is None else category)),
            'score': None if entry.get('score') is None else finite_numbers([entry['score']], where, 'score', 1)[0],
        }
        image.annotations += [Annotation(**common, **shape) for shape in _shapes(entry, image.size, common['where'])]
    return list(images.values())


def coco_dict(
    images: Iterable[tuple[int, str, tuple[int, int], Sequence[Mapping[str, Any]]]], categories: Sequence[str]
) -> dict[str, Any]:
    """Images and their targets as a file of COCO holds them; ids begin with 1.

    Args:
        images: (id, file name, (height, width), targets). A target has `box` (top, left, bottom, right), `area` in
            pixels and `category`, and may have `score` and `rle`, the encoding of its pixels.
        categories: Their names.
    """
    content: dict[str, Any] = {'images': [], 'annotations': []}
    numbers = {name: i for i, name in enumerate(categories, 1)}
    content['categories'] = [{'id': i, 'name': name} for name, i in numbers.items()]
    for image_id, name, (height, width), targets in images:
        content['images'].append({'id': image_id, 'file_name': name, 'height': height, 'width': width})
        for target in targets:
            top, left, bottom, right = target['box']
            entry = {
                'id': len(content['annotations']) + 1,
                'image_id': image_id,
                'category_id': numbers[target['category']],
                'bbox': [left, top, right - left, bottom - top],
                'area': target['area'],
                'iscrowd': 0,
            }
            if target.get('rle') is not None:
                entry['segmentation'] = target['rle']
            if target.get('score') is not None:
                entry['score'] = target['score']
            content['annotations'].append(entry)
    return content


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """Encode a mask (H, W) bool as COCO's compressed run lengths, as JSON holds them.

    Raises:
        MissingExtraError: If the package `pycocotools` is not installed.
    """
    rle = _coco_mask().encode(np.asfortranarray(mask, dtype=np.uint8))
    return {'size': [int(side) for side in rle['size']], 'counts': rle['counts'].decode('ascii')}


def decode_rle(rle: Mapping[str, Any], size: tuple[int, int], where: str) -> np.ndarray:
    """Decode COCO's run lengths, compressed or listed, to a mask (H, W) bool.

    Raises:
        AnnotationError: If they are damaged, or of another size; the message names them.
    """
    stated, runs = rle.get('size'), rle.get('counts')
    if list(size) != stated:
        raise AnnotationError(f'{where}: the segmentation is of size {stated!r}, the image of {list(size)}')
    if isinstance(runs, (str, bytes)):
        # Not by pycocotools: it writes wherever damaged runs lead.
        runs = _decompress(runs.encode(errors='replace') if isinstance(runs, str) else runs)
    else:
        runs = finite_numbers(runs, where, 'the counts of the segmentation')
    if any(run < 0 or run % 1 for run in runs) or sum(runs) != size[0] * size[1]:
        raise AnnotationError(f'{where}: the counts of the segmentation do not add up to {size[0]} x {size[1]}')
    values = np.repeat(np.arange(len(runs)) % 2 == 1, np.asarray(runs, np.int64))
    return values.reshape(size[::-1]).T


def fill_polygons(polygons: Iterable[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Fill polygons, (K, 2) float (x, y) each, as pycocotools does; return their union (H, W) bool.

    Raises:
        MissingExtraError: If the package `pycocotools` is not installed.
    """
    tools = _coco_mask()
    encoded = tools.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *size)
    return decode_rle(tools.merge(encoded), size, 'polygons')


def _coco_mask() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingExtraError('polygons and run lengths of COCO need', 'labels', error) from error
    return mask


def _decompress(counts: bytes) -> list[int]:
    """Compressed run lengths as numbers; a single -1 if they are damaged.

    A number is its 5-bit groups, lowest first, each with 48 added; bit 5 says that another follows, and bit 4 of the
    last is the sign. From the fourth number on, the difference to the number two before is stored.
    """
    runs: list[int] = []
    value = shift = 0
    for byte in counts:
        group = byte - 48
        if not 0 <= group < 64 or shift > 30:
            return [-1]
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        value -= (1 << shift) if group & 16 else 0
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return [-1] if shift else runs


def _entries(content: Mapping[str, Any], key: str, needed: Sequence[str], path: str) -> list[dict[str, Any]]:
    entries = content.get(key, [])
    if not isinstance(entries, list):
        raise AnnotationError(f'{path}: {key} is no list')
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or (missing := [k for k in needed if k not in entry]):
            lacks = f'lacks {missing[0]!r}' if isinstance(entry, dict) else f'is {type(entry).__name__}'
            raise AnnotationError(f'{path}: {key}[{number}] {lacks}')
        for k in ('id', 'image_id', 'category_id'):
            if not isinstance(entry.get(k, 0), (int, str, type(None))):
                raise AnnotationError(f'{path}: {key}[{number}] has the {k} {entry[k]!r}')
    return entries


def _shapes(entry: Mapping[str, Any], size: tuple[int, int], where: str) -> list[dict[str, Any]]:
    if isinstance(rle := entry.get('segmentation'), dict) and rle:
        return [{'rle': rle}]
    if rle:
        if not isinstance(rle, list):
            raise AnnotationError(f'{where}: segmentation is {type(rle).__name__}')
        return [{'polygons': tuple(_polygon(p, where) for p in rle)}]
    if entry.get('bbox'):
        left, top, width, height = finite_numbers(entry['bbox'], where, 'bbox', 4)
        if width < 0 or height < 0:
            raise AnnotationError(f'{where}: a side of bbox [left, top, width, height] is negative: {entry["bbox"]}')
        if width == height == 0:
            return [{'point': (top, left)}]
        return [{'box': (top, left, top + height, left + width)}]
    if entry.get('keypoints'):
        values = finite_numbers(entry['keypoints'], where, 'keypoints')
        if len(values) % 3:
            raise AnnotationError(f'{where}: keypoints are x, y and visibility each, got {len(values)} numbers')
        points = [{'point': (y, x)} for x, y, v in zip(values[::3], values[1::3], values[2::3], strict=True) if v > 0]
        if points:
            return points
    raise AnnotationError(f'{where}: neither segmentation, bbox nor keypoints say where the target is')


def _polygon(values: Any, where: str) -> np.ndarray:
    numbers = finite_numbers(values, where, 'a polygon')
    if len(numbers) < 6 or len(numbers) % 2:
        raise AnnotationError(f'{where}: a polygon has at least 3 points of 2 numbers, got {len(numbers)} numbers')
    return np.array(numbers).reshape(-1, 2)
