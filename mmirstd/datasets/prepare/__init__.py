"""Checking downloads of the public sets, and preparing them for the dataset classes."""

from .archives import ArchiveError, Limits
from .layouts import SourceError
from .preparation import Options, prepare
from .report import Report, check_report_folder
from .sets import SETS, SetInfo, describe_sets
from .writing import ConflictError

__all__ = [
    'SETS',
    'ArchiveError',
    'ConflictError',
    'Limits',
    'Options',
    'Report',
    'SetInfo',
    'SourceError',
    'check_report_folder',
    'describe_sets',
    'prepare',
]
