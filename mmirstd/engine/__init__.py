"""Runner, optimizer wrapper and hooks."""

from .hooks import (
    ChannelsLastHook,
    CollapseError,
    CollapseGuardHook,
    FiniteLossHook,
    IRSTDVisualizationHook,
    ProvenanceHook,
    ResumableCheckpointHook,
    SavePredictionsHook,
    StudentExportHook,
    SwitchToDeployHook,
    ValidationCurveHook,
)
from .optim_wrapper import CPUAmpOptimWrapper, gpu_amp_optim_wrapper
from .parts_optim_wrapper import PartsError, PartsOptimWrapperConstructor
from .runner import StrictRunner
from .sharded import ShardedOptimWrapper, ShardedStrategy, StrictFlexibleRunner

__all__ = [
    'CPUAmpOptimWrapper',
    'ChannelsLastHook',
    'CollapseError',
    'CollapseGuardHook',
    'FiniteLossHook',
    'IRSTDVisualizationHook',
    'PartsError',
    'PartsOptimWrapperConstructor',
    'ProvenanceHook',
    'ResumableCheckpointHook',
    'SavePredictionsHook',
    'ShardedOptimWrapper',
    'ShardedStrategy',
    'StrictFlexibleRunner',
    'StrictRunner',
    'StudentExportHook',
    'SwitchToDeployHook',
    'ValidationCurveHook',
    'gpu_amp_optim_wrapper',
]
