"""Datasets of infrared images and target masks, their published splits, and the transforms of their pipelines."""

from .base import IRSTDDataset
from .folder import FolderDataset
from .irdst import IRDSTDataset
from .irstd1k import IRSTD1kDataset
from .mdfa import MDFADataset
from .nuaa_sirst import NUAASIRSTDataset
from .nudt_sirst import NUDTSIRSTDataset
from .nudt_sirst_sea import NUDTSIRSTSeaDataset
from .sirst_aug import SIRSTAugDataset
from .sirst_v2 import SIRSTv2Dataset
from .synthetic import SyntheticIRSTDDataset
from .synthetic_sequences import SyntheticSequenceDataset
from .views import IndexedViews, WeightedSetsSampler

__all__ = [
    'FolderDataset',
    'IRDSTDataset',
    'IRSTD1kDataset',
    'IRSTDDataset',
    'IndexedViews',
    'MDFADataset',
    'NUAASIRSTDataset',
    'NUDTSIRSTDataset',
    'NUDTSIRSTSeaDataset',
    'SIRSTAugDataset',
    'SIRSTv2Dataset',
    'SyntheticIRSTDDataset',
    'SyntheticSequenceDataset',
    'WeightedSetsSampler',
]
