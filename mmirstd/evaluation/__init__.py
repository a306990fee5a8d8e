"""Evaluation: pure functions on arrays here and in ``functional``, the metric MMEngine runs in ``metrics``."""

from mmirstd.evaluation.functional.counts import Counts, image_counts, protocol_counts, sum_counts
from mmirstd.evaluation.functional.evaluated_image import match_targets
from mmirstd.evaluation.functional.intervals import bootstrap_differences, bootstrap_intervals
from mmirstd.evaluation.functional.matching import Matches, match_components
from mmirstd.evaluation.functional.metrics import compute_metrics
from mmirstd.evaluation.functional.protocols import PRESETS, Protocol, get_protocol, get_protocols
from mmirstd.ops.components import Components, label_components

__all__ = [
    'PRESETS',
    'Components',
    'Counts',
    'Matches',
    'Protocol',
    'bootstrap_differences',
    'bootstrap_intervals',
    'compute_metrics',
    'get_protocol',
    'get_protocols',
    'image_counts',
    'label_components',
    'match_components',
    'match_targets',
    'protocol_counts',
    'sum_counts',
]
