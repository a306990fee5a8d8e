"""Scripts of other projects, run with the names of mmirstd."""

import subprocess
import sys

import pytest

from mmirstd.apis import run_script


@pytest.fixture
def config(tmp_path, tiny_config):
    return tiny_config(runtime='mmirstd::_base_/default_runtime.py')


def test_a_tool_of_mmsegmentation_takes_a_config_with_our_base(config, tmp_path, call, capsys):
    """In a process that knows nothing of mmirstd yet; without `mmirstd run`, MMEngine refuses the base."""
    command = [sys.executable, '-m', 'mmirstd', 'run', 'mmseg::analysis_tools/get_flops.py', config, '--shape', '64']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'Params: 0.913K' in done.stdout


def test_a_script_sees_its_arguments_and_its_folder(tmp_path, call, capsys):
    (tmp_path / 'beside.py').write_text('value = 7\n')
    (tmp_path / 'script.py').write_text(
        'import sys, beside\nprint(__name__, sys.argv[1:], beside.value)\nsys.exit(3)\n'
    )
    argv, path = sys.argv, list(sys.path)
    assert call('run', 'script.py', '--flag', '-x', 'y') == 3
    assert capsys.readouterr().out == "__main__ ['--flag', '-x', 'y'] 7\n"
    assert (sys.argv, sys.path) == (argv, path)


@pytest.mark.parametrize(
    ('script', 'message'),
    [
        ('none.py', 'there is no script none.py'),
        ('mmseg::none.py', r'there is no script .*none\.py'),
        ('no_such_package::a.py', 'no_such_package::a.py: the package no_such_package is not installed'),
    ],
)
def test_no_script(script, message):
    with pytest.raises(FileNotFoundError, match=message):
        run_script(script)
