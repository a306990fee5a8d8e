from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from mmirstd.engine import CollapseError, CollapseGuardHook
from mmirstd.registry import HOOKS


def feed(hook, probabilities, start=0, **more):
    """Run the hook over iterations, and return the iterations (1-based) at which it warned."""
    warned = []
    for i, p in enumerate(probabilities, start):
        runner = SimpleNamespace(iter=i, logger=mock.Mock())
        outputs = dict(loss=torch.tensor(0.5, requires_grad=True), **more)
        if p is not None:
            outputs['decode.target_prob'] = torch.tensor(p)
        hook.after_train_iter(runner, i, outputs=outputs)
        if runner.logger.warning.called:
            warned.append(i + 1)
            assert f'iteration {i + 1}: the mean predicted' in runner.logger.warning.call_args[0][0]
    return warned


def test_collapse_is_reported_every_interval_after_the_warmup():
    hook = HOOKS.build(dict(type='mmirstd.CollapseGuardHook', interval=10, warmup=25, threshold=0.1))
    assert feed(hook, [0.0] * 50) == [30, 40, 50]


def test_a_living_network_is_left_alone():
    hook = CollapseGuardHook(interval=10, warmup=10, threshold=0.1)
    assert feed(hook, [0.0] * 5 + [0.3] * 45) == []
    # Only the last ten count.
    assert feed(hook, [0.0] * 10, start=50) == [60]


def test_batches_without_targets_do_not_count():
    hook = CollapseGuardHook(interval=10, warmup=10, threshold=0.1)
    assert feed(hook, [None] * 30) == []
    assert feed(hook, [0.5, None, None, None, 0.5] * 10, start=30) == []


def test_the_best_of_several_heads_counts():
    hook = CollapseGuardHook(interval=5, warmup=5, threshold=0.1)
    assert feed(hook, [0.0] * 10, **{'aux.target_prob': torch.tensor(0.4)}) == []


def test_stop():
    hook = CollapseGuardHook(interval=5, warmup=5, threshold=0.1, action='stop')
    with pytest.raises(CollapseError, match=r'iteration 5: .* on target pixels was 0.03 in the last 5 batches'):
        feed(hook, [0.03] * 10)


@pytest.mark.parametrize('value', ['nan', 'inf', '-inf'])
def test_a_loss_that_is_no_number_stops_at_once(value):
    hook = CollapseGuardHook()
    feed(hook, [0.5] * 3)
    with pytest.raises(CollapseError, match=rf'iteration 4: decode.loss_bce={value};'):
        feed(hook, [0.5], start=3, **{'decode.loss_bce': torch.tensor(float(value))})


def test_wrong_action():
    with pytest.raises(ValueError, match="'warn' or 'stop', not 'explode'"):
        CollapseGuardHook(action='explode')
