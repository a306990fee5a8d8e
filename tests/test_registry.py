"""The registries of scope ``mmirstd``."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import mmengine.registry
import pytest
from mmengine.registry import Registry

import mmirstd.registry
from mmirstd.utils.configs import find_config, list_configs

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


def from_fresh_process(*names):
    command = [sys.executable, Path(__file__).with_name('build_from_bases.py'), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.returncode) == ('', 0), done.stderr[-2000:]


def config_names():
    configs = (find_config(name) for name in list_configs())
    return [
        f'{path.parent.name}/{path.stem}'
        for path in configs
        if find_spec('mmpretrain') or 'mmpretrain' not in path.read_text()
    ]


def test_every_part_of_a_config_is_found_from_a_base():
    """With parts of MMSegmentation and MMEngine beside them, and without a warning: every fourth config."""
    from_fresh_process(*config_names()[::4])


@pytest.mark.exhaustive
@pytest.mark.parametrize('name', list_configs())
def test_a_config_is_found_as_the_first_base(name):
    """In a process of its own: no other config has imported what it needs."""
    if names := [n for n in config_names() if n.endswith(f'/{name}')]:
        from_fresh_process(*names)
