"""Distributed jobs on machines without a GPU, which MMEngine's launchers cannot start."""

import gc
import os
import subprocess

import torch.distributed as torch_dist
from mmengine.device import get_device
from mmengine.runner import Runner


def start_gloo_on_cpu(launcher: str) -> bool:
    """Start the gloo process group where MMEngine would call ``torch.cuda.set_device`` and fail.

    Args:
        launcher: ``'none'`` (nothing is done), ``'pytorch'`` (torchrun's environment variables) or ``'slurm'``.

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
        raise RuntimeError(f'launcher {launcher!r}: {", ".join(missing)} not set; start with tools/dist_train.sh')
    torch_dist.init_process_group('gloo')
    return True


def stop_distributed(runner: Runner | None) -> None:
    """End the process group; ``runner`` loses its model and cannot be used any more.

    Left to the interpreter's exit, a thread of gloo that still holds the last tensor now and then aborts the process
    after its work is done. The threads end with the last reference to the group, and DDP holds one.
    """
    if torch_dist.is_initialized():
        if runner is not None:
            runner.model = None
            gc.collect()
        torch_dist.destroy_process_group()


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
