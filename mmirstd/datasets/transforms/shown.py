"""How transforms are shown in logs."""

from collections import ChainMap
from inspect import Parameter, signature


class ShownByArguments:
    """Mixin whose ``repr`` is the call that makes the object.

    Every argument is an attribute of its name, or an entry of a dict that is an attribute. What is passed on as
    ``**name`` is an attribute of this name, a dataclass with these fields.
    """

    def __repr__(self) -> str:
        stored = vars(self)
        values = ChainMap(stored, *(value for value in stored.values() if isinstance(value, dict)))
        shown = {}
        for name, parameter in signature(type(self)).parameters.items():
            if parameter.kind is Parameter.VAR_KEYWORD and name in stored:
                shown |= vars(stored[name])
            elif name in values:
                shown[name] = values[name]
        arguments = ', '.join(f'{name}={value!r}' for name, value in shown.items())
        return f'{type(self).__name__}({arguments})'
