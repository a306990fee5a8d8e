"""Every field of a checkpoint that a resumed run uses: a wrong one is an error that names it."""

import copy

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler import CosineAnnealingLR, LinearLR
from torch import nn

from mmirstd.checkpoints.fitting import check_average, check_optimizer
from mmirstd.checkpoints.resumable import ResumeFields
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.engine.seeding import check_rng_state
from mmirstd.utils.random_state import rng_state


def parts():
    model = nn.Conv2d(1, 2, 3)
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=0.1))
    schedulers = [LinearLR(wrapper.optimizer, 0.1, end=3), CosineAnnealingLR(wrapper.optimizer, T_max=6)]
    wrapper.update_params(model(torch.ones(1, 1, 3, 3)).sum())
    for scheduler in schedulers:
        scheduler.step()
    return model, wrapper, schedulers


@pytest.fixture
def content():
    model, wrapper, schedulers = parts()
    return {
        'state_dict': model.state_dict(),
        'ema_state_dict': {f'module.{k}': v for k, v in model.state_dict().items()} | {'steps': torch.tensor(3)},
        'meta': {'epoch': 0, 'iter': 3, 'seed': 1, 'rng': [rng_state()], 'outdated': ['iter_2.pth'], 'run_id': 'a'},
        'optimizer': wrapper.state_dict(),
        'param_schedulers': [s.state_dict() for s in schedulers],
        'message_hub': {
            'log_scalars': {'train/loss': HistoryBuffer([1.0], [1])},
            'runtime_info': {
                'best_score': np.float64(0.5), 'best_ckpt': 'run/best.pth', 'last_ckpt': None, 'iter': 3,
                'keep_ckpt_ids': [2, 3], 'loop_stage': 'val',
            },
            'resumed_keys': {'iter': True},
        },
    }  # fmt: skip


def check(content, max_iters=6):
    model, wrapper, schedulers = parts()
    fields = ResumeFields('a.pth')
    meta = fields.meta(content.get('meta'), None, max_iters, ', the end')
    fields.message_hub(content.get('message_hub'))
    for state in meta['rng']:
        check_rng_state(state)
    check_optimizer(content, wrapper, 'a.pth')
    fields.schedulers(content.get('param_schedulers'), schedulers)
    check_average(content, model, 'a.pth')


def test_what_a_run_writes_is_taken(content):
    check(content)
    check(copy.deepcopy(content), max_iters=3)  # a run that is complete
    content['meta'] = {'epoch': 0, 'iter': 3, 'rng': []}  # of an earlier version, without a seed
    check(content)


def change(path, value):
    def apply(content):
        *where, last = path
        for key in where:
            content = content[key]
        if value is KeyError:
            del content[last]
        else:
            content[last] = value
        return content

    return apply


META, HUB, INFO = ('meta',), ('message_hub',), ('message_hub', 'runtime_info')
GROUP, STATE, LINEAR = ('optimizer', 'param_groups', 0), ('optimizer', 'state'), ('param_schedulers', 0)
WRONG = [
    (META, 'text', 'meta is '),
    (META, {1: 2}, 'a key of meta is 1, not a text'),
    ((*META, 'iter'), '3', "meta.iter is '3', not a whole number from 0 to 6, the end"),
    ((*META, 'iter'), -1, 'meta.iter is -1'),
    ((*META, 'iter'), 7, 'meta.iter is 7, not a whole number from 0 to 6, the end'),
    ((*META, 'iter'), 10**30, 'meta.iter is 1000'),
    ((*META, 'iter'), True, 'meta.iter is True'),
    ((*META, 'iter'), KeyError, 'meta.iter is None'),
    ((*META, 'epoch'), 2.5, 'meta.epoch is 2.5'),
    ((*META, 'epoch'), 10**13, 'meta.epoch is 1000'),
    ((*META, 'seed'), -1, 'meta.seed is -1'),
    ((*META, 'seed'), 2**32, 'meta.seed is 4294967296'),
    ((*META, 'rng'), 'text', "meta.rng is 'text', not a list"),
    ((*META, 'outdated'), 'x.pth', "meta.outdated is 'x.pth', not a list"),
    ((*META, 'outdated'), [None], r'meta.outdated\[0\] is None'),
    ((*META, 'run_id'), 5, 'meta.run_id is 5'),
    ((*META, 'dataset_meta'), 'x', "meta.dataset_meta is 'x', not a dict"),
    (HUB, None, 'message_hub is None'),
    ((*HUB, 'log_scalars'), KeyError, 'message_hub.log_scalars is None'),
    ((*HUB, 'log_scalars', 'train/loss'), [1.0], r"log_scalars\['train/loss'\] is \[1.0\], not a HistoryBuffer"),
    ((*HUB, 'resumed_keys', 'iter'), 'yes', r"resumed_keys\['iter'\] is 'yes', not true or false"),
    ((*INFO, 'best_score'), 'high', r"runtime_info\['best_score'\] is 'high', not a number"),
    ((*INFO, 'best_score'), float('nan'), r"runtime_info\['best_score'\] is nan"),
    ((*INFO, 'best_ckpt'), 5, r"runtime_info\['best_ckpt'\] is 5, not a text"),
    ((*INFO, 'last_ckpt'), ['a'], r"runtime_info\['last_ckpt'\] is \['a'\], not a text"),
    ((*INFO, 'keep_ckpt_ids'), 'ab', r"runtime_info\['keep_ckpt_ids'\] is 'ab', not a list"),
    ((*INFO, 'keep_ckpt_ids'), ['/../x'], r"runtime_info\['keep_ckpt_ids'\]\[0\] is '/../x'"),
    ((*INFO, 'iter'), None, r"runtime_info\['iter'\] is None"),
    (('optimizer',), [], r'optimizer is \[\], not a dict'),
    ((*STATE,), 5, 'optimizer.state is 5'),
    ((*STATE, 0), 5, r'optimizer.state\[0\] is 5, not a dict'),
    ((*STATE, 0, 'exp_avg'), 'x', r"optimizer.state\[0\].exp_avg is 'x', not a tensor or number"),
    (
        (*STATE, 0, 'exp_avg'),
        torch.tensor([0.0, float('nan')]),
        r'optimizer.state\[0\].exp_avg is .*, not finite numbers',
    ),
    ((*STATE, 0, 'step'), torch.tensor(float('inf')), r'optimizer.state\[0\].step is tensor\(inf\), not finite'),
    ((*STATE, 0, 'step'), -1, r'optimizer.state\[0\].step is -1, not a number from 0'),
    ((*STATE, 99), {}, r'optimizer.state\[99\] is \{\}, not of a parameter'),
    (('optimizer', 'param_groups'), {}, r'optimizer.param_groups is \{\}, not a list'),
    (GROUP, 5, r'optimizer.param_groups\[0\] is 5'),
    ((*GROUP, 'params'), ['a', 'b'], r"param_groups\[0\].params is \['a', 'b'\]"),
    ((*GROUP, 'lr'), 'high', r"optimizer.param_groups\[0\].lr is 'high', not a finite number"),
    ((*GROUP, 'lr'), float('inf'), r'optimizer.param_groups\[0\].lr is inf'),
    ((*GROUP, 'lr'), KeyError, r"optimizer.param_groups\[0\].lr is 'missing'"),
    ((*GROUP, 'betas'), (0.9, 'x'), r"an entry of optimizer.param_groups\[0\].betas is 'x'"),
    ((*GROUP, 'amsgrad'), 'no', r"amsgrad is 'no', not true or false"),
    (('param_schedulers',), [], 'the number of param_schedulers is 0, not 2 as in the config'),
    (('param_schedulers',), 'text', "param_schedulers is 'text', not a list"),
    (LINEAR, [], r'param_schedulers\[0\] is \[\], not a dict'),
    ((*LINEAR, 'last_step'), -5, r'param_schedulers\[0\].last_step is -5'),
    ((*LINEAR, 'last_step'), 'x', r"param_schedulers\[0\].last_step is 'x'"),
    ((*LINEAR, 'base_values'), KeyError, r"param_schedulers\[0\].base_values is 'missing'"),
    ((*LINEAR, 'base_values'), ['x'], r"an entry of param_schedulers\[0\].base_values is 'x'"),
    ((*LINEAR, '_last_value'), [], r'the length of param_schedulers\[0\]._last_value is 0, not 1'),
    (('ema_state_dict',), [], r'ema_state_dict is \[\], not a dict'),
    (('ema_state_dict', 'module.bias'), 5, r"ema_state_dict\['module.bias'\] is 5, not a tensor"),
]


@pytest.mark.parametrize(('path', 'value', 'message'), WRONG)
def test_a_wrong_field_is_named(path, value, message, content):
    change(path, value)(content)
    with pytest.raises(CheckpointError, match=rf'^cannot resume from a\.pth: .*{message}'):
        check(content)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('_log_history', 'text', "values of message_hub.log_scalars.* is 'text', not an array of numbers"),
        ('_count_history', np.array(['a']), 'counts of message_hub.log_scalars'),
        ('_log_history', np.zeros((2, 2)), 'values of message_hub.log_scalars'),
        ('_log_history', np.zeros(5), 'the length of message_hub.log_scalars.* is 1, not 5'),
        ('max_length', -1, 'max_length of message_hub.log_scalars.* is -1'),
    ],
)
def test_a_broken_history(key, value, message, content):
    vars(content['message_hub']['log_scalars']['train/loss'])[key] = value
    with pytest.raises(CheckpointError, match=message):
        check(content)


@pytest.mark.parametrize(
    ('state', 'generator'),
    [
        ('text', 'python'),
        ({'python': (3, (1, 2), None)}, 'python'),
        (rng_state() | {'python': 7}, 'python'),
        (rng_state() | {'numpy': ('MT19937', [1, 2], 0, 0, 0.0)}, 'numpy'),
        (rng_state() | {'numpy': ('PCG64', np.zeros(624, np.uint32), 0, 0, 0.0)}, 'numpy'),
        (rng_state() | {'torch': torch.zeros(3, dtype=torch.uint8)}, 'torch'),
        (rng_state() | {'torch': 'text'}, 'torch'),
        (rng_state() | {'cuda': 5}, 'cuda'),
    ],
)
def test_broken_generators(state, generator):
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=f'^{generator}'):
        check_rng_state(state)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_value_in_a_message_is_short(content):
    content['meta']['iter'] = ['x' * 10**6] * 1000
    with pytest.raises(CheckpointError) as info:
        check(content)
    assert len(str(info.value)) < 300
