"""Ctrl-C and SIGTERM: at once, or in training after the iteration, with a checkpoint."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM)
STATUSES = tuple(128 + number for number in SIGNALS)  # exit statuses of a process that such a signal has ended
# Of what comes from a keyboard or a cluster to all processes of a job, its launcher sends each of them a copy.
ECHO = 1.0

T = TypeVar('T')


class Interrupted(KeyboardInterrupt):
    """A signal has asked for the end; a command line shows the message and exits with 128 and the signal's number.

    Attributes:
        number: The signal.
        agreed: Whether all processes of a job end for this reason, so that the first one's message is enough.
    """

    def __init__(self, number: int, message: str = '', agreed: bool = False) -> None:
        super().__init__(f'interrupted by {signal.Signals(number).name}{message}')
        self.number, self.agreed = number, agreed


class PendingSignal:
    """The signal that has come, for whoever asks between two iterations.

    Args:
        echo: Seconds in which further signals are copies of the first.

    Attributes:
        deferred: Whether a first signal only sets ``number``; a second one, or one that is not deferred, raises
            :class:`Interrupted` where the program is.
        number: The signal that has come; None: none has.
    """

    def __init__(self, echo: float = 0.0) -> None:
        self.deferred = False
        self.number: int | None = None
        self._echo, self._came = echo, 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.deferred and self.number is None:
            self.number, self._came = number, time.monotonic()
        elif not self.deferred or time.monotonic() - self._came >= self._echo:
            raise Interrupted(number)


@contextmanager
def handled_signals(echo: float = 0.0) -> Iterator[PendingSignal]:
    """Handle :data:`SIGNALS` during the block; other threads than the main one cannot, and then nothing is changed."""
    pending = PendingSignal(echo)
    if threading.current_thread() is not threading.main_thread():
        yield pending
        return
    before = {number: signal.signal(number, pending) for number in SIGNALS}
    try:
        yield pending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interruption_message(message: str) -> Iterator[None]:
    """Give what a signal raises in the block another message: what to do next."""
    try:
        yield
    except Interrupted as error:
        raise Interrupted(error.number, f': {message}', error.agreed) from None


def wait_for_training(wait: Callable[[], T], terminate: Callable[[], None]) -> T:
    """Wait for the process of a training, and pass signals on: the first has it write a checkpoint, a second ends it.

    Args:
        wait: Waits until the process has ended.
        terminate: Sends it SIGTERM. No other signal may reach it.

    Returns:
        What ``wait`` returns.

    Raises:
        KeyboardInterrupt: If a signal came, once the process has ended.
    """
    came: KeyboardInterrupt | None = None
    while True:
        try:
            if came is not None:
                terminate()
            result = wait()
        except KeyboardInterrupt as error:
            if came is None:
                line = f'{error or "interrupted"}: waiting for the run to stop; a second signal stops it at once'
                print(line, file=sys.stderr, flush=True)
            came = came or error
        else:
            if came is not None:
                raise came
            return result


def leave_signals_to_parent() -> None:
    """Let a loader's worker live through signals that go to all processes of a job: its parent ends it in time.

    Training needs its samples for the iteration under way. Where the system does not tell who has sent a signal (not
    Linux), SIGTERM ends the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, 'sigwaitinfo'):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_for_parent, args=(os.getppid(),), daemon=True).start()


def _end_for_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)  # as PyTorch's workers do; anything else is a failure to it
