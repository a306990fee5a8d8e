"""Evaluation: pure functions on arrays, and the metric MMEngine runs."""

from mmirstd.evaluation.functional import (
    Components,
    Counts,
    Matches,
    image_counts,
    label_components,
    match_components,
    match_targets,
    sum_counts,
    summarise,
)
from mmirstd.evaluation.metric import IRSTDMetric

__all__ = [
    'Components',
    'Counts',
    'IRSTDMetric',
    'Matches',
    'image_counts',
    'label_components',
    'match_components',
    'match_targets',
    'sum_counts',
    'summarise',
]
