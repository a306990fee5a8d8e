"""Failures on a command line, in one line."""

import os

from mmirstd.utils.errors import UserError


def needs_traceback(error: Exception) -> bool:
    """Whether one line says too little: only for what goes wrong in a run after its first batch.

    ``MMIRSTD_TRACEBACK=1`` shows tracebacks always.
    """
    if os.environ.get('MMIRSTD_TRACEBACK'):
        return True
    return getattr(error, 'after_start', False) and not isinstance(error, UserError)
