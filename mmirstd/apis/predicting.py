"""The targets of images by one call, with a model that is there."""

from collections.abc import Sequence

from torch import nn

from mmirstd.apis.inferencer import IRSTDInferencer
from mmirstd.io.inputs import Image, is_single
from mmirstd.ops.components import Connectivity
from mmirstd.ops.detections import Detections


def predict(
    model: nn.Module,
    images: Image | Sequence[Image],
    *,
    threshold: float | None = None,
    connectivity: Connectivity = 8,
    min_area: int = 1,
    batch_size: int = 1,
) -> Detections | list[Detections]:
    """Find the targets in an image, by the same steps as a test does.

    Args:
        model: From :func:`init_model`.
        images: An image, or a list of images: paths of files as :class:`mmirstd.datasets.transforms.LoadIRImage` reads
            them, or arrays, gray (H, W) or BGR (H, W, 3), of any real type. Folders and glob patterns are lists.
        threshold: A pixel is target when its probability is above; by default the model's own.
        connectivity: 4 or 8 neighbors make a target.
        min_area: Targets of fewer pixels are left out.
        batch_size: Number of images, of equal size, that the network sees at once.

    Returns:
        The detections of one image, or a list of them in the order of the images.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file cannot be read; the message names it.
    """
    found = IRSTDInferencer(model, show_progress=False)(
        images, batch_size=batch_size, threshold=threshold, connectivity=connectivity, min_area=min_area
    )['predictions']
    return found[0] if is_single(images) else found
