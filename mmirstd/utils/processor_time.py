"""Processor time of a process and of those that it started."""

import multiprocessing
import os
from contextlib import suppress
from pathlib import Path


def processor_seconds() -> float:
    """Seconds that the cores spent on this process, on its ended children, and on its loaders' workers.

    Workers that are still running count on Linux alone.
    """
    spent = os.times()
    total = spent.user + spent.system + spent.children_user + spent.children_system
    for child in multiprocessing.active_children():
        with suppress(OSError, ValueError, IndexError):  # it has just ended, or there is no /proc
            fields = Path(f'/proc/{child.pid}/stat').read_text().rpartition(')')[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
    return total
