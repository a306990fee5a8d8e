"""Evaluation: pure functions on arrays here and in ``functional``, the metric MMEngine runs in ``metrics``."""

from mmirstd.evaluation.functional.counts import ProtocolCounts, protocol_counts, protocol_figures, sum_protocol_counts
from mmirstd.evaluation.functional.exact import (
    Counts,
    Matches,
    image_counts,
    match_components,
    match_targets,
    sum_counts,
    summarise,
)
from mmirstd.evaluation.functional.matching import match
from mmirstd.evaluation.functional.protocols import PRESETS, Protocol, get_protocol, get_protocols
from mmirstd.ops.components import Components, label_components

__all__ = [
    'PRESETS',
    'Components',
    'Counts',
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
