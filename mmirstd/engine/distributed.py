"""Distributed jobs: their start without a GPU, which MMEngine's launchers cannot do, and their end when one fails."""

import ctypes
import gc
import importlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import wraps

import torch.distributed as torch_dist
from mmengine.device import get_device
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.distributed.elastic.multiprocessing.errors import ErrorHandler

from mmirstd.utils.interrupts import SIGNALS
from mmirstd.utils.text import first_line

# What gloo and NCCL say where another process has gone, which itself knows why.
_PEER_GONE = re.compile(
    r'gloo.*(connection (closed|reset|refused)|broken pipe|socket closed)|remote process exited', re.I | re.S
)
# How long a process that lost another one waits for the launcher to end it. Of several errors torchrun calls the first
# the cause; launchers on other machines learn of it from their own processes only.
PATIENCE = 10.0


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, where the runner has wrapped it to distribute it."""
    return model.module if is_model_wrapper(model) else model


def start_gloo_on_cpu(launcher: str, timeout: float | None = None) -> bool:
    """Start the gloo process group where MMEngine would call ``torch.cuda.set_device`` and fail.

    Args:
        launcher: ``'none'`` (nothing is done), ``'pytorch'`` (torchrun's environment variables) or ``'slurm'``.
        timeout: Seconds after which waiting for another process is an error; None is PyTorch's, half an hour.

    Returns:
        Whether a process group was started: not on a machine with a GPU, and not when there is one already.

    Raises:
        RuntimeError: If the launcher's environment variables are missing, i.e. this process was started without it.
    """
    if launcher == 'none' or get_device() != 'cpu' or torch_dist.is_initialized():
        return False
    if launcher == 'slurm':
        _slurm_environment()
    elif launcher != 'pytorch':
        raise RuntimeError(f'launcher {launcher!r} needs a GPU; on a CPU use pytorch or slurm')
    missing = [k for k in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT') if k not in os.environ]
    if missing:
        raise RuntimeError(
            f'launcher {launcher!r}: {", ".join(missing)} not set; start with tools/dist_train.sh CONFIG N, or '
            'anywhere with torchrun --nproc-per-node=N -m mmirstd train CONFIG --launcher pytorch'
        )
    torch_dist.init_process_group('gloo', timeout=None if timeout is None else timedelta(seconds=timeout))
    return True


def stop_distributed(runner: Runner | None) -> None:
    """End the process group; ``runner`` loses its model and cannot be used any more.

    Left to the interpreter's exit, a thread of gloo that still holds the last tensor now and then aborts the process
    after its work is done. The threads end with the last reference to the group, and DDP holds one.
    """
    if torch_dist.is_initialized():
        for owner in (runner, getattr(runner, 'strategy', None)):
            if owner is not None:
                owner.model = None
        gc.collect()
        torch_dist.destroy_process_group()


def peer_has_gone(error: object) -> bool:
    """Whether an error only says that another process has gone, which itself knows why."""
    return _PEER_GONE.search(str(error)) is not None


def is_main() -> bool:
    """Whether this is the first process of its job, also before there is a process group."""
    return _rank() == '0'


def one_of_many(main: Callable[[], int | None]) -> Callable[[], int | None]:
    """Decorate the main function of a program that is one process of a job.

    - torchrun's summary ends with the error that came first, traceback or line, rather than with advice to record it.
    - A process that fails because another one has gone says so in one line, and only if nothing ends it before.
    - On several machines, a process that cannot start (a file is missing on its machine) lets the others know.
    - If the launcher dies, this process does (Linux).
    """

    @wraps(main)
    def wrapper() -> int | None:
        _die_with_launcher()
        try:
            return main()
        except KeyboardInterrupt as e:
            status = 128 + getattr(e, 'number', signal.SIGINT)
            # It has begun to end: what a launcher sends to hasten that must not cut it off.
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            line = str(e) or 'interrupted'
            if is_main():
                print(line, file=sys.stderr, flush=True)
            _leave(SystemExit(line if getattr(e, 'agreed', False) else f'[rank {_rank()}] {line}'), status)
            raise SystemExit(status) from None
        except (Exception, SystemExit) as e:
            cause = e.__context__ if isinstance(e, SystemExit) else e
            if peer_has_gone(cause) and not os.environ.get('MMIRSTD_TRACEBACK'):
                time.sleep(PATIENCE)
                text = f'[rank {_rank()}] error: another process has gone; its error says why ({first_line(cause)})'
                _leave(error := SystemExit(text))
                raise error from None
            if not isinstance(e, SystemExit) or e.code:
                _leave(e)
            raise

    return wrapper


class _LineOrTraceback(ErrorHandler):
    """Gives torchrun the traceback of an exception, and of an exit its line."""

    def record_exception(self, e: BaseException) -> None:
        if not isinstance(e, SystemExit):
            super().record_exception(e)
        elif path := self._get_error_file_path():
            self._write_error_file(path, json.dumps({'message': str(e.code), 'timestamp': int(time.time())}))


def _leave(error: BaseException, status: int = 1) -> None:
    """Tell torchrun, and mean to end."""
    _LineOrTraceback().record_exception(error)
    # A backend with collectives under way may keep the interpreter from ending.
    timer = threading.Timer(30, os._exit, (status,))
    timer.daemon = True
    timer.start()
    if not torch_dist.is_initialized():
        _let_others_start()


def _rank() -> str:
    return os.environ.get('RANK') or os.environ.get('SLURM_PROCID', '0')


def _let_others_start() -> None:
    """Join the group that other machines wait in, to leave it at once: they then fail, rather than wait for long."""
    local, world = (int(os.environ.get(k, 1)) for k in ('LOCAL_WORLD_SIZE', 'WORLD_SIZE'))
    if 'TORCHELASTIC_RUN_ID' in os.environ and local < world:
        try:
            start_gloo_on_cpu('pytorch', timeout=20)
        except (RuntimeError, ValueError) as e:
            print(f'[rank {_rank()}] the others do not answer ({first_line(e)})', file=sys.stderr, flush=True)


def _die_with_launcher() -> None:
    if sys.platform == 'linux' and 'TORCHELASTIC_RUN_ID' in os.environ:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _slurm_environment() -> None:
    try:
        rank, world, nodes = (os.environ[k] for k in ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'))
    except KeyError as e:
        raise RuntimeError(f"launcher 'slurm': {e.args[0]} not set; start with tools/slurm_train.sh") from None
    if 'MASTER_ADDR' not in os.environ:
        hosts = subprocess.run(
            ['scontrol', 'show', 'hostnames', nodes], check=True, capture_output=True, text=True, timeout=60
        )
        os.environ['MASTER_ADDR'] = hosts.stdout.split()[0]
    os.environ.setdefault('MASTER_PORT', '29500')
    os.environ.update(RANK=rank, WORLD_SIZE=world, LOCAL_RANK=os.environ.get('SLURM_LOCALID', '0'))


def import_formatter(tries: int = 100, pause: float = 0.05) -> None:
    """Import yapf, with which MMEngine writes configs.

    The first import of an installation writes a cache of the user, and gives it its name before its content: another
    process of the same job then reads an empty file, and is to try again.

    Raises:
        EOFError: If the file stays as it is.
    """
    for i in range(tries):
        try:
            importlib.import_module('yapf')
            return
        except (EOFError, pickle.UnpicklingError):
            if i == tries - 1:
                raise
            time.sleep(pause)
