"""Edges of masks as further labels."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmirstd.datasets.transforms.shown import ShownByArguments
from mmirstd.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CannyEdge(ShownByArguments, BaseTransform):
    """Add ``gt_edge_map``, uint8 (H, W) in {0, 1}: Canny's edges of ``gt_seg_map``, as IRSAM's authors train with.

    It belongs behind all transforms that move pixels. The authors' code takes the edges of the untouched mask and
    interpolates them along with it, so that its edge labels lie between 0 and 1.

    Args:
        low: Lower threshold, of a mask in {0, 255}.
        high: Upper threshold. A mask's smallest gradient is 255, so that any two up to 254 give the same edges.
    """

    def __init__(self, low: float = 100, high: float = 200) -> None:
        if not 0 <= low <= high:
            raise ValueError(f'CannyEdge: the thresholds must be 0 <= low <= high, got {low} and {high}')
        self.low, self.high = low, high

    def transform(self, results: dict) -> dict:
        """Add the edges; what is ignored counts as background."""
        mask = np.uint8(255) * (results['gt_seg_map'] == 1)
        results['gt_edge_map'] = (cv2.Canny(mask, self.low, self.high) > 0).astype(np.uint8)
        return results
