"""Runner, optimizer wrapper and hooks."""

from .hooks import (
    ChannelsLastHook,
    CollapseError,
    CollapseGuardHook,
    FiniteLossHook,
    FrozenStatisticsHook,
    IRSTDVisualizationHook,
    ProvenanceHook,
    ResumableCheckpointHook,
    SavePredictionsHook,
    StartingPointDecayHook,
    StudentExportHook,
    SwitchToDeployHook,
    ValidateFirstHook,
    ValidationCurveHook,
)
from .optim_wrapper import CPUAmpOptimWrapper, gpu_amp_optim_wrapper
from .optimizers import MuonAdamW
from .parts_optim_wrapper import PartsError, PartsOptimWrapperConstructor
from .runner import StrictRunner
from .sharded import ShardedOptimWrapper, ShardedStrategy, StrictFlexibleRunner

__all__ = [
    'CPUAmpOptimWrapper',
    'ChannelsLastHook',
    'CollapseError',
    'CollapseGuardHook',
    'FiniteLossHook',
    'FrozenStatisticsHook',
    'IRSTDVisualizationHook',
    'MuonAdamW',
    'PartsError',
    'PartsOptimWrapperConstructor',
    'ProvenanceHook',
    'ResumableCheckpointHook',
    'SavePredictionsHook',
    'ShardedOptimWrapper',
    'ShardedStrategy',
    'StartingPointDecayHook',
    'StrictFlexibleRunner',
    'StrictRunner',
    'StudentExportHook',
    'SwitchToDeployHook',
    'ValidateFirstHook',
    'ValidationCurveHook',
    'gpu_amp_optim_wrapper',
]
