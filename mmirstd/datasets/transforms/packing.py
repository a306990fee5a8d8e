"""Packing of samples for the model."""

from collections.abc import Sequence

import numpy as np
from mmseg.datasets.transforms import PackSegInputs

from mmirstd.registry import TRANSFORMS

META_KEYS = (
    'img_id',
    'img_path',
    'seg_map_path',
    'mask_rule',
    'ori_shape',
    'img_shape',
    'pad_shape',
    'scale_factor',
    'flip',
    'flip_direction',
    'reduce_zero_label',
    'sample_idx',
)


def check_labels(labels: np.ndarray, source: str) -> None:
    """See that a mask (H, W) holds nothing but 0, 1 and 255, which is ignored.

    Raises:
        ValueError: If it does; the message names ``source`` and the labels.
    """
    if ((labels != 0) & (labels != 1) & (labels != 255)).any():
        found = ', '.join(map(str, np.unique(labels)[:10].tolist()))
        raise ValueError(
            f'{source}: labels {found}; a target mask holds 0, 1 and 255 (ignored), as LoadTargetMask reads it'
        )


@TRANSFORMS.register_module()
class PackIRSTDInputs(PackSegInputs):
    """Pack image and mask as MMSegmentation does, with ``img_id`` in the metadata, and check the labels of the mask.

    The check is made here, where the mask is in the memory of a worker, so that no training step waits for the device.

    Args:
        meta_keys: Entries of a sample that become metadata; those that a sample lacks are left out.

    Raises:
        ValueError: If a mask has labels other than 0, 1 and 255; the message names its file.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        super().__init__(tuple(meta_keys))

    def transform(self, results: dict) -> dict:
        """Check the labels and pack."""
        for key in ('gt_seg_map', 'gt_edge_map'):
            if key in results:
                check_labels(results[key], f'{key} of {results.get("seg_map_path") or results.get("img_path")}')
        if min(results['img'].strides) < 0:  # a flipped image of one row or column: contiguous, and PyTorch refuses it
            results['img'] = results['img'].copy()
        return super().transform(results)
