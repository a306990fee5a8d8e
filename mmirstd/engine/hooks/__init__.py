"""Hooks."""

from .collapse_guard import CollapseError, CollapseGuardHook
from .switch_to_deploy import SwitchToDeployHook
from .visualization_hook import IRSTDVisualizationHook

__all__ = ['CollapseError', 'CollapseGuardHook', 'IRSTDVisualizationHook', 'SwitchToDeployHook']
