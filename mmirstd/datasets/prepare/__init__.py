"""Checking downloads of the public sets, and preparing them for the dataset classes."""

from .archives import ArchiveLimits
from .errors import ArchiveError, PrepareError, SourceError
from .preparation import PrepareOptions, prepare, prepare_set
from .report import PreparationReport
from .sets import SETS, SetInfo, describe_sets

__all__ = [
    'SETS',
    'ArchiveError',
    'ArchiveLimits',
    'PreparationReport',
    'PrepareError',
    'PrepareOptions',
    'SetInfo',
    'SourceError',
    'describe_sets',
    'prepare',
    'prepare_set',
]
