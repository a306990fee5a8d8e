"""Ctrl-C and SIGTERM: at once, or in training after the iteration, with a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal has asked for the end; a command line shows the message and exits with 128 and the signal's number."""

    def __init__(self, number: int, message: str = '') -> None:
        super().__init__(f'interrupted by {signal.Signals(number).name}{message}')
        self.number = number


class PendingSignal:
    """The signal that has come, for whoever asks between two iterations.

    Attributes:
        deferred: Whether a first signal only sets ``number``; a second one, or one that is not deferred, raises
            :class:`Interrupted` where the program is.
        number: The signal that has come; None: none has.
    """

    def __init__(self) -> None:
        self.deferred = False
        self.number: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if not self.deferred or self.number is not None:
            raise Interrupted(number)
        self.number = number


@contextmanager
def handled_signals() -> Iterator[PendingSignal]:
    """Handle :data:`SIGNALS` during the block; other threads than the main one cannot, and then nothing is changed."""
    pending = PendingSignal()
    if threading.current_thread() is not threading.main_thread():
        yield pending
        return
    before = {number: signal.signal(number, pending) for number in SIGNALS}
    try:
        yield pending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
