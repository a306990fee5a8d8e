"""A signal to any process of a job ends all of them at one iteration, with a checkpoint that goes on bit for bit."""

import signal
from pathlib import Path

import pytest
import torch
from processes import script
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.utils.launch import main

CONFIG = Path(__file__).with_name('simir_tiny.py')
SHARDED = ('runner_type=mmirstd.StrictFlexibleRunner',
           "strategy=dict(type='mmirstd.ShardedStrategy', shard=['RepViTBlock', 'RepViTDownsample'])")  # fmt: skip


def train(data, work, *options, resume=False):
    common = ('train_cfg.val_interval=4', 'train_cfg.max_iters=6', 'train_dataloader.num_workers=1', *options)
    more = ('--resume',) * resume
    code, output, _ = script(
        'dist_train', CONFIG, 2, '--work-dir', work, '--data-root', data, *more, '--cfg-options', *common,
        cwd=work.parent,
    )  # fmt: skip
    return code, output


def fault(how, **settings):
    return tuple(f'custom_hooks.0.{k}={v}' for k, v in dict(type='mmirstd.FaultHook', how=how, **settings).items())


@pytest.fixture(scope='module')
def whole(odd_data, tmp_path_factory):
    """Weights of runs that are left alone, by their options."""
    runs = {}

    def weights(options):
        if options not in runs:
            work = tmp_path_factory.mktemp('whole') / 'run'
            code, output = train(odd_data, work, *options)
            assert code == 0, output[-3000:]
            runs[options] = load_checkpoint(work / 'iter_6.pth')['state_dict']
        return runs[options]

    return weights


@pytest.mark.parametrize(
    ('how', 'settings', 'options', 'status', 'done'),
    [
        ('signal_launcher', {}, (), 143, 3),
        *(
            pytest.param(*case, marks=pytest.mark.exhaustive)
            for case in (
                ('signal_launcher', dict(number=2, rank=0), (), 130, 3),
                ('signal_self', {}, (), 143, 3),
                ('signal_self', dict(number=2, rank=0), (), 130, 3),
                ('signal_self', dict(where='val'), (), 143, 4),
                ('signal_launcher', dict(where='val', number=2), (), 130, 4),
                ('signal_self', {}, SHARDED, 143, 3),
                ('signal_launcher', dict(where='val'), SHARDED, 143, 4),
            )
        ),
    ],
)
def test_all_processes_end_at_one_iteration(odd_data, tmp_path, whole, how, settings, options, status, done):
    work = tmp_path / 'run'
    code, output = train(odd_data, work, *options, *fault(how, **settings))
    assert code == status, output[-3000:]
    name = signal.Signals(status - 128).name
    line = f'interrupted by {name}: {work}/iter_{done}.pth is complete; go on with --resume'
    assert output.splitlines()[-1] == line
    assert output.count('interrupted by') == 1
    assert 'Traceback' not in output
    assert f'iter_{done + 1}.pth' not in output
    code, output = train(odd_data, work, *options, resume=True)
    assert code == 0, output[-3000:]
    assert f'resumed epoch: 0, iter: {done}' in output
    found, expected = load_checkpoint(work / 'iter_6.pth')['state_dict'], whole(options)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.exhaustive
def test_a_second_signal_does_not_wait(odd_data, tmp_path):
    """What stood before stays; the other process is ended by the launcher."""
    code, output = train(odd_data, tmp_path / 'run', *fault('signal_self_twice'), 'default_hooks.checkpoint.interval=1')
    assert code == 143, output[-3000:]
    assert output.splitlines()[-1] == '[rank 1] interrupted by SIGTERM'
    assert load_checkpoint(tmp_path / 'run/iter_2.pth')['meta']['iter'] == 2
    assert not (tmp_path / 'run/iter_3.pth').exists()


@pytest.mark.parametrize(
    ('codes', 'status'), [((143, -15), 143), ((130, -9), 130), ((143, 143), 143), ((-9, 143), None), ((143, 1), None)]
)
def test_the_first_process_decides(codes, status, monkeypatch):
    """In the order in which they ended: those that torchrun then ends itself do not hide that a signal came."""
    failures = {i: ProcessFailure(i, 100 + i, code, 'none') for i, code in enumerate(codes)}
    for i, failure in failures.items():
        failure.timestamp, failure.message = i, f'[rank {i}] interrupted'

    def run(args):
        raise ChildFailedError('train.py', failures)

    monkeypatch.setattr('mmirstd.utils.launch.run', run)
    with pytest.raises(ChildFailedError if status is None else SystemExit) as caught:
        main(['--standalone', 'train.py'])
    assert status is None or caught.value.code == status


def test_other_failures_stay_failures(tmp_path, capfd):
    """The launcher hands on what torchrun says, and a missing script."""
    script = tmp_path / 'fails.py'
    script.write_text('raise SystemExit(7)')
    with pytest.raises(Exception, match='exitcode  : 7') as caught:
        main(['--standalone', '--nproc-per-node', '1', str(script)])
    assert type(caught.value).__name__ == 'ChildFailedError'
