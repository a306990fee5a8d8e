"""Ctrl-C and SIGTERM: one line, the usual exit status, and a complete checkpoint where training had begun."""

import os
import signal
import subprocess
import sys

import pytest
import torch
from mmengine.hooks import Hook

from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.registry import HOOKS
from mmirstd.utils.interrupts import Interrupted, handled_signals, interruption_message, wait_for_training

AVERAGE = "dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.01, gamma=8, update_buffers=True)"


@pytest.fixture
def kill():
    """Name of a hook that sends this process a signal; ``HOOK.when`` says where."""

    class KillHook(Hook):
        when = ('train', 3, signal.SIGTERM)

        def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode='train'):
            where, number, name = KillHook.when
            if mode == where and (runner.iter + 1 if mode == 'train' else batch_idx) == number:
                os.kill(os.getpid(), name)

    HOOKS.register_module(name='KillHook', force=True)(KillHook)
    yield KillHook
    HOOKS._module_dict.pop('KillHook')


EXTRA = f"""
custom_hooks = [dict(type='mmirstd.CollapseGuardHook'), {AVERAGE}, dict(type='mmirstd.KillHook')]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=4)
default_hooks = dict(checkpoint=dict(interval=8))
"""


def weights(path):
    content = load_checkpoint(path)
    return content['state_dict'] | {f'ema.{k}': v for k, v in content['ema_state_dict'].items()}


@pytest.mark.parametrize(
    ('when', 'status', 'written'),
    [
        (('train', 3, signal.SIGTERM), 143, 3),
        (('train', 4, signal.SIGINT), 130, 4),
        (('val', 2, signal.SIGTERM), 143, 4),
    ],
)
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(call, tiny_config, kill, capfd, when, status, written):
    kill.when = ('none', 0, 0)
    config = tiny_config(EXTRA)
    assert call('train', config, '--work-dir', 'whole') is None
    before = signal.getsignal(signal.SIGTERM)
    kill.when = when
    capfd.readouterr()
    assert call('train', config, '--work-dir', 'run') == status
    name = signal.Signals(when[2]).name
    line = f'interrupted by {name}: {os.getcwd()}/run/iter_{written}.pth is complete; go on with --resume'
    assert capfd.readouterr().err.splitlines()[-1] == line
    assert signal.getsignal(signal.SIGTERM) is before
    kill.when = ('none', 0, 0)
    assert call('train', config, '--work-dir', 'run', '--resume') is None
    expected, found = weights('whole/iter_8.pth'), weights('run/iter_8.pth')
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_a_test_ends_at_once(call, tiny_config, tiny_checkpoint, kill, capfd):
    kill.when = ('test', 1, signal.SIGINT)
    assert call('test', tiny_config(EXTRA), tiny_checkpoint) == 130
    assert capfd.readouterr().err.splitlines()[-1] == 'interrupted by SIGINT'


def test_an_epoch_that_is_cut_leaves_a_checkpoint(call, tiny_config, kill):
    epochs = (
        "train_dataloader.update(sampler=dict(type='DefaultSampler', shuffle=True))\n"
        "train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3)\n"
        'param_scheduler = []\n'
        'default_hooks = dict(checkpoint=dict(by_epoch=True, interval=1))\n'
    )
    kill.when = ('train', 4, signal.SIGTERM)
    assert call('train', tiny_config(EXTRA + epochs), '--work-dir', 'run') == 143
    meta = load_checkpoint('run/iter_4.pth')['meta']
    assert (meta['epoch'], meta['iter']) == (1, 4)
    kill.when = ('none', 0, 0)
    assert call('train', tiny_config(EXTRA + epochs), '--work-dir', 'run', '--resume') is None
    assert os.path.isfile('run/epoch_3.pth')


def test_a_second_signal_does_not_wait():
    with handled_signals() as pending:
        pending.deferred = True
        os.kill(os.getpid(), signal.SIGINT)
        assert pending.number == signal.SIGINT
        with pytest.raises(Interrupted, match='interrupted by SIGTERM'):
            os.kill(os.getpid(), signal.SIGTERM)


def test_each_signal_is_passed_on_to_a_training(capsys):
    """The first has it write a checkpoint, the second ends it at once. The first is what is reported."""
    passed_on, signals = [], [signal.SIGINT, signal.SIGTERM]

    def wait():
        if signals:
            os.kill(os.getpid(), signals.pop(0))
        return 7

    raises = pytest.raises(Interrupted, match=r'^interrupted by SIGINT: call again$')
    with handled_signals(), raises, interruption_message('call again'):
        wait_for_training(wait, lambda: passed_on.append(signal.SIGTERM))
    assert len(passed_on) == 2
    line = 'interrupted by SIGINT: waiting for the run to stop; a second signal stops it at once\n'
    assert capsys.readouterr().err == line
    assert wait_for_training(wait, passed_on.clear) == 7
    assert len(passed_on) == 2


def test_a_loader_outlives_signals_to_all_processes(tmp_path):
    """Signals of another process than the parent; then it ends in order."""
    code = """if True:
        import subprocess
        from torch.utils.data import DataLoader
        from mmirstd.utils.interrupts import leave_signals_to_parent
        loader = DataLoader(range(1000), num_workers=1, persistent_workers=True,
                            worker_init_fn=lambda worker: leave_signals_to_parent())
        samples = iter(loader)
        next(samples)
        for name in ('INT', 'TERM', 'TERM'):
            subprocess.run(['kill', f'-{name}', str(samples._workers[0].pid)], check=True)
        print(sum(int(next(samples)) for _ in range(20)))
    """
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, '210\n', '')


def test_before_anything_has_begun(tmp_path):
    code = 'import os, signal; from mmirstd.cli import main; import mmirstd.cli.models as m\n'
    code += 'm.run = lambda args: os.kill(os.getpid(), signal.SIGTERM); main(["models"])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, 'interrupted by SIGTERM\n')
