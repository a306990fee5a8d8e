"""Detectors without learning: pure functions from an image, or a sequence, to a map of targets.

Defaults are what the paper says, and where it says nothing, what the public code does. Where the public code departs
from its paper, an option of the function does the same.
"""

from .contrast import tllcm, wslcm
from .detector import DETECTORS, ClassicalDetector
from .filters import max_median, top_hat
from .ipi import ipi
from .mslstipt import mslstipt
from .nram import nram
from .pstnn import pstnn
from .ript import ript
from .thresholds import center_map, map_threshold, normalize_map

__all__ = [
    'DETECTORS',
    'ClassicalDetector',
    'center_map',
    'ipi',
    'map_threshold',
    'max_median',
    'mslstipt',
    'normalize_map',
    'nram',
    'pstnn',
    'ript',
    'tllcm',
    'top_hat',
    'wslcm',
]
