"""How transforms are shown in logs."""

from collections import ChainMap
from inspect import signature


class ShownByArguments:
    """Mixin whose ``repr`` is the call that makes the object.

    Every argument is an attribute of its name, or an entry of a dict that is an attribute.
    """

    def __repr__(self) -> str:
        stored = vars(self)
        values = ChainMap(stored, *(value for value in stored.values() if isinstance(value, dict)))
        arguments = ', '.join(f'{name}={values[name]!r}' for name in signature(type(self)).parameters if name in values)
        return f'{type(self).__name__}({arguments})'
