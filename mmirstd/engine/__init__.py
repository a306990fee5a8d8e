"""Runner, optimizer wrapper and hooks."""

from .hooks import CollapseError, CollapseGuardHook, IRSTDVisualizationHook, SwitchToDeployHook
from .optim_wrapper import CPUAmpOptimWrapper
from .runner import StrictRunner

__all__ = [
    'CPUAmpOptimWrapper',
    'CollapseError',
    'CollapseGuardHook',
    'IRSTDVisualizationHook',
    'StrictRunner',
    'SwitchToDeployHook',
]
