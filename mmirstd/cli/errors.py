"""Failures on a command line, in one line."""

import os
import traceback

from mmirstd.utils.errors import UserError


def needs_traceback(error: Exception) -> bool:
    """Whether one line says too little: only for what goes wrong in a run after its first batch.

    ``MMIRSTD_TRACEBACK=1`` shows tracebacks always.
    """
    if os.environ.get('MMIRSTD_TRACEBACK'):
        return True
    return getattr(error, 'after_start', False) and not isinstance(error, UserError)


def describe(error: Exception) -> str:
    """One line: the message, and for errors that are not raised for the user also their type."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    message = ' '.join(message.split())
    if isinstance(error, (UserError, OSError)):
        return message
    if not message and (frames := traceback.extract_tb(error.__traceback__)):  # a bare assertion
        message = f'{frames[-1].line} ({frames[-1].filename}:{frames[-1].lineno})'
    return f'{type(error).__name__}: {message} (MMIRSTD_TRACEBACK=1 shows where)'
