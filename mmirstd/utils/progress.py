"""Progress bars."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress_bar(
    items: Iterable | None = None,
    description: str | None = None,
    total: int | None = None,
    unit: str = 'it',
    delay: float = 0,
    disable: bool = False,
) -> tqdm:
    """Show a progress bar on stderr, if that is a terminal, and only in the main process of a job.

    Args:
        items: What to iterate over; without, call ``update()`` on the result.
        description: What is being done, in front of the bar.
        total: Number of items, where ``items`` has no length.
        unit: Name of an item.
        delay: Seconds before the bar appears.
        disable: Show nothing.
    """
    from mmengine.dist import is_main_process  # imports torch

    # None: tqdm looks whether stderr is a terminal.
    quiet = True if disable or not is_main_process() else None
    return tqdm(
        items,
        description,
        total,
        file=sys.stderr,
        leave=False,
        delay=delay,
        unit=unit,
        disable=quiet,
        dynamic_ncols=True,
    )
