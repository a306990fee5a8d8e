"""Transforms that load infrared images and masks, and that keep tiny targets in training."""

from .copy_paste import CopyPasteTargets
from .edge import CannyEdge
from .loading import LoadIRImage, LoadTargetMask
from .packing import PackIRSTDInputs
from .photometric import InfraredPhotometric
from .resize import AlignedResize
from .target_crop import TargetAwareCrop
from .wpmd import WPMD

__all__ = [
    'WPMD',
    'AlignedResize',
    'CannyEdge',
    'CopyPasteTargets',
    'InfraredPhotometric',
    'LoadIRImage',
    'LoadTargetMask',
    'PackIRSTDInputs',
    'TargetAwareCrop',
]
