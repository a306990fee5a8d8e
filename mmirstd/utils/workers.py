"""Work on many items in several processes."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
from torch.utils.data import DataLoader, Dataset

from mmirstd.utils.errors import UserError, describe
from mmirstd.utils.progress import progress_bar


class _Failure(NamedTuple):
    message: str


class _Calls(Dataset):
    """A function of items, called in a worker; an error is handed back as a message.

    A worker's own report of an error is a page long, and an exception that cannot be pickled would never arrive.
    """

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.function, self.items = function, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.function(self.items[index])
        except Exception as error:
            if os.environ.get('MMIRSTD_TRACEBACK'):
                raise
            return _Failure(describe(error))


def map_in_processes(
    function: Callable[[Any], Any], items: Sequence[Any], workers: int, description: str, error: type[UserError]
) -> Iterator[Any]:
    """Yield ``function(item)`` for each item, in order, with a progress bar.

    Args:
        function: What is to be done, without side effects. It and the items are pickled where processes are spawned.
        items: What it is done with.
        workers: Number of processes; 0 is this one.
        description: What is being done, for the progress bar.
        error: Raised with the message of any exception of the function, in one line.
    """
    # As MMEngine does before it starts workers: a forked process hangs in OpenCV's threads.
    cv2.setNumThreads(0)
    loader = DataLoader(_Calls(function, items), batch_size=None, num_workers=workers, collate_fn=_unchanged)
    for result in progress_bar(loader, description, len(items), unit=' images'):
        if isinstance(result, _Failure):
            raise error(result.message)
        yield result


def _unchanged(item: Any) -> Any:
    return item
