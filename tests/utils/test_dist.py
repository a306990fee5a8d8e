import os
import socket
import subprocess

import pytest
import torch.distributed as torch_dist

from mmirstd.utils import dist

LAUNCHER = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
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
