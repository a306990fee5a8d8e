"""Rendering of synthetic scenes, in the place where files are loaded."""

from mmcv.transforms import BaseTransform

from mmirstd.datasets.transforms.loading import to_channels
from mmirstd.registry import TRANSFORMS
from mmirstd.synthesis.scenes import render_scene, scene_generator


@TRANSFORMS.register_module()
class RenderScene(BaseTransform):
    """Render the scene that a :class:`mmirstd.SyntheticIRSTDDataset` describes.

    Adds ``img``, uint8 (H, W, channels), ``gt_seg_map``, uint8 (H, W) in {0, 1}, ``img_shape``, ``ori_shape``, and
    ``gt_seg_map`` to ``seg_fields``. The scene depends on ``results['scene_seed']`` alone, whoever renders it.

    Args:
        channels: 3 (equal ones) or 1.
    """

    def __init__(self, channels: int = 3) -> None:
        if channels not in (1, 3):
            raise ValueError(f'RenderScene: channels must be 1 or 3, got {channels}')
        self.channels = channels

    def transform(self, results: dict) -> dict:
        """See the class."""
        if 'scene_seed' not in results:
            raise KeyError('RenderScene needs scene_seed, which SyntheticIRSTDDataset gives; files need LoadIRImage')
        image, mask, _ = render_scene(
            scene_generator(*results['scene_seed']), results['scene_size'], results['scene_config']
        )
        results['img'] = to_channels(image, self.channels)
        results['gt_seg_map'] = mask
        results['img_shape'] = results['ori_shape'] = image.shape
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(channels={self.channels})'
