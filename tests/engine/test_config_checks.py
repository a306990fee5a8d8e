"""What a config says is checked by key before the first step."""

import pytest
from mmengine.config import Config

from mmirstd.engine.config_checks import ConfigValueError, check_channels, check_config, check_training
from mmirstd.engine.value_checks import check_values


@pytest.fixture
def config(tiny_config):
    """The tiny config with changes."""

    def changed(**options):
        cfg = Config.fromfile(tiny_config())
        cfg.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
        return cfg

    return changed


def check(cfg):
    check_values(cfg)
    check_config(cfg)
    check_training(cfg)


AVERAGE = dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.01, gamma=8, update_buffers=True)
EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=4, val_interval=1)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        (
            'custom_hooks.0.intervall',
            3,
            r'custom_hooks\[0\]\.intervall: CollapseGuardHook has no .*; did you mean interv',
        ),
        (
            'default_hooks__checkpoint__save_bets',
            'IoU',
            r'default_hooks\.checkpoint\.save_bets: Resumable.*mean save_best',
        ),
        ('custom_hooks', [AVERAGE | {'gama': 1}], r'custom_hooks\[0\]\.gama: EMAHook has no .*; did you mean gamma\?'),
        (
            'default_hooks__checkpoint__save_best',
            'IOU',
            r"save_best='IOU': the metrics are IoU, nIoU, Pd, .*mean IoU\?",
        ),
        ('default_hooks__checkpoint__save_best', 'mIoU', r"save_best='mIoU': the metrics are IoU"),
        ('default_hooks__checkpoint__rule', 'less', r"checkpoint\.rule='less': IoU is better when it is greater"),
        (
            'default_hooks__checkpoint__interval',
            0,
            r'default_hooks\.checkpoint\.interval=0: must be a whole number from 1',
        ),
        ('default_hooks__logger__interval', 2.5, r'default_hooks\.logger\.interval=2\.5'),
        ('default_hooks__visualization__interval', -3, r'visualization\.interval=-3'),
        ('train_cfg__max_iters', 0, r'^train_cfg\.max_iters=0: must be a whole number from 1 on$'),
        ('train_cfg__max_iters', 'all', r"^train_cfg\.max_iters='all': must be a whole"),
        ('train_cfg', EPOCHS | {'max_epochs': -3}, r'^train_cfg\.max_epochs=-3'),
        ('train_dataloader__batch_size', 0, r'^train_dataloader\.batch_size=0: must be a whole number from 1 on'),
        ('val_dataloader__num_workers', -1, r'^val_dataloader\.num_workers=-1: must be a whole number from 0 on'),
        ('optim_wrapper__optimizer__lr', 'fast', r"^optim_wrapper\.optimizer\.lr='fast': must be a finite number"),
        ('optim_wrapper__optimizer__lr', float('nan'), r'^optim_wrapper\.optimizer\.lr=nan: must be a finite number'),
        ('optim_wrapper__optimizer__lr', -0.1, r'^optim_wrapper\.optimizer\.lr=-0\.1: must be a finite number from 0'),
        (
            'optim_wrapper__optimizer__type',
            'Addam',
            r"^optim_wrapper\.optimizer\.type='Addam': there .*; did you mean Adam",
        ),
        ('optim_wrapper__optimizer__betaz', 3, r'^optim_wrapper\.optimizer\.betaz: .* has no .*; did you mean betas\?'),
        ('optim_wrapper__accumulative_counts', 0, r'^optim_wrapper\.accumulative_counts=0'),
        ('randomness', dict(seed='abc'), r"^randomness\.seed='abc': must be a whole number from 0 to 4294967295"),
        ('randomness', dict(seed=-1), r'^randomness\.seed=-1'),
        ('load_from', 1, r'^load_from=1: must be the path or address of a checkpoint'),
        ('model__test_cfg__mode', 'sideways', r"^model\.test_cfg\.mode='sideways': must be 'whole' or 'slide'"),
        ('model__test_cfg__tile', 0, r'^model\.test_cfg\.tile=0: must be a whole number from 64 on'),
        ('log_level', 'LOUD', r"^log_level='LOUD': must be one of CRITICAL, "),
        ('train_cfg__val_interval', 0, r'train_cfg\.val_interval=0: must be a whole number from 1 on$'),
        ('train_cfg__val_interval', -1, r'train_cfg\.val_interval=-1'),
        ('train_cfg__max_iter', 3, r'train_cfg\.max_iter: IterBasedTrainLoop has no .*; did you mean max_iters\?'),
        ('train_cfg', EPOCHS, r"sampler\.type='InfiniteSampler': the first epoch of EpochBasedTrainLoop never ends"),
        ('param_scheduler.0.by_epoch', True, r'param_scheduler\[0\]\.by_epoch=True: the loop counts iterations'),
        ('default_hooks__checkpoint__by_epoch', True, r'default_hooks\.checkpoint\.by_epoch=True: the loop counts'),
        ('strict_load', 'no', r"strict_load='no': must be True or False"),
        ('resume', 'yes', r"resume='yes': must be True or False"),
        ('sync_bn', 'troch', r"sync_bn='troch'"),
        ('launcher', 'mpirun', r"launcher='mpirun'"),
    ],
)
def test_what_has_no_effect_is_an_error_by_key(config, key, value, message):
    options = {'default_hooks__checkpoint__save_best': 'IoU', 'default_hooks__checkpoint__rule': 'greater'}
    cfg = config(**options)
    cfg.merge_from_dict({key.replace('__', '.'): value})
    if key == 'train_cfg':
        cfg.train_cfg = value
    with pytest.raises(ConfigValueError, match=message) as caught:
        check(cfg)
    assert '\n' not in str(caught.value)


def test_the_shipped_values_pass(config, warnings):
    cfg = config(custom_hooks=[AVERAGE], param_scheduler=[dict(type='PolyLR', end=6, by_epoch=False)])
    check_config(cfg)
    check_training(cfg)
    check_channels(cfg)
    assert warnings == []


@pytest.mark.parametrize(
    ('evaluator', 'save_best', 'rule', 'expected'),
    [
        (dict(type='mmirstd.IRSTDMetric'), 'Fa', None, ('Fa', 'less')),
        (dict(type='mmirstd.IRSTDMetric'), 'auto', None, ('IoU', 'greater')),
        (dict(type='mmirstd.IRSTDMetric'), ['Pd', 'Fa'], None, (['Pd', 'Fa'], ['greater', 'less'])),
        (dict(type='mmirstd.IRSTDMetric', presets=['exact', 'dnanet']), 'dnanet/Fa', None, ('dnanet/Fa', 'less')),
        (dict(type='mmirstd.IRSTDMetric', prefix='a'), 'a/IoU', 'greater', ('a/IoU', 'greater')),
        ([dict(type='IoUMetric', iou_metrics=['mIoU'])], 'mIoU', None, ('mIoU', 'greater')),
        (dict(type='mmengine.DumpResults', out_file_path='a.pkl'), 'anything', 'less', ('anything', 'less')),
    ],
)
def test_a_metric_knows_its_direction(config, evaluator, save_best, rule, expected):
    cfg = config()
    cfg.val_evaluator = evaluator
    cfg.default_hooks.checkpoint.update(save_best=save_best, rule=rule)
    check_config(cfg)
    assert (cfg.default_hooks.checkpoint.save_best, cfg.default_hooks.checkpoint.rule) == expected


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'param_scheduler.0.end': 20}, r'param_scheduler[0].end=20 and train_cfg.max_iters=6: .* is cut off'),
        (
            {'param_scheduler.0.end': 3},
            r'param_scheduler[0].end=3 and train_cfg.max_iters=6: .* is over before the end',
        ),
        (
            {'param_scheduler': [dict(type='MultiStepLR', by_epoch=False, milestones=[3, 9])]},
            r'param_scheduler[0].milestones=9 and train_cfg.max_iters=6: .* is cut off',
        ),
        ({'log_processor.by_epoch': True}, 'log_processor.by_epoch is True in a loop by iteration'),
        ({'default_hooks.logger.log_metric_by_epoch': True}, 'default_hooks.logger.log_metric_by_epoch is True'),
    ],
)
def test_what_is_probably_not_meant_is_said(config, warnings, options, message):
    cfg = config(param_scheduler__0__end=6)
    cfg.merge_from_dict(options)
    check_training(cfg)
    (line,) = warnings
    start, _, end = message.partition('.*')
    assert start in line
    assert end.strip() in line


def test_epochs_with_a_sampler_that_ends(config, warnings):
    cfg = config()
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=True)
    cfg.train_cfg = EPOCHS
    cfg.param_scheduler = [dict(type='PolyLR', end=4)]
    check_training(cfg)
    assert warnings == []


def test_channels_are_compared_together(config):
    check_channels(config())
    gray = {'train_dataloader.dataset.pipeline.0.channels': 1}
    with pytest.raises(ConfigValueError, match=r'train_dataloader\.dataset\.pipeline: 1, .*mean: 3, .*in_channels: 3'):
        check_channels(config(**gray))
    cfg = config(**gray, **{f'{loader}_dataloader.dataset.pipeline.0.channels': 1 for loader in ('val', 'test')})
    cfg.model.data_preprocessor.update(mean=[1.0], std=[1.0])
    with pytest.raises(ConfigValueError, match=r'in_channels: 3$'):
        check_channels(cfg)
    cfg.model.backbone.in_channels = 1
    check_channels(cfg)


def test_channels_that_a_wrapper_appends(config):
    """The recipes load in the inner dataset, and augment in the wrapper around it."""
    cfg = config()
    append = dict(type='mmirstd.WPMD', mode='append')
    inner = cfg.train_dataloader.dataset
    load, pack = inner.pipeline[:2], inner.pipeline[2:]
    inner.pipeline = load
    cfg.train_dataloader.dataset = dict(type='MultiImageMixDataset', dataset=inner, pipeline=[append, *pack])
    for loader in ('val', 'test'):
        dataset = cfg[f'{loader}_dataloader'].dataset
        dataset.pipeline = [load[0], append, load[1], *pack]
    cfg.model.data_preprocessor.update(mean=[80.0] * 4, std=[40.0] * 4)
    cfg.model.backbone.in_channels = 4
    check_channels(cfg)
    cfg.train_dataloader.dataset.pipeline = pack
    with pytest.raises(ConfigValueError, match=r'train_dataloader\.dataset\.dataset\.pipeline: 3, .*in_channels: 4'):
        check_channels(cfg)


def test_the_runner_checks(config, tmp_path):
    from mmirstd.engine import StrictRunner

    with pytest.raises(ConfigValueError, match='intervall'):
        StrictRunner.from_cfg(config(**{'custom_hooks.0.intervall': 3}, work_dir=str(tmp_path / 'a')))
    runner = StrictRunner.from_cfg(config(train_cfg__max_iter=3, work_dir=str(tmp_path / 'a')))
    with pytest.raises(ConfigValueError, match='max_iter'):
        runner.train()
