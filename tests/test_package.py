"""The package as others get it: its wheel, its configs by name, its index of models."""

import ast
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import mmirstd
from mmirstd.utils.configs import list_configs

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """A wheel, built from a copy as pip builds it."""
    source, out = tmp_path_factory.mktemp('source') / 'checkout', tmp_path_factory.mktemp('wheel')
    names = ['mmirstd', 'configs', 'tools', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'model-index.yml']
    source.mkdir()
    for name in names:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', out, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return next(out.glob('*.whl'))


def files(folder, pattern):
    return {str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob(pattern) if '__pycache__' not in p.parts}


def test_wheel_holds_the_package_and_its_configs_tools_and_splits(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {n for n in names if '.dist-info/' not in n}
    expected = {n for n in files('mmirstd', '*.py') if '.mim' not in n} | files('mmirstd/datasets/splits', '*.txt')
    tools = {
        n for n in files('tools', '*.*') if not n.startswith(('tools/figures/', 'tools/benchmarks/', 'tools/demo'))
    }
    expected |= {f'mmirstd/.mim/{n}' for n in files('configs', '*.*') | tools | {'model-index.yml'}}
    expected |= {n for n in files('mmirstd/weights', '*') if (ROOT / n).is_file()}
    assert ours == expected
    assert {'mmirstd/.mim/tools/train.py', 'mmirstd/.mim/tools/dist_train.sh'} <= ours
    assert any('splits' in n for n in ours)
    licences = [n for n in names if n.endswith('LICENSE')]
    assert len(licences) == 1
    assert b'Apache License' in zipfile.ZipFile(wheel).read(licences[0])


def test_wheel_metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(next(n for n in archive.namelist() if n.endswith('METADATA'))).decode()
    fields = re.findall(r'^([\w-]+): (.*)$', metadata, re.M)
    values = {k: [v for name, v in fields if name == k] for k, _ in fields}
    assert values['Version'] == [mmirstd.__version__]
    assert values['Requires-Python'] == ['>=3.10']
    assert values['License'] == ['Apache-2.0']
    assert {'onedl', 'openmmlab', 'interop', 'dev'} <= set(values['Provides-Extra'])
    always = [r for r in map(Requirement, values['Requires-Dist']) if r.marker is None]
    assert next(str(r.specifier) for r in always if r.name == 'torch') == '>=2.6'
    installed = [r for r in always if r.specifier.contains(version(r.name), prereleases=True)]
    assert installed == always
    assert all(str(r.specifier).startswith('>=') for r in always)
    # What `mmirstd app`, `export`, `convert labels` and `--link` import when they are called.
    features = [r for r in map(Requirement, values['Requires-Dist']) if r.marker is not None]
    features = {
        r.name
        for r in features
        for extra in ('app', 'export', 'labels', 'video')
        if r.marker.evaluate({'extra': extra})
    }
    assert {r.name for r in always} == imported_distributions('mmirstd', 'tools') - features
    scripts = archive.read(next(n for n in archive.namelist() if n.endswith('entry_points.txt'))).decode()
    assert 'mmirstd = mmirstd.cli:main' in scripts


def imported_distributions(*folders):
    """What the code imports, less what a stack brings."""
    names = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob('*.py') if '.mim' not in path.parts):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.split('.')[0])
    names -= sys.stdlib_module_names | {'mmirstd', 'mmengine', 'mmcv', 'mmseg', 'cv2'}
    return {{'PIL': 'pillow', 'yaml': 'pyyaml'}.get(name, name) for name in names}


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    """A folder of its own that comes before the checkout."""
    folder = tmp_path_factory.mktemp('installed')
    command = [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', folder, wheel]
    subprocess.run(command, check=True)
    return folder


def test_installed_commands_work_outside_the_repository(installed, tmp_path):
    """By the name of a config, with nothing but the wheel."""

    def run(*arguments):
        env = {'PYTHONPATH': str(installed), 'OMP_NUM_THREADS': '1'}
        command = [installed / 'bin/mmirstd', *arguments]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    assert 'train a model' in run('--help')
    assert 'sgem_unet-s_synthetic' in run('models', 'synthetic').split()
    short = ('train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'train_dataloader.batch_size=2')
    small = ('val_dataloader.dataset.length=2', 'train_dataloader.num_workers=0', 'val_dataloader.num_workers=0')
    workers = ('train_dataloader.persistent_workers=False', 'val_dataloader.persistent_workers=False')
    out = run('train', 'sgem_unet-s_synthetic', '--cfg-options', *short, *small, *workers)
    assert 'nIoU' in out
    assert (tmp_path / 'work_dirs/sgem_unet-s_synthetic/iter_2.pth').is_file()
    assert list(tmp_path.glob('work_dirs/*/*/vis_data/events.out.tfevents*'))


def test_installed_wheel_finds_its_configs(installed, tmp_path):
    (tmp_path / 'mine.py').write_text("_base_ = 'mmirstd::_base_/default_runtime.py'\n")
    code = (
        'import mmirstd, mmengine\n'
        "cfg = mmengine.Config.fromfile('mine.py')\n"
        "print(mmirstd.__file__, cfg.runner_type, mmengine.utils.get_installed_path('mmirstd'))"
    )
    env = {'PYTHONPATH': str(installed)}
    done = subprocess.run([sys.executable, '-c', code], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path, runner, package = done.stdout.split()
    assert Path(path).is_relative_to(installed)
    assert Path(package) == installed / 'mmirstd'
    assert runner == 'mmirstd.StrictRunner'


@pytest.mark.parametrize(
    ('base', 'key'),
    [
        ('mmirstd::_base_/default_runtime.py', 'runner_type'),
        ('mmirstd::simir/simir_repvit_nudt.py', 'train_dataloader'),
        ('mmseg::_base_/models/upernet_r50.py', 'model'),
    ],
)
def test_configs_by_name(base, key, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('mine.py').write_text(f'_base_ = {base!r}\n')
    assert key in Config.fromfile('mine.py')


def test_model_index_is_complete():
    """MMEngine reads the index and all it names for every config of ours that is inherited."""
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    named = []
    assert index == sorted(str(p.relative_to(ROOT)) for p in (ROOT / 'configs').glob('*/metafile.yml'))
    for name in index:
        for model in yaml.safe_load((ROOT / name).read_text())['Models']:
            assert (ROOT / model['Config']).is_file(), model
            # MMEngine's inferencers find a model by its name here, and ask for this key.
            assert 'Weights' in model, model
            assert model['Name'] == Path(model['Config']).stem
            named.append(model['Name'])
    assert sorted(named) == list_configs()


def pins(name):
    """Distribution -> version in a file of requirements, for this Python."""
    found = {}
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    for requirement in map(Requirement, (line for line in lines if not line.startswith('#'))):
        (specifier,) = requirement.specifier
        assert specifier.operator == '=='
        if requirement.marker is None or requirement.marker.evaluate():
            assert found.setdefault(requirement.name, specifier.version) == specifier.version
    return found


@pytest.mark.parametrize(('name', 'stack'), [('lock', 'onedl'), ('interop', 'onedl'), ('openmmlab', 'openmmlab')])
def test_lock_files_hold_their_stack_and_what_is_required(name, stack, wheel):
    locked = {canonicalize_name(k): v for k, v in pins(f'{name}.txt').items()}
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(next(n for n in archive.namelist() if n.endswith('METADATA'))).decode()
    required = [Requirement(r) for r in re.findall(r'^Requires-Dist: (.*)$', metadata, re.M)]
    for requirement in required:
        if requirement.marker is None or requirement.marker.evaluate({'extra': stack}):
            assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


def test_the_lock_of_the_page_holds_its_extra_and_a_pillow_that_goes_with_gradio(wheel):
    test_lock_files_hold_their_stack_and_what_is_required('app', 'onedl', wheel)
    test_lock_files_hold_their_stack_and_what_is_required('app', 'app', wheel)
    page, lock = pins('app.txt'), pins('lock.txt')
    assert Version(page['pillow']) < Version('13')
    shared = page.keys() & lock.keys() - {'pillow'}
    assert sys.version_info < (3, 11) or {k for k in shared if page[k] != lock[k]} == set()


def test_locks_differ_in_the_stack_only():
    onedl, openmmlab = pins('lock.txt'), pins('openmmlab.txt')
    assert onedl['torch'] == '2.13.0'
    lint = {'ruff', 'import-linter', 'grimp', 'click'}
    assert {k for k in onedl if k.startswith('onedl')} | lint == onedl.keys() - openmmlab.keys()
    assert openmmlab.keys() - onedl.keys() == {'mmengine', 'mmcv', 'mmsegmentation', 'ninja'}
    assert {k for k in onedl.keys() & openmmlab.keys() if onedl[k] != openmmlab[k]} == {'setuptools'}
