"""Scripts of other projects that are to know mmirstd."""

import runpy
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import mmirstd.registry  # noqa: F401  that, and the names of configs, are what a script lacks


def run_script(script: str | Path, arguments: Sequence[str] = ()) -> None:
    """Run a Python file as the main program, with the registries and ``mmirstd::`` configs known.

    Args:
        script: A file; or ``'mmseg::analysis_tools/browse_dataset.py'``, one of the tools that an OpenMMLab package
            installs.
        arguments: Of its command line.

    Raises:
        FileNotFoundError: If there is no such script.
    """
    package, is_tool, name = str(script).partition('::')
    path = Path(script)
    if is_tool:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(f'{script}: the package {package} is not installed')
        path = Path(spec.origin).parent / '.mim/tools' / name
    if not path.is_file():
        raise FileNotFoundError(f'there is no script {path}')
    saved = sys.argv, sys.path[:]
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    try:
        runpy.run_path(str(path), run_name='__main__')
    finally:
        sys.argv, sys.path[:] = saved
