"""Values written as Python writes them, read without running anything."""

import ast
from typing import Any

NO_LITERAL = object()


def literal(text: str) -> Any:
    """Read numbers, texts in quotes, None, True, False, lists, tuples and dicts, ``dict(key=value)`` included.

    Returns:
        The value; ``NO_LITERAL`` if the text is anything else.

    >>> literal("[dict(type='A', n=-1), (2, None)]")
    [{'type': 'A', 'n': -1}, (2, None)]
    >>> literal('print(1)') is NO_LITERAL
    True
    """
    try:
        return literal_node(ast.parse(text.strip(), mode='eval').body)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return NO_LITERAL


def literal_node(node: ast.expr) -> Any:
    """The same of a node of a syntax tree; ValueError if it is anything else."""
    if isinstance(node, (ast.List, ast.Tuple)):
        values = [literal_node(item) for item in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {literal_node(k): literal_node(v) for k, v in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args:
        if any(keyword.arg is None for keyword in node.keywords):
            raise ValueError('dict(**...)')
        return {keyword.arg: literal_node(keyword.value) for keyword in node.keywords}
    return ast.literal_eval(node)
