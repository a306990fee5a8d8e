"""Hooks."""

from mmirstd.engine.hooks.provenance_hook import ProvenanceHook

from .channels_last import ChannelsLastHook
from .collapse_guard import CollapseError, CollapseGuardHook, FiniteLossHook
from .fine_tuning import FrozenStatisticsHook, StartingPointDecayHook, ValidateFirstHook
from .prediction_hook import SavePredictionsHook
from .resumable_checkpoint import ResumableCheckpointHook
from .student_export import StudentExportHook
from .switch_to_deploy import SwitchToDeployHook
from .validation_curve import ValidationCurveHook
from .visualization_hook import IRSTDVisualizationHook

__all__ = [
    'ChannelsLastHook',
    'CollapseError',
    'CollapseGuardHook',
    'FiniteLossHook',
    'FrozenStatisticsHook',
    'IRSTDVisualizationHook',
    'ProvenanceHook',
    'ResumableCheckpointHook',
    'SavePredictionsHook',
    'StartingPointDecayHook',
    'StudentExportHook',
    'SwitchToDeployHook',
    'ValidateFirstHook',
    'ValidationCurveHook',
]
