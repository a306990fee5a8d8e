"""The console script: its help without torch, its errors in one line."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import mmirstd
from mmirstd import __version__
from mmirstd.cli import main
from mmirstd.cli.main import COMMANDS
from mmirstd.utils.errors import describe

# A module that is None in sys.modules cannot be imported.
WITHOUT_TORCH = """
import sys
sys.modules.update(dict.fromkeys(['torch', 'mmengine', 'mmcv', 'mmseg', 'matplotlib', 'scipy', 'cv2', 'numpy']))
from mmirstd.cli.main import COMMANDS, main
for command in [None, *COMMANDS]:
    try:
        main([*(command or '').split(), '--help'])
    except SystemExit as e:
        assert e.code == 0, command
"""


def test_help_needs_nothing_but_the_standard_library():
    done = subprocess.run([sys.executable, '-c', WITHOUT_TORCH], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'usage: mmirstd [-h] [--version] COMMAND' in done.stdout
    for command, line in COMMANDS.items():
        assert f'usage: mmirstd {command} [-h]' in done.stdout
        assert line.split()[0] in done.stdout


def test_the_module_runs():
    done = subprocess.run([sys.executable, '-m', 'mmirstd', '--version'], capture_output=True, text=True)
    assert done.stdout == f'mmirstd {__version__}\n'


@pytest.mark.parametrize(
    ('argv', 'line'),
    [
        ([], 'required: COMMAND'),
        (['trian'], "invalid choice: 'trian'"),
        (['train'], 'train CONFIG, or train --finetune'),
        (['test'], 'required: config'),
    ],
)
def test_wrong_commands(argv, line, capsys):
    with pytest.raises(SystemExit) as info:
        main(argv)
    assert info.value.code == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(('processes', 'wrapped'), [(None, False), ('1', False), ('2', True)])
def test_one_of_several_processes_ends_as_such(processes, wrapped, monkeypatch):
    calls = []
    monkeypatch.setitem(
        sys.modules, 'mmirstd.cli.models', SimpleNamespace(add_arguments=lambda parser: None, run=calls.append)
    )
    monkeypatch.setitem(COMMANDS, 'models', '')
    monkeypatch.setattr('mmirstd.engine.distributed.one_of_many', lambda run: lambda: calls.append('wrapped') or run())
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    if processes:
        monkeypatch.setenv('WORLD_SIZE', processes)
    main(['models'])
    assert ('wrapped' in calls) == wrapped
    assert len(calls) == 1 + wrapped


def test_models_that_match_nothing(capsys):
    assert main(['models', 'simmir*']) == 1
    assert capsys.readouterr().err == "no shipped config matches 'simmir*'; `mmirstd models` lists all\n"


def test_units_of_the_models_metrics(capsys):
    assert main(['models', 'sgem_unet-s_5500_nudt']) == 0
    units = r'NUDT-SIRST +IoU [\d.]+ %, nIoU [\d.]+ %, Pd [\d.]+ %, Fa [\d.]+e-6  weights in the package\n'
    assert re.search(units, capsys.readouterr().out)


def test_models_with_weights_in_the_package(capsys):
    assert main(['models', '--packaged', '--json']) == 0
    found = {row['name'] for row in json.loads(capsys.readouterr().out)}
    assert found == {path.stem for path in Path(mmirstd.__file__).parent.glob('weights/*.safetensors')}
    assert main(['models', 'irsam*', '--packaged']) == 1
    assert "no config with weights in the package matches 'irsam*'" in capsys.readouterr().err


def test_a_bare_assertion_says_what_it_asserts():
    with pytest.raises(AssertionError) as info:
        exec('def check(x):\n    assert x\ncheck(0)')
    assert re.match(r'AssertionError: .* \(<string>:2\)', describe(info.value))
