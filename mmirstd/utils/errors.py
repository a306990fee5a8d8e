"""Errors whose message is meant for the user."""


class UserError(Exception):
    """Says what is wrong in one line, as seen from outside: a command line shows the message alone.

    Inherit beside a built-in type: ``class CheckpointError(UserError, RuntimeError)``.
    """
