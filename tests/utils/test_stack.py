import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mmengine.config.utils
import mmengine.utils
import pytest
from packaging.requirements import Requirement

import mmirstd
from mmirstd.utils import stack

ROOT = Path(__file__).resolve().parents[2]
ONEDL = {'torch': '2.13.0+cpu', 'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6', 'onedl-mmsegmentation': '1.4.2'}
ORIGINAL = {'torch': '2.6.0', 'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmsegmentation': '1.2.2'}


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Pretend that just these distributions are installed, mmcv with its ops and setuptools with pkg_resources."""
    (tmp_path / '_ext.cpython-311-x86_64-linux-gnu.so').touch()

    def pretend(versions, modules=('pkg_resources', 'mmcv'), compiled=True):
        folder = tmp_path if compiled else tmp_path / 'nowhere'
        monkeypatch.setattr(stack, '_installed', versions.get)
        found = SimpleNamespace(origin=str(folder / '__init__.py'))
        monkeypatch.setattr(stack, 'find_spec', lambda name: found if name in modules else None)

    return pretend


@pytest.mark.parametrize('versions', [ONEDL, ORIGINAL, {**ONEDL, 'onedl-mmengine': '0.11.0rc1', 'torch': '3.0'}])
def test_either_stack_will_do(install, versions):
    install(versions)
    assert set(stack.check_stack().values()) == set(versions) - {'torch'}
    assert list(stack.check_stack()) == ['mmengine', 'mmcv', 'mmseg']


@pytest.mark.parametrize(
    ('versions', 'complaints'),
    [
        ({}, ['torch>=2.6 (not installed)', 'mmengine:', 'mmcv:', 'mmseg:']),
        ({**ONEDL, 'torch': '2.5.1'}, ['torch>=2.6 (2.5.1 is installed)']),
        ({**ORIGINAL, 'mmengine': '0.9.1'}, ['mmengine>=0.10.7 (mmengine 0.9.1 is installed)']),
        ({**ORIGINAL, 'mmcv': '2.2.0'}, ['mmcv>=2.1.0,<2.2.0 (mmcv 2.2.0 is installed)']),
        ({k: v for k, v in ONEDL.items() if k != 'onedl-mmsegmentation'}, ['mmseg:', '(not installed)']),
    ],
)
def test_what_is_wrong_and_what_to_do(install, versions, complaints):
    install(versions)
    with pytest.raises(ImportError) as info:
        stack.check_stack()
    message = str(info.value)
    for text in complaints:
        assert text in message
    for command in [c for name in stack.STACKS for c in stack.commands(name)]:
        assert f'\n  {command}' in message


def test_original_packages_need_their_ops_and_pkg_resources(install):
    install(ORIGINAL | {'setuptools': '84.2.1'}, modules=['mmcv'])
    with pytest.raises(ImportError, match=r"\(setuptools 84.2.1 is installed\): pip install 'setuptools>=70.1,<82'"):
        stack.check_stack()
    install(ORIGINAL, compiled=False)
    with pytest.raises(ImportError, match=r'ops of mmcv.*: pip install --no-build-isolation .*--force-reinstall'):
        stack.check_stack()
    install(ONEDL, modules=[])
    stack.check_stack()


def test_commands_can_be_pasted():
    (onedl,), (build, openmmlab) = (stack.commands(name) for name in ('onedl', 'openmmlab'))
    assert shlex.split(onedl) == ['pip', 'install', 'torch>=2.6', *stack.requirements('onedl')]
    assert shlex.split(build) == ['pip', 'install', 'torch>=2.6', 'setuptools>=70.1,<82', 'ninja']
    assert '--no-build-isolation' in openmmlab
    for requirement in shlex.split(openmmlab)[4:]:
        Requirement(requirement)


def test_two_stacks_at_once_are_reported(install):
    install(ONEDL | ORIGINAL)
    with pytest.warns(UserWarning, match='both install the package') as found:
        assert stack.check_stack()['mmcv'] == 'onedl-mmcv'
    assert len(found) == 3


def test_config_packages_are_registered():
    table = mmengine.config.utils.MODULE2PACKAGE
    assert mmengine.utils.is_installed(table['mmirstd'])
    assert Path(mmengine.utils.get_installed_path(table['mmirstd'])) == Path(mmirstd.__file__).parent
    assert table['mmseg'] == stack.check_stack()['mmseg']


def test_import_without_a_stack():
    """-S leaves site-packages out: what a fresh Python sees."""
    code = f'import sys; sys.path.insert(0, {str(ROOT)!r}); import mmirstd'
    done = subprocess.run([sys.executable, '-S', '-c', code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'torch>=2.6' 'onedl-mmengine>=" in done.stderr
    assert 'ModuleNotFoundError' not in done.stderr


def test_import_is_light():
    code = "import sys, mmirstd; print([m for m in ('torch', 'mmseg', 'mmcv', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split('\n')[-2] == '[]', done.stderr


def test_importing_everything_prints_nothing():
    """mmseg prints what it did not find, twice, where a program's results may be JSON."""
    code = 'import mmirstd, mmirstd.datasets, mmirstd.models, mmirstd.engine'
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == ''
