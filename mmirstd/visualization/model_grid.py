"""One image through several models: a panel each, with what was detected, missed and false."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mmirstd.evaluation.functional.counts import count_image
from mmirstd.evaluation.functional.evaluated_image import EvaluatedImage
from mmirstd.evaluation.functional.protocols import PRESETS
from mmirstd.io.files import figure_pixels
from mmirstd.ops.components import label_components
from mmirstd.visualization.canvas import to_display

COLUMNS = 4


def draw_model_grid(
    image: np.ndarray, mask: np.ndarray, predictions: Mapping[str, np.ndarray], title: str = ''
) -> np.ndarray:
    """Draw the image, its targets, and the prediction of each model, (H', W', 3) uint8 RGB.

    Args:
        image: (H, W) or (H, W, 3) RGB of any real type.
        mask: (H, W), bool or {0, 1}.
        predictions: (H, W) probabilities by the name of the model, cut at 0.5; targets are matched as by ``exact``.
        title: Of the picture.

    Raises:
        ValueError: If there is no prediction, or one is of another size.
    """
    if not predictions:
        raise ValueError('there is no prediction to draw')
    for name, prediction in predictions.items():
        if prediction.shape != mask.shape:
            raise ValueError(f'{name}: the prediction is {prediction.shape}, the mask {mask.shape}')
    shown, rows = to_display(image), math.ceil((len(predictions) + 1) / COLUMNS)
    figure = Figure(figsize=(3 * COLUMNS, 3.25 * rows), dpi=100, layout='constrained')
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    targets = label_components(mask.astype(bool)).boxes.tolist()
    panels[0].imshow(shown, cmap='gray')
    panels[0].set_title(f'image, {len(targets)} target{"s" * (len(targets) != 1)}', fontsize=9)
    for panel, (name, prediction) in zip(panels[1:], predictions.items(), strict=False):
        counts = count_image(EvaluatedImage.from_labels(prediction, mask), PRESETS['exact'])
        panel.imshow(prediction > PRESETS['exact'].threshold, cmap='gray', vmin=0, vmax=1)
        missed = counts.targets - counts.detected
        panel.set_title(f'{name}\n{counts.detected} detected, {missed} missed, {counts.false_components} false',
                        fontsize=8)  # fmt: skip
    for panel in panels:
        panel.axis('off')
    for panel in panels[: len(predictions) + 1]:
        for top, left, bottom, right in targets:
            size = max(bottom - top, right - left) / 2 + 5
            center = (left + right - 1) / 2, (top + bottom - 1) / 2
            panel.add_patch(_circle(center, size))
    figure.suptitle(title, fontsize=10)
    return figure_pixels(figure)


def _circle(center: tuple[float, float], radius: float) -> object:
    from matplotlib.patches import Circle

    return Circle(center, radius, fill=False, edgecolor='limegreen', linewidth=1.0)
