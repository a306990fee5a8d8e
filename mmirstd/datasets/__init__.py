"""Datasets of infrared images and target masks, their published splits, and the transforms of their pipelines."""

from .base import IRSTDDataset
from .folder import FolderDataset
from .irstd1k import IRSTD1kDataset
from .nuaa_sirst import NUAASIRSTDataset
from .nudt_sirst import NUDTSIRSTDataset
from .synthetic import SyntheticIRSTDDataset

__all__ = [
    'FolderDataset',
    'IRSTD1kDataset',
    'IRSTDDataset',
    'NUAASIRSTDataset',
    'NUDTSIRSTDataset',
    'SyntheticIRSTDDataset',
]
