"""What users call: one function for each thing to do.

Each is imported when it is first asked for: ``from mmirstd.apis import train`` imports what training needs, no more.
"""

from importlib import import_module
from typing import Any

# Name -> module. No module is called as what is in it: importing a submodule sets its name here to the module.
_MODULES = {
    'IRSTDInferencer': 'inferencer',
    'describe_sets': 'preparing',
    'infer': 'infer_files',
    'init_model': 'inference',
    'list_models': 'inference',
    'predict': 'inferencer',
    'prepare': 'preparing',
    'test': 'testing',
    'train': 'training',
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_MODULES[name]}'), name)


def __dir__() -> list[str]:
    return __all__
