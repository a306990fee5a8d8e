"""Text for messages."""

from collections.abc import Sequence


def abridge(names: Sequence[str], limit: int = 5) -> str:
    """Join the first few names for a message."""
    return ', '.join(map(str, names[:limit])) + (', ...' if len(names) > limit else '')
