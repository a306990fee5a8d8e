"""Nested dicts and lists, as configs are."""

from collections.abc import Collection, Mapping
from typing import Any


def without_keys(node: Any, keys: Collection[str]) -> Any:
    """Copy nested dicts and lists without some keys, wherever they stand; tuples become lists.

    >>> without_keys({'type': 'A', 'parts': ({'type': 'B', 'size': 1},)}, {'size'})
    {'type': 'A', 'parts': [{'type': 'B'}]}
    """
    if isinstance(node, Mapping):
        return {key: without_keys(value, keys) for key, value in node.items() if key not in keys}
    return [without_keys(value, keys) for value in node] if isinstance(node, (list, tuple)) else node
