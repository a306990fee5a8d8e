"""A model whose parts have optimizers of their own: config checks, building, resuming, mixed precision, fine-tuning."""

import itertools
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmirstd.apis.training import use_amp
from mmirstd.checkpoints.loading import load_file
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.engine import CPUAmpOptimWrapper, PartsError, PartsOptimWrapperConstructor
from mmirstd.engine.config_checks import ConfigValueError, check_training
from mmirstd.engine.resuming import config_differences
from mmirstd.engine.value_checks import check_values
from mmirstd.registry import RUNNERS

sys.path.insert(0, str(Path(__file__).parent))
from kill_and_resume import differences

ADVERSARIAL = """
augment = [dict(type='RandomFlip', prob=0.5)]
train_dataloader.update(dataset=dict(**dataset | dict(pipeline=[*pipeline[:2], *augment, pipeline[2]])))
branch = dict(type='mmirstd.ContextAggregation', in_channels=3, channels=(4, 4), dilations=(1, 2), skips=False)
data_loss = dict(type='mmirstd.MissFalseAlarmLoss', miss_weight=10.0, loss_weight=10.0)
model = dict(
    type='mmirstd.AdversarialSegmentor',
    data_preprocessor=model['data_preprocessor'],
    backbone=dict(type='mmirstd.ParallelBackbones', branches=[branch, branch]),
    decode_head=dict(
        type='mmirstd.ClampedHeads', in_channels=[4, 4], kernel_sizes=(1, 1), loss_decode=[data_loss, data_loss]
    ),
    discriminator=dict(type='mmirstd.MaskDiscriminator', in_channels=4, channels=4, pooled_size=8),
    loss_adversarial=dict(type='mmirstd.ClassAdversarialLoss', loss_weight=10.0),
    loss_matching=dict(type='mmirstd.FeatureMatchingLoss'),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
optimizer = dict(optimizer=dict(type='Adam', lr=0.01, betas=(0.5, 0.999)))
optim_wrapper = dict(
    constructor='mmirstd.PartsOptimWrapperConstructor',
    discriminator=optimizer, generator1=optimizer, generator2=optimizer,
)
default_hooks.update(visualization=dict(draw=False), checkpoint=dict(interval=2, max_keep_ckpts=-1))
custom_hooks = [
    dict(type='mmirstd.CollapseGuardHook'),
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.01, gamma=8, update_buffers=True),
]
"""


@pytest.fixture
def config(tiny_config):
    """The tiny config with generators and a discriminator, and with changes."""

    def changed(extra='', **options):
        cfg = Config.fromfile(tiny_config(ADVERSARIAL + extra))
        cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
        return cfg

    return changed


@pytest.fixture
def make(config, tmp_path):
    """Build a runner; each has a name of its own."""
    names = (f'{tmp_path.name}{i}' for i in itertools.count())

    def build(extra='', work_dir='run', **changes):
        return RUNNERS.build(config(extra, work_dir=str(tmp_path / work_dir), experiment_name=next(names), **changes))

    return build


def test_a_resumed_run_ends_with_the_same_bits(make, tmp_path):
    make(work_dir='whole').train()
    torch.rand(5)  # the process is somewhere else
    make(work_dir='resumed', load_from=str(tmp_path / 'whole/iter_4.pth'), resume=True).train()
    one, other = (load_file(tmp_path / run / 'iter_6.pth') for run in ('whole', 'resumed'))
    assert set(one['optimizer']) == set(one['param_schedulers']) == {'discriminator', 'generator1', 'generator2'}
    for key in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        assert not differences(one[key], other[key])
    assert one['message_hub']['log_scalars'].keys() >= {'train/generator1.loss_mdfa', 'train/discriminator.loss'}


def test_a_checkpoint_of_other_optimizers_is_refused(make, tmp_path):
    make(work_dir='whole').train()
    source = tmp_path / 'whole/iter_4.pth'
    content = load_file(source)
    content['optimizer']['generator3'] = content['optimizer'].pop('generator2')
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(
        CheckpointError, match='it has the optimizers discriminator, generator1, generator3, the config'
    ):
        make(work_dir='a', load_from=str(tmp_path / 'other.pth'), resume=True).train()
    content = load_file(source)
    content['optimizer']['generator2']['param_groups'][0]['params'].pop()
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r'other\.pth \(generator2\): its optimizer has .* parameters'):
        make(work_dir='b', load_from=str(tmp_path / 'other.pth'), resume=True).train()
    with pytest.raises(ConfigValueError, match='several optimizers, which are resumed whole only'):
        make(work_dir='c', load_from=str(source), resume=True, resume_anew=['schedule']).train()


def test_what_a_resumed_run_takes_is_said_of_each_part():
    old = {'optim_wrapper': {'constructor': 'a', 'generator1': {'optimizer': {'lr': 0.1}, 'clip_grad': None}}}
    new = {'optim_wrapper': {'constructor': 'a', 'generator1': {'optimizer': {'lr': 0.2}, 'clip_grad': {}}}}
    counts = {d.key: d.counts for d in config_differences(old, new)}
    assert counts == {
        'optim_wrapper.generator1.optimizer.lr': 'checkpoint',
        'optim_wrapper.generator1.clip_grad': 'config',
    }


def check_everything(cfg):
    check_values(cfg)
    check_training(cfg)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('generator2.optimizer.lr', -1, r'^optim_wrapper\.generator2\.optimizer\.lr=-1: must be a finite number'),
        ('generator1.accumulative_counts', 0, r'^optim_wrapper\.generator1\.accumulative_counts=0'),
        ('discriminator.optimizer.betaz', 3, r'^optim_wrapper\.discriminator\.optimizer\.betaz: .*mean betas\?'),
        ('generator1.optimizer.type', 'Addam', r"^optim_wrapper\.generator1\.optimizer\.type='Addam': there is no"),
        ('generator1', dict(_delete_=True, type='OptimWrapper'), r'^optim_wrapper\.generator1\.optimizer=None: must'),
    ],
)
def test_each_optimizer_is_checked_by_key(config, key, value, message):
    cfg = config()
    cfg.merge_from_dict({f'optim_wrapper.{key}': value})
    with pytest.raises(ConfigValueError, match=message):
        check_everything(cfg)


def test_several_processes_are_refused(config):
    check_training(config())
    with pytest.raises(ConfigValueError, match=r"^launcher='pytorch': a model with several optimizers trains in one"):
        check_training(config(launcher='pytorch'))
    with pytest.raises(ConfigValueError, match=r'^strategy: a model with several optimizers'):
        check_training(config(strategy=dict(type='mmirstd.ShardedStrategy')))


def test_optimizers_are_those_of_the_parts(make, tiny_config):
    wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
    model = make().model
    built = PartsOptimWrapperConstructor(dict.fromkeys(model.trained_parts(), wrapper))(model)
    assert sum(len(w.optimizer.param_groups[0]['params']) for w in built.values()) == len(list(model.parameters()))
    with pytest.raises(PartsError, match=r'^optim_wrapper\.paramwise_cfg: '):
        PartsOptimWrapperConstructor({}, {'norm_decay_mult': 0})
    names = ['discriminator', 'generator1', 'generator3']
    with pytest.raises(PartsError, match=r'^optim_wrapper\.generator3: .* has no such part; did you mean generator'):
        PartsOptimWrapperConstructor(dict.fromkeys(names, wrapper))(model)
    with pytest.raises(PartsError, match=r'^optim_wrapper\.generator2: this part .* has no optimizer'):
        PartsOptimWrapperConstructor(dict.fromkeys(names[:2], wrapper))(model)
    model.more = torch.nn.Linear(1, 1)
    with pytest.raises(PartsError, match=r'no part of AdversarialSegmentor trains more\.weight'):
        PartsOptimWrapperConstructor(dict.fromkeys(model.trained_parts(), wrapper))(model)
    with pytest.raises(PartsError, match=r'^optim_wrapper\.constructor: Linear is not trained in parts'):
        PartsOptimWrapperConstructor({'all': wrapper})(model.more)


@pytest.mark.skipif(torch.cuda.is_available(), reason='the model would be on the GPU')
def test_mixed_precision_of_each_part(make, config):
    cfg = config()
    use_amp(cfg)
    assert cfg.optim_wrapper.constructor == 'mmirstd.PartsOptimWrapperConstructor'
    runner = make(optim_wrapper=cfg.optim_wrapper.to_dict())
    seen = []
    runner.model.backbone.branches[0].convs[0][0].conv.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    runner.train()
    assert {type(w) for w in runner.optim_wrapper.values()} == {CPUAmpOptimWrapper}
    assert seen[0] is torch.bfloat16
    assert seen[-1] is torch.float32  # validation


def test_accumulation_in_a_part_is_said(make):
    runner = make(optim_wrapper__generator2__accumulative_counts=3)
    warnings = []
    runner.logger.warning = warnings.append
    runner.train()
    assert sum('gradients are accumulated over 3 iterations' in w for w in warnings) == 1
