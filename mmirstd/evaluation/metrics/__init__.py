"""Metrics that MMEngine runs."""

from .held_out_loss import HeldOutLossMetric
from .irstd_metric import IRSTDMetric

__all__ = ['HeldOutLossMetric', 'IRSTDMetric']
