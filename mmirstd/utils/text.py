"""Text for messages."""

from collections.abc import Sequence


def abridge(names: Sequence[str], limit: int = 5) -> str:
    """Join the first few names for a message."""
    return ', '.join(map(str, names[:limit])) + (', ...' if len(names) > limit else '')


def first_line(error: BaseException) -> str:
    """Type of an error and the first line of its message."""
    return f'{type(error).__name__} {error}'.split('\n', 1)[0]
