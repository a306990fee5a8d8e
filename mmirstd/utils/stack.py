"""Which OpenMMLab stack is installed, is it new enough, and where its configs are.

Two families of distributions install the import names ``mmengine``, ``mmcv`` and ``mmseg``: the maintained ``onedl-*``
and the original ones. Neither is required outright, so this module looks for either. It runs before anything else is
imported and by ``setup.py``: standard library only.
"""

import re
import warnings
from importlib.metadata import PackageNotFoundError, version

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


def requirements(stack: str) -> list[str]:
    """Pip requirements of one stack; mmseg imports ``ftfy`` and ``regex`` but the distributions do not all say so."""
    return [dist + spec for dist, spec in STACKS[stack].values()] + ['ftfy', 'regex']


def _installed(dist: str) -> str | None:
    try:
        return version(dist)
    except PackageNotFoundError:
        return None


def _release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.match(r'[\d.]+', text)[0].strip('.').split('.'))


def _fits(found: str, spec: str) -> bool:
    for clause in spec.split(','):
        bound = _release(clause.lstrip('<>='))
        if clause.startswith('>=') and _release(found) < bound:
            return False
        if clause.startswith('<') and _release(found) >= bound:
            return False
    return True


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
    if problems:
        commands = [
            f'  pip install {" ".join(repr(r) for r in [f"torch>={MIN_TORCH}", *requirements(s)])}' for s in STACKS
        ]
        raise ImportError(
            'mmirstd cannot run with what is installed here. It needs\n  '
            + '\n  '.join(problems)
            + f'\nInstall the maintained packages with\n{commands[0]}\nor the original ones with\n{commands[1]}'
        )
    return found


def _state(found: str | None, dist: str = '') -> str:
    return f'{dist} {found} is installed'.strip() if found else 'not installed'


def register_config_packages(found: dict[str, str]) -> None:
    """Make ``_base_ = 'mmseg::...'`` and ``_base_ = 'mmirstd::...'`` work.

    MMEngine looks up which distribution holds a package's configs in a table that knows the original distributions
    only.
    """
    from mmengine.config.utils import MODULE2PACKAGE

    MODULE2PACKAGE['mmseg'] = found['mmseg']
    MODULE2PACKAGE['mmirstd'] = 'mmirstd'
