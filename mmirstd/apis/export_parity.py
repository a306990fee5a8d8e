"""Whether an exported file predicts what its model predicts: probabilities and targets, image by image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from mmirstd.apis.exported import ExportedModel
from mmirstd.apis.predicting import predict
from mmirstd.io.images import read_header
from mmirstd.io.inputs import Image, list_images
from mmirstd.io.tables import text_rows
from mmirstd.synthesis.scenes import render_scene, scene_generator
from mmirstd.utils.errors import UserError

# Odd sizes, so that padding has its share.
SCENE_SIZES = ((256, 256), (200, 333), (131, 97))


class ParityError(UserError, ValueError):
    """An exported file predicts something else than its model."""


@dataclass(frozen=True)
class ImageParity:
    """One image by the model and by the exported file.

    Attributes:
        name: Of the image.
        height: In pixels.
        width: In pixels.
        difference: The largest of two probabilities of a pixel.
        changed: Pixels on the other side of the threshold.
        targets: Number of targets that the model finds.
        exported_targets: Number of targets that the exported file finds.
    """

    name: str
    height: int
    width: int
    difference: float
    changed: int
    targets: int
    exported_targets: int


def parity_images(images: Image | Sequence[Image] | None, size: tuple[int, int] | None) -> list[tuple[str, Image]]:
    """Name the images to compare on: those given, or synthetic scenes.

    Args:
        images: Files, folders, glob patterns or arrays; None for synthetic scenes.
        size: Height and width of the scenes; None for several.
    """
    if images is None:
        sizes = [size] * 2 if size else SCENE_SIZES
        scenes = [render_scene(scene_generator(0, 'test', i), s)[0] for i, s in enumerate(sizes)]
        return [(f'synthetic scene {i}', scene) for i, scene in enumerate(scenes)]
    return named_images(images)


def named_images(images: Image | Sequence[Image]) -> list[tuple[str, Image]]:
    """Name and file or array of each image, see :func:`mmirstd.io.inputs.list_images`."""
    return [(i['img_id'], i['img'] if i.get('img') is not None else i['img_path']) for i in list_images(images)]


def refuse_other_sizes(images: Iterable[tuple[str, Image]], size: tuple[int, int]) -> None:
    """See that all images are of the size of an export; of files, only the headers are read.

    Args:
        images: Name and file or array of each.
        size: Height and width.

    Raises:
        ParityError: If an image is of another size; the message names it.
        ValueError: If a file is not a readable image.
    """
    for name, image in images:
        if isinstance(image, np.ndarray):
            height, width = image.shape[:2]
        else:
            name, header = str(image), read_header(str(image))
            height, width = header.height, header.width
        if (height, width) != tuple(size):
            raise ParityError(f'{name} is {height} x {width}: the export is for {size[0]} x {size[1]} alone (--static)')


def compare(
    model: nn.Module, exported: ExportedModel, images: Sequence[tuple[str, Image]], tolerance: float
) -> list[ImageParity]:
    """Compare an exported file with the model it is from.

    The model predicts as ``mmirstd infer`` does. If the file takes batches, an image and its mirror image are one.

    Args:
        model: From :func:`mmirstd.apis.init_model`.
        exported: The file.
        images: Name and file or array of each.
        tolerance: Probabilities may differ by so much.

    Raises:
        ParityError: If they differ by more, or an image is not of the size of the file.
    """
    threshold, found = exported.metadata['threshold'], []
    if size := exported.metadata['input']['size']:
        refuse_other_sizes(images, size)
    for name, image in images:
        expected = predict(model, image, threshold=threshold)
        content = exported.read(image)
        got = exported.predict(image, threshold)
        found.append(
            ImageParity(
                name=name,
                height=content.shape[2],
                width=content.shape[3],
                difference=float(np.abs(got.probability - expected.probability).max()),
                changed=int(np.count_nonzero((got.probability > threshold) != (expected.probability > threshold))),
                targets=len(expected),
                exported_targets=len(got),
            )
        )
        if not size and len(found) == 1:
            batch = exported(np.concatenate([content, content[..., ::-1]]))
            difference = float(np.abs(batch[0, 0] - got.probability).max())
            found.append(ImageParity(f'{name}, in a batch', *content.shape[2:], difference, 0, len(got), len(got)))
    worst = max(found, key=lambda parity: parity.difference)
    if not worst.difference <= tolerance:
        raise ParityError(
            f'{worst.name}: probabilities of the exported file differ by up to {worst.difference:.3g} from those of '
            f'PyTorch, and {tolerance:g} is allowed'
        )
    return found


def parity_table(found: Sequence[ImageParity]) -> str:
    """Lay the comparison out as text."""
    return text_rows(
        [
            {
                'image': Path(p.name).name,
                'size': f'{p.height} x {p.width}',
                'largest difference': f'{p.difference:.2g}',
                'pixels changed': p.changed,
                'targets': p.targets,
                'exported': p.exported_targets,
            }
            for p in found
        ]
    )
