"""Errors whose message is meant for the user."""


class UserError(Exception):
    """Says what is wrong in one line, as seen from outside: a command line shows the message alone.

    Inherit beside a built-in type: ``class CheckpointError(UserError, RuntimeError)``.
    """


class ArgumentError(UserError, ValueError):
    """An argument is wrong by itself, whatever the files hold; a command line exits with status 2."""
