"""What the README and the pages of the docs show works as it stands there."""

import argparse
import doctest
import pkgutil
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, Registry, init_default_scope
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from mmirstd import datasets, engine, models, registry, visualization  # noqa: F401
from mmirstd.cli.main import COMMANDS, command_module, find_command
from mmirstd.evaluation import metrics  # noqa: F401
from mmirstd.utils.configs import find_config

ROOT = Path(__file__).parents[1]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / 'README.md', *sorted(ROOT.glob('docs/**/*.md')), *sorted(ROOT.glob('configs/*/README.md')))
]

REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry)]


def read(page):
    return (ROOT / page).read_text(encoding='utf-8')


def snippet(page, start):
    (found,) = [
        text for text in re.findall(r'```python\n(.*?)```', read(page), flags=re.DOTALL) if text.startswith(start)
    ]
    return found


def commands(page):
    """The command lines of ``mmirstd`` in blocks of code, without variables and what follows a pipe."""
    blocks = re.findall(
        r'^```(?:bash|console)?\n(.*?)^```|((?:^ {4}\S.*\n)+)', read(page), flags=re.DOTALL | re.MULTILINE
    )
    for block in (fenced or indented for fenced, indented in blocks):
        for line in block.replace('\\\n', ' ').splitlines():
            line = re.sub(r'^\s*(\$ )?', '', line)
            if line.startswith('mmirstd '):
                yield shlex.split(re.sub(r' [|;>] .*|;.*|\[[^]]*\]', '', line), comments=True)[1:]


@pytest.mark.parametrize('page', [page for page in PAGES if any(commands(page))])
def test_commands_and_their_options_exist(page):
    for line in commands(page):
        if line[0] in ('--help', '--version'):
            continue
        name, words = find_command(line)
        assert name in COMMANDS, line
        parser = argparse.ArgumentParser(exit_on_error=False)
        command_module(name).add_arguments(parser)
        known = {option for action in parser._actions for option in action.option_strings}
        if name == 'run':  # what follows are options of the script
            continue
        asked = {word.split('=')[0] for word in words if word.startswith('--')}
        assert asked <= known, (name, asked - known)
        for action in parser._actions:  # configs by name
            optional = action.nargs == '?' and words[0].startswith('--')
            if action.dest in ('config', 'configs') and not action.option_strings and not optional:
                config = words[0].split('@')[0]
                assert config in ('CONFIG', 'my_config.py', 'my_images.py') or '$' in config or find_config(config), (
                    config
                )


@pytest.mark.parametrize('page', [page for page in PAGES if '>>> ' in read(page)])
def test_sessions_print_what_is_shown(page):
    text = re.sub(r'^```$', '', read(page), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    assert doctest.DocTestRunner().run(test) == (0, len(test.examples))


@pytest.mark.parametrize(
    'page', [page for page in PAGES if ' = init_model(' in read(page) or 'predict(init_model(' in read(page)]
)
def test_snippets_with_a_model_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ('image.png', 'images/a.png', 'video/0.png'):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (64, 80), dtype=np.uint8)).save(name)
    for text in re.findall(r'```python\n(.*?)```', read(page), flags=re.DOTALL):
        if not (asked := re.search(r"init_model\((?:'([^']+)'(?:, '([^']+)')?|\))", text)):
            continue
        if asked[2]:
            cfg = Config.fromfile(find_config(asked[1]))
            Path(asked[2]).parent.mkdir(parents=True, exist_ok=True)
            with DefaultScope.overwrite_default_scope('mmseg'):
                torch.save({'state_dict': MODELS.build(cfg.model).state_dict(), 'meta': {}}, asked[2])
        names = {}
        exec(re.sub(r'^compiled = .*', '', text, flags=re.MULTILINE), names)  # takes long
        if 'detections' in names:
            assert names['detections'].probability.shape == (64, 80)


@pytest.mark.parametrize('page', [page for page in PAGES if '\n_base_ = ' in read(page)])
def test_configs_are_read_and_their_models_built(page, tmp_path):
    for text in re.findall(r'```python\n((?:#[^\n]*\n)?_base_ = .*?)```', read(page), flags=re.DOTALL):
        (tmp_path / 'config.py').write_text(text)
        cfg = Config.fromfile(tmp_path / 'config.py')
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            MODELS.build(cfg.model)


def test_own_data(tmp_path):
    text = snippet('docs/how-to/own-data.md', '# my_config.py').replace('data/mine', str(tmp_path / 'mine'))
    (tmp_path / 'my_config.py').write_text(text)
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (tmp_path / 'mine' / folder).mkdir(parents=True)
    for i in range(3):
        size = (150 + i, 140)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / f'mine/images/{i}.bmp')
        mask = np.zeros(size, np.uint8)
        mask[70:73, 60:64] = 255
        Image.fromarray(mask).save(tmp_path / f'mine/masks/{i}.png')
    for name, ids in {'train': '0\n1', 'val': '2', 'test': '2'}.items():
        (tmp_path / f'mine/{name}.txt').write_text(ids)
    cfg = Config.fromfile(tmp_path / 'my_config.py')
    init_default_scope(cfg.default_scope)
    train, val, test = (DATASETS.build(cfg[f'{name}_dataloader'].dataset) for name in ('train', 'val', 'test'))
    assert [len(d) for d in (train, val, test)] == [2, 1, 1]
    assert train[0]['inputs'].shape == (3, 128, 128)
    assert test[0]['data_samples'].gt_sem_seg.data.sum() == 12


@pytest.mark.parametrize('page', [page for page in PAGES if 'mmirstd.' in read(page)])
def test_named_modules_functions_and_types_exist(page):
    names = set(re.findall(r"""[`']mmirstd\.([\w.]*\w)\(?""", read(page))) - {'safetensors'}
    types = {name for name in names if name[0].isupper()}
    missing = [name for name in types if not any(name in registry.module_dict for registry in REGISTRIES)]
    for name in names - types:
        try:
            pkgutil.resolve_name(f'mmirstd.{name}')
        except (ImportError, AttributeError) as error:
            missing.append(f'{name} ({error})')
    assert not missing


def test_named_options_exist():
    known = {
        '--help',
        '--version',
        '--no-cache-dir',
        '--kills',
        '--base-size',
        '--time',
    }  # pip's, MSHNet's and of scripts
    for name in COMMANDS:
        parser = argparse.ArgumentParser()
        command_module(name).add_arguments(parser)
        known |= {option for action in parser._actions for option in action.option_strings}
    named = {(page, option) for page in PAGES for option in re.findall(r'`[^`\n]*?(--[a-z][\w-]+)', read(page))}
    assert not {(page, option) for page, option in named if option not in known}


@pytest.mark.parametrize('page', PAGES)
def test_named_files_exist(page):
    files = re.findall(r'\b((?:tools|tests|configs|requirements|mmirstd)/[\w./-]*\w)(?![\w{*/-])', read(page))
    missing = {file for file in files if not (ROOT / file).exists() and not re.search('NAME|CONFIG', file)}
    assert not missing


@pytest.mark.parametrize('page', PAGES)
def test_links_lead_somewhere(page):
    links = [link for link in re.findall(r'\]\(([^)#\s]+)', read(page)) if not re.match(r'\w+:', link)]
    # docs/hooks.py makes these pages when the site is built.
    missing = [
        link
        for link in links
        if not (ROOT / page).parent.joinpath(link).exists()
        and not re.search(r'reference/(cli|configs|api/\w+)\.md$', link)
    ]
    assert not missing
