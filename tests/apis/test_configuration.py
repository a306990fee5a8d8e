"""Options of the command line, of any shape, and what a config itself says of the run."""

import shutil

import pytest

from mmirstd.apis.configuration import OptionError, parse_options, read_config, run_config
from mmirstd.utils.configs import ConfigNotFoundError


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('3', 3),
        ('1e-3', 1e-3),
        ('true', True),
        ('None', None),
        ('a', 'a'),
        ('', ''),
        ("'a b'", 'a b'),
        ('1,2', [1, 2]),
        ('(1,2)', (1, 2)),
        ('(1,2),(3,4)', [(1, 2), (3, 4)]),
        ('[1]', [1]),
        ('1,', [1]),
        ('a,b', ['a', 'b']),
        ('/my data/ümläut', '/my data/ümläut'),
        ('my data,true', ['my data', True]),
        ('[my data, b c]', ['my data', 'b c']),
        ('(my data,b c)', ('my data', 'b c')),
        ('[a,(b,1)]', ['a', ('b', 1)]),
        ("[dict(type='LinearLR', begin=0), {'type': 'PolyLR'}]", [dict(type='LinearLR', begin=0), dict(type='PolyLR')]),
        ("{'a': [1, {'b': None}]}", {'a': [1, {'b': None}]}),
        ('a=b', 'a=b'),
    ],
)
def test_values(text, value):
    assert parse_options(f'key.x={text}') == {'key.x': value}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('key', 'expected KEY=VALUE'),
        ('=3', 'expected KEY=VALUE'),
        ('a..b=3', 'expected KEY=VALUE'),
        ('a=[1', r'\[ is not closed'),
        ('a=(1,2', r'\( is not closed'),
        ('a=1],[2', r'\] closes nothing'),
        ("a=[{'type':'X'", r'\{ is not closed'),
        ('a=[dict(type=LinearLR)]', 'texts in quotes'),
        ('a={type:X}', 'texts in quotes'),
        ("a=__import__('os').system('x')", None),
    ],
)
def test_texts_that_cannot_be_read(text, message):
    if message is None:  # nothing is run: it is a text
        assert isinstance(parse_options(text)['a'], str)
        return
    with pytest.raises(OptionError, match=message) as caught:
        parse_options(text)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'option',
    ['train_cfg.max_iters.x=3', 'custom_hooks.9.interval=3', 'custom_hooks.x=3', 'model.backbone.type.x.y=[1]'],
)
def test_keys_that_lead_nowhere(tiny_config, option):
    with pytest.raises(OptionError, match=f'--cfg-options {option.split("=")[0]}: .') as caught:
        read_config(tiny_config(), option)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'options',
    [
        ['param_scheduler=[a,b]'],
        ['param_scheduler=[{"type":"NoSuchLR"}]'],
        ['model=3'],
        ['train_dataloader=[1]'],
        ['default_hooks=3'],
        ['custom_hooks=3'],
        ['optim_wrapper=None'],
        ['val_evaluator=[1,2]'],
        ['train_cfg=3'],
        ['param_scheduler=[[[]]]'],
    ],
)
def test_values_of_another_shape_get_one_line(call, tiny_config, options):
    line = call('train', tiny_config(), '--cfg-options', *options)
    assert line.startswith('error: ')
    assert '\n' not in line


def test_a_config_that_cannot_be_read_is_named(call, tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text('a = 1\nb = (\n')
    assert call('train', path) == f"error: {path}, or a base of it, line 2: '(' was never closed"
    path.write_text("_base_ = 'other.py'\n")
    path.with_name('other.py').write_text("_base_ = 'broken.py'\n")
    assert call('train', path) == f'error: {path}: its _base_ leads in a circle'


def test_a_base_that_is_missing_names_the_config(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("_base_ = 'mmirstd::sgem/sgem_unet-s_nudtt.py'")
    with pytest.raises(ConfigNotFoundError, match=r'mine\.py, or a base of it: .*sgem_unet-s_nudtt\.py'):
        read_config(path)


def test_a_misspelled_key_is_no_variable(tmp_path, recwarn):
    path = tmp_path / 'mine.py'
    path.write_text("modle = dict()\noptim_wraper = dict()\ntest_pipeline = []\ndata_root = 'data'")
    read_config(path)
    assert [str(w.message).removeprefix(f'{path}: ') for w in recwarn] == [
        'nothing reads the variable modle; did you mean model?',
        'nothing reads the variable optim_wraper; did you mean optim_wrapper?',
    ]


def test_launcher_and_work_dir(tiny_config, tmp_path):
    assert run_config(tiny_config('launcher = "pytorch"'), ()).launcher == 'pytorch'
    assert run_config(tiny_config(), (), cfg_options='launcher=slurm').launcher == 'slurm'
    assert run_config(tiny_config('launcher = "pytorch"'), (), launcher='slurm').launcher == 'slurm'
    (tmp_path / 'file').touch()
    with pytest.raises(NotADirectoryError, match='file is no folder to write to'):
        run_config(tiny_config(), (), work_dir=tmp_path / 'file')


def test_resume_in_the_config_is_that_of_the_command(call, tiny_config, capfd):
    config = tiny_config()
    assert call('train', config, '--work-dir', 'run') is None
    shutil.copytree('run', 'other')
    capfd.readouterr()
    assert call('train', config, '--work-dir', 'run', '--cfg-options', 'resume=True', 'train_cfg.max_iters=7') is None
    assert 'run/iter_6.pth\n' in capfd.readouterr().out
    config = tiny_config("resume = True\nload_from = 'other/iter_3.pth'")
    assert call('train', config, '--work-dir', 'third') is None
    assert 'resuming from other/iter_3.pth' in capfd.readouterr().out
