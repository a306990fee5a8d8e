"""What ``mmirstd.apis`` exports."""

import subprocess
import sys
from types import ModuleType

import pytest

from mmirstd import apis


def test_every_name_is_what_it_says_whatever_was_imported_before():
    for name in apis.__all__:
        value = getattr(apis, name)  # imports the module, which python then sets as an attribute of the package
        assert getattr(apis, name) is value
        assert not isinstance(value, ModuleType)
        assert value.__name__ == name or name == 'list_models'
        assert value.__doc__
    assert set(dir(apis)) == set(apis.__all__)


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        apis.trian  # noqa: B018


def test_importing_the_package_imports_no_torch():
    code = 'import sys, mmirstd.apis; assert "torch" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)
