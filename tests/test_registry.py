"""The registries of scope ``mmirstd``."""

import mmengine.registry
import pytest
from mmengine.registry import Registry

import mmirstd.registry

NAMES = sorted(name for name, value in vars(mmengine.registry).items() if isinstance(value, Registry))


@pytest.mark.parametrize('name', NAMES)
def test_each_kind_is_found_by_the_scope(name):
    """A config with a base ``mmirstd::...`` builds all its parts by this scope, MMEngine's own among them."""
    root = getattr(mmengine.registry, name)
    with root.switch_scope_and_registry(mmirstd.registry.SCOPE) as found:
        assert found.scope == mmirstd.registry.SCOPE
        assert found.root is root


def test_parts_of_mmengine_are_built_under_the_scope():
    scheduler = mmengine.registry.PARAM_SCHEDULERS
    with scheduler.switch_scope_and_registry('mmirstd') as found:
        assert found.get('LinearLR') is scheduler.get('LinearLR')
