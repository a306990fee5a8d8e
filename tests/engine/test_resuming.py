"""What comes from the checkpoint and what from the config when a run is resumed."""

import pytest

from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.engine.resuming import ConfigDifference, config_differences, config_of, resume_report

OLD = {
    'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': {'type': 'AdamW', 'lr': 0.02}},
    'param_scheduler': [{'type': 'PolyLR', 'end': 20}],
    'train_dataloader': {'batch_size': 2, 'num_workers': 4, 'dataset': {'data_root': 'a'}},
    'model': {'decode_head': {'loss_decode': {'type': 'SoftIoULoss'}}},
    'randomness': {'seed': 0},
    'work_dir': 'one',
}


def changed(**changes):
    new = eval(repr(OLD))
    for key, value in changes.items():
        *path, last = key.split('__')
        place = new
        for name in path:
            place = place[int(name) if name.isdigit() else name]
        place[last] = value
    return new


@pytest.mark.parametrize(
    ('key', 'value', 'anew', 'counts'),
    [
        ('optim_wrapper__optimizer__lr', 0.01, (), 'checkpoint'),
        ('optim_wrapper__optimizer__lr', 0.01, ('schedule',), 'config'),
        ('optim_wrapper__optimizer__weight_decay', 0.1, ('schedule',), 'checkpoint'),
        ('optim_wrapper__optimizer__weight_decay', 0.1, ('optimizer',), 'config'),
        ('optim_wrapper__clip_grad', None, (), 'config'),
        ('param_scheduler__0__end', 30, (), 'checkpoint'),
        ('param_scheduler__0__end', 30, ('schedule',), 'config'),
        ('train_dataloader__batch_size', 4, (), 'config'),
        ('model__decode_head__loss_decode__type', 'DiceLoss', (), 'config'),
        ('randomness__seed', 1, (), 'checkpoint'),
    ],
)
def test_each_difference_says_what_counts(key, value, anew, counts):
    (found,) = config_differences(OLD, changed(**{key: value}), anew)
    assert found.key == key.replace('__0', '[0]').replace('__', '.')
    assert (found.config, found.counts) == (repr(value), counts)


def test_what_changes_no_result_is_no_difference():
    new = changed(train_dataloader__num_workers=0, train_dataloader__dataset__data_root='b', work_dir='two')
    assert config_differences(OLD, new) == []
    tuples = changed(param_scheduler=({'type': 'PolyLR', 'end': 20},))
    assert config_differences(OLD, tuples) == []
    (found,) = config_differences(OLD, changed(optim_wrapper__optimizer__betas=list(range(40))))
    assert found == ConfigDifference(
        'optim_wrapper.optimizer.betas', '(not there)', f'{repr(list(range(40)))[:37]}...', 'checkpoint'
    )


def test_the_config_in_a_checkpoint_is_read_and_not_run(tmp_path):
    text = f"lr = 0.1\nmodel = dict(type='A', n=(1, 2))\nx = open({str(tmp_path / 'made')!r}, 'w')\nimport os\n"
    config = config_of(text)
    assert (config['lr'], config['model']) == (0.1, {'type': 'A', 'n': (1, 2)})
    assert config['x'].startswith('open(')
    assert not (tmp_path / 'made').exists()
    for broken in (None, 3, 'a = (', 'x = \0'):
        assert config_of(broken) is None
    assert 'does not hold its config' in resume_report('a.pth', {}, OLD, ())


@pytest.fixture
def train(call, tiny_config):
    """Train the tiny config into a folder; returns the last checkpoint's content."""

    def run(folder, iterations, *arguments, lr=0.02, end=20, extra=''):
        options = ['--cfg-options', f'train_cfg.max_iters={iterations}', f'optim_wrapper.optimizer.lr={lr}']
        options += [f'param_scheduler.0.end={end}', *extra.split()]
        line = call('train', tiny_config(), '--work-dir', folder, *arguments, *options)
        assert line is None, line
        return load_checkpoint(f'{folder}/iter_{iterations}.pth')

    return run


def rate(content):
    return content['optimizer']['param_groups'][0]['lr']


def steps(content):
    return {int(state['step']) for state in content['optimizer']['state'].values()}


def test_what_counts_is_said_and_done(train, capfd):
    as_one = rate(train('whole', 9))
    other = rate(train('other', 9, lr=0.01, end=12))
    train('run', 6)
    capfd.readouterr()
    for anew, expected, counted in (
        ((), as_one, {9}),
        (('optimizer',), as_one, {3}),
        (('schedule',), other, {9}),
        (('optimizer', 'schedule'), other, {3}),
    ):
        arguments = ['--resume', 'run/iter_6.pth', *(['--resume-anew', *anew] if anew else [])]
        content = train('-'.join(['to', *anew]), 9, *arguments, lr=0.01, end=12, extra='train_dataloader.batch_size=1')
        assert rate(content) == pytest.approx(expected, rel=1e-9)
        assert steps(content) == counted
        text = capfd.readouterr()
        lines = {line.split()[1]: line.split() for line in (text.out + text.err).splitlines() if line.startswith('| ')}
        source = 'config' if 'schedule' in anew else 'checkpoint'
        assert lines['optim_wrapper.optimizer.lr'][3::2] == ['0.02', '0.01', source]
        assert lines['param_scheduler[0].end'][3::2] == ['20', '12', source]
        assert lines['train_dataloader.batch_size'][3::2] == ['2', '1', 'config']


def test_mistakes(call, train, tiny_config):
    train('run', 3)
    assert call('train', tiny_config(), '--work-dir', 'new', '--resume-anew', 'schedule') == (
        'error: --resume-anew goes with --resume'
    )
    two = 'param_scheduler=[dict(type="PolyLR", by_epoch=False, end=3), dict(type="PolyLR", by_epoch=False, end=3)]'
    line = call('train', tiny_config(), '--work-dir', 'new', '--resume', 'run/iter_3.pth', '--cfg-options', two)
    assert line.startswith('error: param_scheduler: the config has 2 and run/iter_3.pth has 1; ')
    line = call('train', tiny_config('resume_anew = ["weights"]'), '--work-dir', 'new')
    assert line.startswith("error: resume_anew='weights': there are 'optimizer' and 'schedule'")
