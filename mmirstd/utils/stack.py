"""Which OpenMMLab stack is installed, is it new enough, and where its configs are.

Two families of distributions install the import names ``mmengine``, ``mmcv`` and ``mmseg``: the maintained ``onedl-*``
and the original ones. Neither is required outright, so this module looks for either. It runs before anything else is
imported and by ``setup.py``: at import, standard library only.
"""

import io
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

MIN_TORCH = '2.6'

# Extra -> import name -> (distribution, version specifiers). mmsegmentation 1.2.2 refuses mmcv 2.2 and later.
STACKS: dict[str, dict[str, tuple[str, str]]] = {
    'onedl': {
        'mmengine': ('onedl-mmengine', '>=0.10.12'),
        'mmcv': ('onedl-mmcv', '>=2.3.6'),
        'mmseg': ('onedl-mmsegmentation', '>=1.4.2'),
    },
    'openmmlab': {
        'mmengine': ('mmengine', '>=0.10.7'),
        'mmcv': ('mmcv', '>=2.1.0,<2.2.0'),
        'mmseg': ('mmsegmentation', '>=1.2.2'),
    },
}

# mmcv's setup and mmengine import pkg_resources, which setuptools 82 dropped; setuptools 70.1 is for our own setup.
SETUPTOOLS = 'setuptools>=70.1,<82'
# mmcv is compiled against the torch that is installed, and pip would keep the result for any other torch.
COMPILE = '--no-build-isolation --no-cache-dir'


def requirements(stack: str) -> list[str]:
    """Pip requirements of one stack; mmseg imports ``ftfy`` and ``regex`` but the distributions do not all say so."""
    found = [dist + spec for dist, spec in STACKS[stack].values()] + ['ftfy', 'regex']
    return [*found, SETUPTOOLS] if stack == 'openmmlab' else found


def commands(stack: str) -> list[str]:
    """Shell commands that install torch and one stack in any environment."""
    torch = f'torch>={MIN_TORCH}'
    if stack == 'onedl':
        return [_pip_install(torch, *requirements(stack))]
    return [_pip_install(torch, SETUPTOOLS, 'ninja'), _pip_install(*requirements(stack), options=COMPILE)]


def _pip_install(*packages: str, options: str = '') -> str:
    return ' '.join(['pip install', *filter(None, [options]), *map(repr, packages)])


def _installed(dist: str) -> str | None:
    try:
        return version(dist)
    except PackageNotFoundError:
        return None


def _fits(found: str, specifiers: str) -> bool:
    from packaging.specifiers import SpecifierSet  # not there yet when setup.py runs this module

    return SpecifierSet(specifiers).contains(found, prereleases=True)


def check_stack() -> dict[str, str]:
    """Check torch and the three OpenMMLab packages, without importing them.

    Returns:
        import name -> installed distribution, for ``mmengine``, ``mmcv`` and ``mmseg``.

    Raises:
        ImportError: with everything that is missing or of a wrong version, and the commands that install it.
    """
    problems, found = [], {}
    torch_version = _installed('torch')
    if torch_version is None or not _fits(torch_version, f'>={MIN_TORCH}'):
        problems.append(f'torch>={MIN_TORCH} ({_state(torch_version)})')
    for name in STACKS['onedl']:
        candidates = [stack[name] for stack in STACKS.values()]
        installed = {dist: _installed(dist) for dist, _ in candidates}
        present = [dist for dist, found_version in installed.items() if found_version]
        fitting = [dist for dist, spec in candidates if installed[dist] and _fits(installed[dist], spec)]
        if fitting:
            found[name] = fitting[0]
        else:
            wanted = ' or '.join(dist + spec for dist, spec in candidates)
            state = ', '.join(_state(installed[dist], dist) for dist in present) or _state(None)
            problems.append(f'{name}: {wanted} ({state})')
        if len(present) > 1:
            warnings.warn(
                f'{" and ".join(present)} both install the package {name} and overwrite each other: uninstall both, '
                'then install one.',
                stacklevel=3,
            )
    if found.get('mmengine') == 'mmengine' and find_spec('pkg_resources') is None:
        state = _state(_installed('setuptools'), 'setuptools')
        problems.append(f'pkg_resources, for mmengine ({state}): {_pip_install(SETUPTOOLS)}')
    if found.get('mmcv') == 'mmcv' and not _is_compiled('mmcv'):
        again = _pip_install('mmcv' + STACKS['openmmlab']['mmcv'][1], options=f'{COMPILE} --no-deps --force-reinstall')
        problems.append(f'the compiled ops of mmcv, for mmseg (mmcv was built where there was no torch): {again}')
    if problems:
        onedl, openmmlab = ('\n  '.join(['', *commands(stack)]) for stack in STACKS)
        raise ImportError(
            'mmirstd cannot run with what is installed here. It needs\n  '
            + '\n  '.join(problems)
            + f'\nInstall the maintained packages with{onedl}\nor the original ones with{openmmlab}'
        )
    return found


def _is_compiled(package: str) -> bool:
    """Whether ``package._ext`` is there; as a file, since to find a submodule imports the package."""
    spec = find_spec(package)
    return bool(spec and spec.origin and next(Path(spec.origin).parent.glob('_ext.*'), None))


def _state(found: str | None, dist: str = '') -> str:
    return f'{dist} {found} is installed'.strip() if found else 'not installed'


def register_config_packages(found: dict[str, str]) -> None:
    """Make ``_base_ = 'mmseg::...'`` and ``_base_ = 'mmirstd::...'`` work.

    MMEngine looks up which distribution holds a package's configs in a table that knows the original distributions
    only. mmengine 0.10.7 takes a distribution's folder to be the one its metadata lie in, where an editable install
    has no package. A name that is a module but no distribution makes it, as onedl-mmengine, look where the module is.

    MMEngine imports torch, which takes seconds, so the table is changed when something imports it.
    """
    packages = {'mmseg': found['mmseg'], 'mmirstd': 'mmirstd.version'}

    def fill(load: Callable[[], None], name: str) -> None:
        load()
        sys.modules[name].MODULE2PACKAGE.update(packages)

    _at_import('mmengine.config.utils', fill)


def keep_import_quiet() -> None:
    """Keep onedl-mmsegmentation from printing at its import, among a program's results, that it found no OneDL."""

    def quietly(load: Callable[[], None], name: str) -> None:
        printed = io.StringIO()
        with redirect_stdout(printed):
            load()
        for line in printed.getvalue().splitlines():
            if line != 'Could not import OneDL':
                print(line)

    _at_import('mmseg.datasets', quietly)


def _at_import(name: str, action: Callable[[Callable[[], None], str], None]) -> None:
    """Have `action(load, name)` called when a module is imported, `load` running it; at once if it is imported."""
    if name in sys.modules:
        action(lambda: None, name)
    else:
        sys.meta_path.insert(0, _AtImport(name, action))


class _AtImport(MetaPathFinder):
    def __init__(self, name: str, action: Callable[[Callable[[], None], str], None]) -> None:
        self.name, self.action = name, action

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        load = spec.loader.exec_module
        spec.loader.exec_module = lambda module: self.action(lambda: load(module), name)
        return spec
