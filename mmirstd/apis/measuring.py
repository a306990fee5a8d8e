"""Time and memory of calls, measured so that what else the machine does meets all of them alike."""

import ctypes
import gc
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmirstd.utils.progress import progress_bar

CLEAR_REFS = Path('/proc/self/clear_refs')
Run = Callable[[], Tensor]


def as_cuda_graph(run: Run) -> Callable[[], None]:
    """Capture a warmed-up call; the result replays it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = run()
    return lambda output=output: graph.replay()  # the output's memory must stay alive with the graph


def timer(run: Callable[[], Any], device: str) -> Callable[[], float]:
    """A function that makes one call and returns its seconds; on a GPU between two events on the stream."""
    if device == 'cpu':

        def timed() -> float:
            start = time.perf_counter()
            run()
            return time.perf_counter() - start

    else:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        def timed() -> float:
            start.record()
            run()
            end.record()
            end.synchronize()
            return start.elapsed_time(end) / 1e3

    return timed


def interleave(timed: dict[str, Callable[[], float]], rounds: int, seconds: float) -> list[dict[str, list[float]]]:
    """Seconds of all calls, by round and model, in the order they were made in.

    Every round starts with the next model. A slice lasts until its calls took ``seconds``, and has one call more before
    them that does not count, since caches hold the previous model.
    """
    names, found = list(timed), []
    enabled = gc.isenabled()
    gc.disable()
    try:
        for r in progress_bar(range(rounds), 'rounds'):
            first = r % len(names)
            found.append({})
            for name in names[first:] + names[:first]:
                timed[name]()
                calls = found[-1][name] = [timed[name]()]
                while sum(calls) < seconds:
                    calls.append(timed[name]())
            gc.collect()
    finally:
        if enabled:
            gc.enable()
    return found


def resident_growth(run: Run, warmup: int) -> int:
    """How far a warmed-up call raises the resident memory of this process, in bytes; Linux only."""
    for _ in range(warmup):
        run()
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed would hide what this one takes
    CLEAR_REFS.write_text('5')  # the peak starts again from here
    before = _status('VmRSS')
    run()
    return max(resident_peak() - before, 0)


def resident_peak() -> int:
    """The most resident memory that this process had so far, in bytes; Linux only.

    ``ru_maxrss`` starts with what the parent had when it forked.
    """
    return _status('VmHWM')


def _status(key: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f'{key}:')) * 1024


def gpu_memory(run: Run) -> int:
    """How far a call raises the allocated memory of the GPU, in bytes."""
    run()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def machine(device: str) -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path('/proc/cpuinfo').read_text().splitlines()
        cpu = next(line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    found = {'cpu': cpu, 'cores': os.cpu_count(), 'system': platform.system(), 'python': platform.python_version()}
    found['torch'] = torch.__version__
    if device == 'cuda':
        tf32 = {'conv': torch.backends.cudnn.allow_tf32, 'matmul': torch.backends.cuda.matmul.allow_tf32}
        found |= {'gpu': torch.cuda.get_device_name(), 'cuda': torch.version.cuda, 'tf32': tf32}
    return found
