"""Evaluation: pure functions on arrays, and the metric MMEngine runs."""

from mmirstd.evaluation.counting import ProtocolCounts, protocol_counts, protocol_figures, sum_protocol_counts
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
from mmirstd.evaluation.matching import match
from mmirstd.evaluation.metric import IRSTDMetric
from mmirstd.evaluation.protocol import PRESETS, Protocol, get_protocol, get_protocols

__all__ = [
    'PRESETS',
    'Components',
    'Counts',
    'IRSTDMetric',
    'Matches',
    'Protocol',
    'ProtocolCounts',
    'get_protocol',
    'get_protocols',
    'image_counts',
    'label_components',
    'match',
    'match_components',
    'match_targets',
    'protocol_counts',
    'protocol_figures',
    'sum_counts',
    'sum_protocol_counts',
    'summarise',
]
