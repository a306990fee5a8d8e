from pathlib import Path

import pytest

from mmirstd.utils import configs
from mmirstd.utils.configs import CONFIGS_DIR, ConfigNotFoundError, find_config, list_configs

ROOT = Path(__file__).resolve().parents[2]
NAME = 'simir_repvit-fast_nudt'


def test_names_are_those_of_the_files_and_unique():
    files = [path for path in (ROOT / 'configs').glob('*/*.py') if path.parent.name != '_base_']
    assert list_configs() == sorted(path.stem for path in files)
    assert len(set(list_configs())) == len(files)


@pytest.mark.parametrize(
    ('pattern', 'names'),
    [
        (NAME, [NAME]),
        ('simir_*-fast_nu*', ['simir_repvit-fast_nuaa', NAME]),
        ('NO SUCH', []),
        ('fsdp', ['simir_repvit_nudt_fsdp']),
    ],
)
def test_patterns(pattern, names):
    assert list_configs(pattern) == names


@pytest.mark.parametrize(
    'form', [NAME, f'simir/{NAME}', f'mmirstd::simir/{NAME}.py', f'mmirstd::simir/{NAME}', f'mmirstd::{NAME}']
)
def test_shipped_configs_are_found_anywhere(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(form) == CONFIGS_DIR / f'simir/{NAME}.py'


def test_a_file_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path(f'{NAME}.py')
    path.touch()
    assert find_config(path) == path
    assert find_config(tmp_path / path) == tmp_path / path
    Path(NAME).touch()
    with pytest.raises(ConfigNotFoundError, match=f'{NAME} is no config file: its name ends in none of .py'):
        find_config(NAME)


@pytest.mark.parametrize(
    ('wrong', 'line'),
    [
        ('simir_repvit_fast_nudt', f'no shipped config of that name; did you mean .*{NAME}'),
        (f'{NAME}.py', f'there is no config file {NAME}.py, .* did you mean {NAME}'),  # a file that is elsewhere
        ('zzz', r'of that name \(`mmirstd models` lists those\)'),
        ('_base_/default_runtime', 'no shipped config'),
        ('mmirstd::sgem/simir_repvit_nudt.py', 'there is no config file mmirstd::sgem/simir_repvit_nudt.py'),
    ],
)
def test_names_that_are_wrong(wrong, line):
    with pytest.raises(ConfigNotFoundError, match=line):
        find_config(wrong)


def test_without_configs(monkeypatch, tmp_path):
    monkeypatch.setattr(configs, 'CONFIGS_DIR', tmp_path / 'none')
    with pytest.raises(ConfigNotFoundError, match='installed without its configs'):
        list_configs()
