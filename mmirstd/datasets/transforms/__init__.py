"""Transforms that load infrared images and masks, and that keep tiny targets in training."""

from .copy_paste import CopyPasteTargets
from .loading import LoadIRImage, LoadTargetMask
from .photometric import InfraredPhotometric
from .render import RenderScene
from .resize import AlignedResize
from .target_crop import TargetAwareCrop

__all__ = [
    'AlignedResize',
    'CopyPasteTargets',
    'InfraredPhotometric',
    'LoadIRImage',
    'LoadTargetMask',
    'RenderScene',
    'TargetAwareCrop',
]
