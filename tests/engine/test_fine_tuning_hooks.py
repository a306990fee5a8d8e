"""Hooks that keep a training near its start."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
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
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=rate))
    return SimpleNamespace(model=model, optim_wrapper=wrapper, _resume=False)


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


def test_weights_are_pulled_once_a_step():
    """Four iterations are one step of the first part, and two of the second; the last iteration is one of both."""
    model = nn.ModuleList([nn.Linear(3, 2), nn.Linear(2, 1)])
    start = copy.deepcopy(model.state_dict())
    counts = {'first': 4, 'second': 2}
    wrappers = {
        name: OptimWrapper(torch.optim.SGD(part.parameters(), lr=0.1), accumulative_counts=counts[name])
        for part, name in zip(model, counts, strict=True)
    }
    for wrapper in wrappers.values():
        wrapper.initialize_count_status(model, 0, 5)
    parts = SimpleNamespace(model=model, optim_wrapper=OptimWrapperDict(**wrappers), _resume=False)
    whole = SimpleNamespace(model=model[0], optim_wrapper=wrappers['first'], _resume=False)
    hooks = [(StartingPointDecayHook(decay=2.0), runner) for runner in (parts, whole)]
    for hook, runner in hooks:
        hook.before_train(runner)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 1.0
    for i in range(5):
        for name, part in zip(wrappers, model, strict=True):
            wrappers[name].update_params(sum(p.sum() for p in part.parameters()) * 0)
        for hook, runner in hooks:
            hook.after_train_iter(runner, i)
        for key, value in model.state_dict().items():
            # Both hooks pull the first part.
            pulls = 2 * ((i + 1) // 4 + (i == 4)) if key.startswith('0') else (i + 1) // 2 + (i == 4)
            torch.testing.assert_close(value, start[key] + 0.8**pulls)


def test_only_batch_norms_are_frozen():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout()).train()
    FrozenStatisticsHook().before_train_iter(SimpleNamespace(model=model), 0)
    assert [module.training for module in model] == [True, False, True]
