"""Hooks that keep a training near its start."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmirstd.apis import train
from mmirstd.engine.hooks import FrozenStatisticsHook, StartingPointDecayHook

HOOKS = """
custom_hooks = [
    dict(type='mmirstd.ValidateFirstHook'),
    dict(type='mmirstd.FrozenStatisticsHook'),
    dict(type='mmirstd.StartingPointDecayHook', decay=1e-4),
]
"""


def test_the_start_is_validated_and_statistics_stay(tiny_config, tiny_checkpoint, tmp_path):
    config = tiny_config(HOOKS)
    options = {'load_from': str(tiny_checkpoint), 'optim_wrapper.optimizer.lr': 1.0}  # worse than any start
    result = train(config, work_dir=tmp_path / 'run', cfg_options=options)
    assert result.best.endswith('best_IoU_iter_0.pth')
    start = torch.load(tiny_checkpoint, weights_only=True)['state_dict']
    best, last = (torch.load(path, weights_only=False) for path in (result.best, result.last))
    assert last['meta']['iter'] == 6
    for name, value in start.items():
        assert torch.equal(best['state_dict'][name], value), name
        if 'running' in name:
            assert torch.equal(last['state_dict'][name], value), name
    assert not torch.equal(last['state_dict']['decode_head.conv_seg.weight'], start['decode_head.conv_seg.weight'])
    assert last['starting_point'].keys() == {name for name, _ in result_parameters(start)}


def result_parameters(state):
    return [(name, value) for name, value in state.items() if 'running' not in name and 'num_batches' not in name]


def test_a_resumed_run_has_the_start_of_the_first(tiny_config, tiny_checkpoint, tmp_path):
    config = tiny_config(HOOKS)
    whole = train(config, work_dir=tmp_path / 'whole', cfg_options={'load_from': str(tiny_checkpoint)})
    halves = dict(work_dir=tmp_path / 'halves')
    train(config, cfg_options={'load_from': str(tiny_checkpoint), 'train_cfg.max_iters': 3}, **halves)
    resumed = train(config, resume=True, **halves)
    expected, got = (torch.load(run.last, weights_only=False) for run in (whole, resumed))
    for key in ('state_dict', 'starting_point'):
        for name, value in expected[key].items():
            torch.testing.assert_close(got[key][name], value, msg=name)


def fake_runner(model, rate):
    groups = [dict(params=[p], lr=rate) for p in model.parameters()]
    return SimpleNamespace(model=model, optim_wrapper=SimpleNamespace(param_groups=groups), _resume=False)


def test_weights_are_pulled_to_the_start():
    model = nn.Linear(3, 2)
    start = copy.deepcopy(model.state_dict())
    runner, hook = fake_runner(model, 0.1), StartingPointDecayHook(decay=2.0)
    hook.before_train(runner)
    with torch.no_grad():
        model.weight += 1.0
    hook.after_train_iter(runner, 0)
    torch.testing.assert_close(model.weight.detach(), start['weight'] + 0.8)
    torch.testing.assert_close(model.bias.detach(), start['bias'])
    StartingPointDecayHook(decay=2.0).before_train(runner)  # of another run: nothing is shared
    runner.optim_wrapper.param_groups[0]['lr'] = 10.0
    hook.after_train_iter(runner, 1)
    torch.testing.assert_close(model.weight.detach(), start['weight'])  # no further than the start
    with pytest.raises(ValueError, match='decay must not be negative, got -1'):
        StartingPointDecayHook(decay=-1)


def test_only_batch_norms_are_frozen():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout()).train()
    FrozenStatisticsHook().before_train_iter(SimpleNamespace(model=model), 0)
    assert [module.training for module in model] == [True, False, True]
