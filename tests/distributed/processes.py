"""Processes of a job, as torchrun would start them, but forked from one that has imported everything."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import torch
from torch.distributed import TCPStore

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = multiprocessing.get_context('forkserver')
CONTEXT.set_forkserver_preload(
    ['mmirstd.apis.training', 'mmirstd.apis.testing', 'mmirstd.models', 'mmirstd.datasets', 'mmirstd.evaluation',
     'mmirstd.visualization', 'mmengine._strategy', 'tensorboard', 'torch.distributed.fsdp']
)  # fmt: skip


def environment(**more):
    """Of a process of its own: no GPU, no launcher's variables, and the modules beside this file."""
    drop = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
    own = {'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    path = os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get('PYTHONPATH'))))
    return {k: v for k, v in os.environ.items() if k not in drop} | own | {'PYTHONPATH': path} | more


def _child(function, rank, world, port, log, args):
    with open(log, 'w', buffering=1) as f:
        os.dup2(f.fileno(), 1)
        os.dup2(f.fileno(), 2)
    launched = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world, LOCAL_WORLD_SIZE=world)
    launched |= dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=port, TORCHELASTIC_USE_AGENT_STORE='True')
    os.environ.update(environment(**{k: str(v) for k, v in launched.items()} if world else {}))
    torch.set_num_threads(1)
    try:
        function(*args)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def launch(function, world, folder, *args, status=0, timeout=300):
    """Run ``function(*args)`` in ``world`` processes (0: in one that is no part of a job); returns their output.

    Raises:
        AssertionError: With the output, if one ends with another exit status or they do not end in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)
    logs = [folder / f'{rank}.txt' for rank in range(world or 1)]
    jobs = [
        CONTEXT.Process(target=_child, args=(function, rank, world, store.port, log, args))
        for rank, log in enumerate(logs)
    ]
    for job in jobs:
        job.start()
    end = time.monotonic() + timeout
    for job in jobs:
        job.join(max(0, end - time.monotonic()))
    codes = [job.exitcode for job in jobs]
    for job in jobs:
        job.kill()
    output = [log.read_text() for log in logs]
    assert codes == [status] * len(jobs), f'exit codes {codes}\n' + '\n'.join(text[-3000:] for text in output)
    return output


def tool(name, *argv):
    """Run a command, but for yapf's formatting of the config, which takes longer than the tool."""
    from mmengine.config import Config

    from mmirstd.cli import main

    Config.pretty_text = property(lambda cfg: ''.join(f'{k} = {v!r}\n' for k, v in cfg._cfg_dict.to_dict().items()))
    sys.path.insert(0, str(Path(__file__).parent))
    main([name, *argv])


def script(name, *argv, timeout=300, **kwargs):
    """Run ``tools/NAME.sh``; returns exit status, output and seconds. After ``timeout`` everything is killed."""
    start = time.monotonic()
    with start_script(name, *argv, **kwargs) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f'{name} hangs:\n{process.communicate()[0][-5000:]}') from None
    return process.returncode, output, time.monotonic() - start


def start_script(name, *argv, env=None, **kwargs):
    """Start ``tools/NAME.sh`` in a process group of its own."""
    return subprocess.Popen(
        ['bash', ROOT / f'tools/{name}.sh', *map(str, argv)],
        env=environment(**(env or {})),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        **kwargs,
    )
