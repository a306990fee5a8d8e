"""The command lines, run for real on a job of seconds."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmirstd.utils.locks import folder_lock

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def train(call, tiny_config):
    """Three iterations into ``run``."""
    return lambda *more: call(
        'train', tiny_config(), '--work-dir', 'run', '--cfg-options', 'train_cfg.max_iters=3', *more
    )


def test_train_resume_and_test(call, train, tiny_config, tiny_data, tmp_path, capfd):
    assert train() is None
    out = capfd.readouterr().out
    assert 'eta: 0:00:0' in out
    assert 'sha256 of the ids' in out
    assert 'FolderDataset checked:' in out
    places = dict(line.split(':', 1) for line in out.splitlines()[-4:])
    assert list(places) == ['last', 'best', 'log', 'curves']
    assert all(Path(p.strip()).exists() for p in places.values())

    refusal = train()
    assert 'run holds checkpoints of an earlier run (best_IoU_iter_3.pth, iter_3.pth)' in refusal
    assert '--resume' in refusal
    assert train('--overwrite') is None

    capfd.readouterr()
    assert call('train', tiny_config(), '--work-dir', 'run', '--resume') is None
    assert f'resuming from {tmp_path}/run/iter_3.pth' in capfd.readouterr().out
    assert torch.load('run/iter_6.pth', weights_only=False)['meta']['iter'] == 6

    assert call('test', tiny_config(), 'run/iter_6.pth', '--show-dir', 'pictures', '--work-dir', 'run/test') is None
    out = capfd.readouterr().out
    assert 'SwitchToDeployHook: folded' in out
    assert 'nIoU' in out
    assert out.rstrip().endswith('pictures: pictures')
    assert sorted(p.name for p in Path('pictures').iterdir()) == [f'{i}.png' for i in range(5)]


def test_work_dirs_by_default(call, tiny_config):
    assert call('train', tiny_config(), '--amp') is None
    assert call('test', tiny_config(), 'work_dirs/tiny/iter_6.pth') is None
    assert 'AmpOptimWrapper' not in Path('work_dirs/tiny/test/tiny.py').read_text()
    # The training run's config is not replaced by that of the test.
    assert 'AmpOptimWrapper' in Path('work_dirs/tiny/tiny.py').read_text()


def test_data_root_reaches_the_datasets(call, tiny_config, tiny_data, tmp_path):
    config = tiny_config()
    Path('elsewhere').mkdir()
    shutil.move(tiny_data, tmp_path / 'elsewhere/tiny')
    error = call('train', config)
    assert error.startswith(f'error: there is no folder {tiny_data} (train_dataloader.dataset, mmirstd.FolderDataset)')
    assert '--data-root DIR' in error
    assert call('train', config, '--data-root', 'elsewhere/tiny') is None


def test_resume_variants(call, train, tiny_config, tmp_path, capfd):
    assert train('--resume') is None
    assert 'nothing to resume in run: starting anew' in capfd.readouterr().out
    # Another run's checkpoint may be continued, but not over those of this one.
    shutil.copytree('run', 'other')
    assert 'run holds checkpoints of an earlier run' in train('--resume', 'other/iter_3.pth')
    assert call('train', tiny_config(), '--work-dir', 'third', '--resume', 'other/iter_3.pth') is None
    assert not list(Path('third').glob('iter_3.pth'))
    assert train('--resume', 'nope.pth', '--overwrite') == 'error: there is no checkpoint file nope.pth'


def option(*options):
    return lambda call, config: call('train', config, '--cfg-options', *options)


@pytest.mark.parametrize(
    ('mistake', 'line'),
    [
        (lambda call, c: call('train', 'nope.py'), 'error: there is no config file nope.py'),
        (lambda call, c: call('test', c, 'nope.pth'), 'error: there is no checkpoint file nope.pth'),
        (
            lambda call, c: call('test', c, 'text.pth'),
            'error: text.pth (29 bytes) is no checkpoint, or cut off',
        ),
        (option('load_from=nope.pth'), 'error: there is no checkpoint file nope.pth'),
        (option('trian_cfg.max_iters=3'), 'configs have no trian_cfg; did you mean train_cfg?'),
        (option('whatever=3'), 'error: --cfg-options whatever: configs have no whatever'),
        (option('data_root=x'), 'error: --cfg-options data_root: use --data-root, which reaches all datasets'),
        (option('pipeline=3'), 'pipeline is a variable of the config file, and changing it here would not reach'),
        (
            option('train_cfg.max_iter=3'),
            'error: train_cfg.max_iter: IterBasedTrainLoop has no argument max_iter; did you mean max_iters?',
        ),
        (option('model.backbone.type=mmirstd.RepVit'), 'KeyError: mmirstd.RepVit is not in the mmseg::model registry'),
        (
            option('custom_hooks.0.intervall=3'),
            'error: custom_hooks[0].intervall: CollapseGuardHook has no argument intervall; did you mean interval?',
        ),
        (option('train_dataloader.dataset.split=a/b'), "error: unknown split 'a/b' of tiny; known: none"),
        (
            lambda call, c: call('train', c, '--amp', '--cfg-options', 'optim_wrapper.type=Other'),
            'error: ValueError: --amp does not go with optim_wrapper.type=Other',
        ),
    ],
)
def test_mistakes_get_one_line(mistake, line, call, tiny_config):
    config = tiny_config()
    Path('text.pth').write_text('hello, this is no checkpoint\n')
    error = mistake(call, config)
    assert line in error
    assert '\n' not in error
    assert not list(Path().glob('work_dirs/*/*.pth'))


def test_broken_file_is_found_before_the_first_step(call, tiny_config, tiny_data, tmp_path):
    path = tiny_data / 'images/2.png'
    path.write_bytes(path.read_bytes()[:60])
    error = call('train', tiny_config())
    assert f'{path}: not a readable image' in error
    assert '\n' not in error


def test_checkpoint_of_another_model(call, train, tiny_config):
    train()
    error = call(
        'test', tiny_config(), 'run/iter_3.pth', '--cfg-options', 'model.backbone.base_channels=8',
        'model.decode_head.in_channels=8',
    )  # fmt: skip
    assert 'is a checkpoint of another model' in error
    assert '\n' not in error


def test_failures_of_a_run_keep_their_traceback(call, tiny_config, monkeypatch):
    """After the first step they are no mistakes on the command line, but for a loss that is no number."""
    broken = 'optim_wrapper.optimizer.lr=1e38'
    error = call('train', tiny_config(), '--cfg-options', broken, 'optim_wrapper.optimizer.type=SGD')
    assert error.startswith('error: iteration ')
    assert 'lower the learning rate' in error

    monkeypatch.setattr('mmirstd.evaluation.metrics.IRSTDMetric.process', lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call('train', tiny_config(), '--work-dir', 'x')


def test_tracebacks_on_request(call, tiny_config, monkeypatch):
    monkeypatch.setenv('MMIRSTD_TRACEBACK', '1')
    with pytest.raises(ValueError, match='intervall'):
        call('train', tiny_config(), '--cfg-options', 'custom_hooks.0.intervall=3')


@pytest.mark.parametrize('script', ['dist_train', 'dist_test', 'slurm_train'])
def test_scripts_say_how_to_use_them(script):
    done = subprocess.run(['bash', ROOT / f'tools/{script}.sh'], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f'Usage: tools/{script}.sh ')


def test_slurm_script(tmp_path):
    """What it asks srun for; srun itself is replaced by echo."""
    (tmp_path / 'srun').write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / 'srun').chmod(0o755)

    def ask(**variables):
        env = os.environ | {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'PYTHON': 'py'} | variables
        command = ['bash', ROOT / 'tools/slurm_train.sh', 'gpu', 'name', 'c.py', '--amp']
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    assert (
        ask(GPUS='4', SRUN_ARGS='--quiet -x a').split()
        == (
            '--partition=gpu --job-name=name --ntasks=4 --cpus-per-task=5 --kill-on-bad-exit=1 --gres=gpu:4 '
            f'--ntasks-per-node=4 --quiet -x a py -u {ROOT}/tools/train.py c.py --launcher slurm --amp'
        ).split()
    )
    assert 'gpu:' not in ask(GPUS_PER_NODE='0')


def test_not_installed(tmp_path):
    """Another Python than the one mmirstd is installed in: -I -S leaves everything out."""
    done = subprocess.run([sys.executable, '-I', '-S', ROOT / 'tools/train.py', 'x'], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: No module named 'mmirstd': run `make` in the checkout")
    assert len(done.stderr.splitlines()) == 1


def test_demo(tiny_config, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    config = tiny_config()
    spec = importlib.util.spec_from_file_location('demo', ROOT / 'tools/demo.py')
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    monkeypatch.setattr(sys, 'argv', ['demo', '--config', str(config), '--iters', '4'])
    demo.main()
    out = capfd.readouterr().out
    (run,) = Path('work_dirs/demo').iterdir()
    assert 'Iter(train) [4/4]' in out
    assert 'finds in 5 scenes' in out
    assert f'\n  {run.resolve()}/pictures\n' in out
    assert len(list((run / 'found/pictures').iterdir())) == 8
    assert torch.load(run / 'training/iter_4.pth', weights_only=False)['param_schedulers'][0]['end'] == 13  # 20 * 4 / 6


def test_a_work_dir_is_for_one_run(call, train, tiny_config, monkeypatch):
    monkeypatch.setattr('mmirstd.utils.locks.PATIENCE', 0)
    with folder_lock('run'):
        assert f'{Path("run").absolute()} is in use by another process, which writes there' in train()
    assert not list(Path('run').glob('*.pth'))
