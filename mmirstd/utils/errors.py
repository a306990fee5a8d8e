"""Errors whose message is meant for the user, and any error in one line."""

import traceback

from mmirstd.utils.text import shorten

_LONGEST = 4000  # of a message: what it quotes may be a whole file


class UserError(Exception):
    """Says what is wrong in one line, as seen from outside: a command line shows the message alone.

    Inherit beside a built-in type: ``class CheckpointError(UserError, RuntimeError)``.
    """


class ArgumentError(UserError, ValueError):
    """An argument is wrong by itself, whatever the files hold; a command line exits with status 2."""


class MissingExtraError(UserError, ImportError):
    """A package that comes with an extra is not installed.

    Args:
        what: What needs it.
        extra: Name of the extra.
        cause: The error of the import.
    """

    def __init__(self, what: str, extra: str, cause: ImportError) -> None:
        super().__init__(f"{what} the extra '{extra}': pip install 'mmirstd[{extra}]' ({cause})")


def describe(error: Exception) -> str:
    """One line: the message, and for errors that are not raised for the user also their type."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    message = shorten(' '.join(message.split()), _LONGEST)
    if isinstance(error, (UserError, OSError)):
        return message
    if not message and (frames := traceback.extract_tb(error.__traceback__)):  # a bare assertion
        message = f'{frames[-1].line} ({frames[-1].filename}:{frames[-1].lineno})'
    return f'{type(error).__name__}: {message} (MMIRSTD_TRACEBACK=1 shows where)'
