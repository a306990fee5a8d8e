import json
import os
import pickle
import signal
import socket
import subprocess
from types import SimpleNamespace

import pytest
import torch.distributed as torch_dist

from mmirstd.engine import distributed as dist
from mmirstd.engine.interruption import InterruptibleMixin
from mmirstd.utils.interrupts import SIGNALS, Interrupted

LAUNCHER = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
SLURM = dict(SLURM_PROCID='0', SLURM_NTASKS='1', SLURM_NODELIST='node[3-4]', SLURM_LOCALID='0')


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setattr(dist, 'get_device', lambda: 'cpu')
    # A copy, so that what the functions set is undone.
    monkeypatch.setattr(os, 'environ', {k: v for k, v in os.environ.items() if k not in (*LAUNCHER, *SLURM)})
    yield
    dist.stop_distributed(None)


@pytest.fixture
def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def test_nothing_to_do(monkeypatch):
    assert not dist.start_gloo_on_cpu('none')
    monkeypatch.setattr(dist, 'get_device', lambda: 'cuda')
    assert not dist.start_gloo_on_cpu('pytorch')
    assert not torch_dist.is_initialized()


@pytest.mark.parametrize(
    ('launcher', 'message'),
    [
        ('pytorch', 'RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT not set; start with tools/dist_train.sh'),
        ('slurm', 'SLURM_PROCID not set; start with tools/slurm_train.sh'),
        ('mpi', "launcher 'mpi' needs a GPU"),
    ],
)
def test_started_without_its_launcher(launcher, message):
    with pytest.raises(RuntimeError, match=message):
        dist.start_gloo_on_cpu(launcher)


def test_slurm_variables_make_a_group(monkeypatch, free_port):
    """A job of one task; scontrol stands in for the cluster's and only resolves the node list."""

    def scontrol(command, **kwargs):
        assert command == ['scontrol', 'show', 'hostnames', 'node[3-4]']
        return subprocess.CompletedProcess(command, 0, stdout='127.0.0.1\nnode4\n')

    for key, value in SLURM.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv('MASTER_PORT', str(free_port))
    monkeypatch.setattr(dist.subprocess, 'run', scontrol)
    assert dist.start_gloo_on_cpu('slurm')
    assert (torch_dist.get_backend(), torch_dist.get_world_size()) == ('gloo', 1)
    assert not dist.start_gloo_on_cpu('slurm')  # there is one already
    dist.stop_distributed(None)
    assert not torch_dist.is_initialized()


@pytest.fixture
def job(monkeypatch, tmp_path):
    """One process of two; returns a function that runs a main function, and what it told torchrun."""
    slept, timers = [], []
    monkeypatch.setattr(dist.time, 'sleep', slept.append)
    # The real one ends the process in the end.
    monkeypatch.setattr(dist.threading, 'Timer', lambda *args: timers.append(args) or SimpleNamespace(start=int))
    for key, value in dict(RANK='1', WORLD_SIZE='2', TORCHELASTIC_ERROR_FILE=str(tmp_path / 'error.json')).items():
        monkeypatch.setenv(key, value)

    def run(error):
        def main():
            if callable(error):
                error()
            raise error

        with pytest.raises((Exception, SystemExit)) as caught:
            dist.one_of_many(main)()
        path = tmp_path / 'error.json'
        told = json.loads(path.read_text())['message'] if path.exists() else None
        assert (told is None) == (not timers)
        status = (caught.value.code if isinstance(error, KeyboardInterrupt) else 1,)
        assert all(args == (30, os._exit, status) for args in timers)
        return caught.value, told['extraInfo']['py_callstack'] if isinstance(told, dict) else told

    run.slept = slept
    return run


CLOSED = RuntimeError('[/x/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1')
ABORTED = RuntimeError('NCCL error: remote process exited or there was a network error')


def set_up_fails_as_a_peer_has_gone():
    try:
        raise CLOSED
    except RuntimeError:
        raise SystemExit('[rank 1] error: RuntimeError: ... closed by peer') from None


def test_success_is_quiet(monkeypatch, tmp_path):
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert dist.one_of_many(lambda: None)() is None


def test_errors_reach_the_launcher(job):
    error, told = job(ValueError('no such thing'))
    assert str(error) == 'no such thing'
    assert told.startswith('Traceback (most recent call last)')
    assert told.endswith('ValueError: no such thing\n')
    error, told = job(SystemExit('[rank 1] error: there is no file'))
    assert error.code == told == '[rank 1] error: there is no file'


@pytest.mark.parametrize('code', [0, None])
def test_an_exit_is_no_error(job, code):
    error, told = job(SystemExit(code))
    assert isinstance(error, SystemExit)
    assert told is None


@pytest.fixture
def own_handlers():
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ('error', 'status', 'line'),
    [
        (KeyboardInterrupt(), 130, '[rank 1] interrupted'),
        (Interrupted(signal.SIGTERM), 143, '[rank 1] interrupted by SIGTERM'),
        (Interrupted(signal.SIGINT, ': all is written', agreed=True), 130, 'interrupted by SIGINT: all is written'),
    ],
)
def test_interrupt(job, own_handlers, monkeypatch, capsys, error, status, line):
    exit_, told = job(error)
    assert (exit_.code, told) == (status, line)
    assert {signal.getsignal(number) for number in SIGNALS} == {signal.SIG_IGN}
    assert not capsys.readouterr().err
    monkeypatch.setenv('RANK', '0')
    job(error)
    assert capsys.readouterr().err == line.removeprefix('[rank 1] ') + '\n'


@pytest.mark.parametrize(('asked', 'error', 'raised'), [
    (signal.SIGTERM, CLOSED, Interrupted),
    (signal.SIGTERM, ValueError('of its own'), ValueError),
    (None, CLOSED, RuntimeError),
])  # fmt: skip
def test_who_is_asked_to_end_as_it_loses_a_peer_ends(asked, error, raised):
    """A launcher ends the others of a process that died; an error of one's own is still shown."""

    class Runner:
        distributed = True

        def train(self):
            self._signals.number = asked
            raise error

    with pytest.raises(raised):
        type('', (InterruptibleMixin, Runner), {})().train()


@pytest.mark.parametrize('error', [CLOSED, ABORTED, set_up_fails_as_a_peer_has_gone])
def test_who_lost_a_peer_waits_to_be_ended(job, monkeypatch, error):
    exit_, told = job(error)
    assert job.slept == [dist.PATIENCE]
    assert exit_.code == told
    assert told.startswith('[rank 1] error: another process has gone; its error says why (RuntimeError: ')
    monkeypatch.setenv('MMIRSTD_TRACEBACK', '1')
    exit_, told = job(error)
    assert job.slept == [dist.PATIENCE]
    assert 'its error says why' not in told


def test_other_machines_are_not_kept_waiting(job, monkeypatch, capsys):
    calls = []
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'x')
    monkeypatch.setattr(dist, '_die_with_launcher', lambda: None)
    monkeypatch.setattr(dist, 'start_gloo_on_cpu', lambda *args, **kwargs: calls.append((args, kwargs)))
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')  # all on this machine: torchrun ends them
    job(ValueError())
    assert not calls
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '1')
    job(ValueError())
    assert calls == [(('pytorch',), {'timeout': 20})]

    def silent(*args, **kwargs):
        raise RuntimeError('timed out\nand more')

    monkeypatch.setattr(dist, 'start_gloo_on_cpu', silent)
    error, _ = job(ValueError('first'))
    assert str(error) == 'first'
    assert capsys.readouterr().err == '[rank 1] the others do not answer (RuntimeError: timed out)\n'


def test_dies_with_its_launcher(monkeypatch):
    calls = []
    monkeypatch.setattr(dist.ctypes, 'CDLL', lambda name: SimpleNamespace(prctl=lambda *args: calls.append(args)))
    monkeypatch.setattr(dist.sys, 'platform', 'linux')
    dist._die_with_launcher()
    assert not calls  # not started by torchrun
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'x')
    dist._die_with_launcher()
    assert calls == [(1, signal.SIGTERM)]


@pytest.mark.parametrize('error', [EOFError, pickle.UnpicklingError])
def test_the_cache_of_yapf_that_another_process_is_writing(error, monkeypatch):
    found = iter([error, error, None])

    def import_module(name):
        assert name == 'yapf'
        if (raised := next(found)) is not None:
            raise raised('Ran out of input')

    monkeypatch.setattr('mmirstd.engine.distributed.importlib.import_module', import_module)
    dist.import_formatter(tries=3, pause=0)
    assert next(found, 'all') == 'all'
    found = iter([error, error])
    with pytest.raises(error, match='Ran out of input'):
        dist.import_formatter(tries=2, pause=0)
