"""The visualizer that MMEngine and MMSegmentation call: a shell around :func:`draw_detections`."""

import mmcv
import numpy as np
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.visualization import SegLocalVisualizer

from mmirstd.io.files import write_png
from mmirstd.ops.components import Connectivity
from mmirstd.ops.samples import probability_map, to_array
from mmirstd.registry import VISUALIZERS
from mmirstd.visualization.detections import draw_detections


@VISUALIZERS.register_module()
class IRSTDVisualizer(SegLocalVisualizer):
    """Draws image, ground truth and prediction with the targets detected (red), missed (blue) and false (yellow).

    Args:
        threshold: None draws `pred_sem_seg`; a number in [0, 1) draws the pixels of `seg_logits` (one channel of
            probabilities) above it. Give `distance`, `connectivity` and this the values the metric has.
        distance: A target is detected by a component whose centroid is nearer than this, in pixels.
        connectivity: 4 or 8 neighbors make a component.
        ignore_index: Label of pixels that do not count.
        panel_size: Length of a panel's long side, in pixels of the picture.
        max_insets: At most so many targets of an image are magnified.
        **kwargs: Of mmseg's visualizer: `vis_backends`, `save_dir`.
    """

    def __init__(
        self,
        name: str = 'visualizer',  # mmengine looks for it in the signature
        *,
        threshold: float | None = None,
        distance: float = 3.0,
        connectivity: Connectivity = 8,
        ignore_index: int = 255,
        panel_size: int = 512,
        max_insets: int = 8,
        **kwargs: object,
    ) -> None:
        super().__init__(name, **kwargs)
        self.threshold = threshold
        self.drawing = {
            'distance': distance,
            'connectivity': connectivity,
            'ignore': ignore_index,
            'panel_size': panel_size,
            'max_insets': max_insets,
        }

    @classmethod
    def get_instance(cls, name: str | None = None, **kwargs: object) -> 'IRSTDVisualizer':
        """Return the visualizer of a name, made if there is none; without a name, a new one.

        MMSegmentation's scripts give no name. One in the config would let a second run draw into the folder of the
        first.
        """
        return super().get_instance(f'visualizer_{len(cls._instance_dict)}' if name is None else name, **kwargs)

    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: SegDataSample | None = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        out_file: str | None = None,
        step: int = 0,
        with_labels: bool | None = None,
        with_image: bool | None = None,
    ) -> None:
        """Draw a sample; show it in a window, write it to `out_file`, or hand it to the backends.

        `image` is (H, W), (H, W, 1) or RGB (H, W, 3), of any real type. Ground truth and prediction are drawn where the
        sample has them. `with_labels` and `with_image`, which mmseg's inferencer passes, have no meaning here.
        """
        gt = _labels(data_sample.get('gt_sem_seg')) if draw_gt and data_sample is not None else None
        pred = self._prediction(name, data_sample) if draw_pred and data_sample is not None else None
        drawn = draw_detections(image, gt, pred, name=name, **self.drawing)
        self.set_image(drawn)
        if show:
            self.show(drawn, win_name=name, wait_time=wait_time)
        if out_file is None:
            self.add_image(name, drawn, step)
        elif out_file.lower().endswith('.png'):
            write_png(out_file, drawn, 'rgb', flush=False)
        else:  # mmseg's inferencer keeps the extension of the image
            mmcv.imwrite(mmcv.rgb2bgr(drawn), out_file)

    def _prediction(self, name: str, data_sample: SegDataSample) -> np.ndarray | None:
        if self.threshold is None:
            return _labels(data_sample.get('pred_sem_seg'))
        if data_sample.get('seg_logits') is None:
            return None
        return probability_map(data_sample, name) > self.threshold


def _labels(pixels: PixelData | None) -> np.ndarray | None:
    return None if pixels is None else to_array(pixels.data[0])
