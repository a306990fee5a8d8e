"""The mean loss on held-out images."""

import math

import pytest

from mmirstd.evaluation.metrics import HeldOutLossMetric
from mmirstd.evaluation.metrics.held_out_loss import NonFiniteLossError


def samples(*losses):
    return [{'distill_losses': loss, 'img_path': f'{i}.png'} for i, loss in enumerate(losses)]


def test_losses_are_averaged_over_samples_and_added():
    metric = HeldOutLossMetric()
    metric.process(None, samples({'map0.loss_mse': 1.0, 'map1.loss_mse': 2.0}))
    metric.process(None, samples({'map0.loss_mse': 3.0, 'map1.loss_mse': 5.0}))
    found = metric.evaluate(2)
    assert found == {'held_out_loss': 5.5, 'held_out/map0.loss_mse': 2.0, 'held_out/map1.loss_mse': 3.5}
    assert metric.directions() == {'held_out_loss': 'less'}
    assert HeldOutLossMetric(prefix='a').directions() == {'a/held_out_loss': 'less'}


def test_what_is_no_loss_is_refused():
    metric = HeldOutLossMetric()
    with pytest.raises(ValueError, match='a sample without distill_losses'):
        metric.process(None, [{'img_path': 'a.png'}])
    for value in (math.nan, math.inf):
        with pytest.raises(NonFiniteLossError, match=r'0\.png: loss_b is not finite'):
            metric.process(None, samples({'loss_a': 1.0, 'loss_b': value}))
