"""Sharded parameters (FSDP) over gloo: the same training, and checkpoints that any run can load."""

import copy
from pathlib import Path

import pytest
import sharded_worker
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS, init_default_scope
from mmseg.registry import MODELS
from processes import launch

from mmirstd.checkpoints.fitting import load_strict
from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.engine import ShardedOptimWrapper
from mmirstd.engine import distributed as dist
from mmirstd.io.files import replace_durably
from mmirstd.utils.data_root import set_data_root

CONFIG = Path(__file__).with_name('simir_tiny.py')


def test_sharded_training(odd_data, tmp_path, own_mmengine_state):
    """Clipped gradients, recomputed activations, validation, checkpoints, resuming."""
    launch(sharded_worker.run, 2, tmp_path / 'log', CONFIG, odd_data, tmp_path)
    plain, sharded, resumed = (
        load_checkpoint(tmp_path / f'{name}/iter_4.pth') for name in ('plain', 'sharded', 'resumed')
    )
    init_default_scope('mmseg')
    model = MODELS.build(Config.fromfile(CONFIG, import_custom_modules=False).model)
    load_strict(model, sharded['state_dict'], 'sharded')
    start = torch.load(tmp_path / 'plain/iter_2.pth', weights_only=False)['state_dict']
    moved = 0
    for key, value in plain['state_dict'].items():
        torch.testing.assert_close(sharded['state_dict'][key], value, rtol=1e-4, atol=1e-5, msg=key)
        assert torch.equal(resumed['state_dict'][key], sharded['state_dict'][key]), key
        moved += value.is_floating_point() and not torch.allclose(value, start[key], rtol=1e-4, atol=1e-5)
    assert moved > 200
    assert sharded['meta']['trained_on'] == plain['meta']['trained_on']
    assert not list(tmp_path.glob('*/.*.tmp'))


@pytest.fixture
def config(odd_data, tmp_path, own_mmengine_state, monkeypatch):
    """Of a job of one process, where nothing is shared out and everything else is as ever."""
    for key, value in dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR='127.0.0.1', MASTER_PORT=0).items():
        monkeypatch.setenv(key, str(value))
    monkeypatch.setattr('mmirstd.engine.sharded.get_device', lambda: 'cpu')
    cfg = Config.fromfile(CONFIG, import_custom_modules=False)
    cfg.custom_imports = None
    set_data_root(cfg, str(odd_data))
    cfg.runner_type, cfg.strategy = 'mmirstd.StrictFlexibleRunner', dict(sharded_worker.STRATEGY)
    cfg.launcher, cfg.work_dir = 'pytorch', str(tmp_path / 'run')
    cfg.merge_from_dict({'train_cfg.max_iters': 2, 'optim_wrapper.clip_grad': dict(max_norm=0.1)})
    yield cfg
    dist.stop_distributed(None)


def run(cfg, name='run', **changes):
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict({'experiment_name': name, **changes})
    runner = RUNNERS.build(cfg)
    runner.train()
    return runner


@pytest.mark.skipif(torch.cuda.is_available(), reason='the model would be on the GPU')
def test_one_process(config, tmp_path):
    runner = run(config)
    assert runner.started
    assert type(runner.optim_wrapper) is ShardedOptimWrapper
    last = tmp_path / 'run/iter_2.pth'
    assert load_checkpoint(last)['meta']['iter'] == 2
    assert run(config, 'resumed', resume=True, load_from=str(last), **{'train_cfg.max_iters': 3}).iter == 3
    with pytest.raises(CheckpointError, match='another shape'):
        run(config, 'wider', load_from=str(last), **{'model.backbone.early_channels': 16})
    with pytest.raises(ValueError, match='loads exactly what fits'):
        runner.load_checkpoint(str(last), strict=False)
    with pytest.raises(ValueError, match='test with the config'):
        runner.test()


def rate(path):
    return load_checkpoint(path)['optimizer']['param_groups'][0]['lr']


@pytest.mark.skipif(torch.cuda.is_available(), reason='the model would be on the GPU')
def test_what_a_resumed_run_takes_from_where(config, tmp_path, capfd):
    def table():
        text = ''.join(capfd.readouterr())
        return {line.split()[1]: line.split()[3::2] for line in text.splitlines() if line.startswith('| ')}

    last, lr = tmp_path / 'run/iter_2.pth', 'optim_wrapper.optimizer.lr'
    run(config)
    seed = load_checkpoint(last)['meta']['seed']
    changes = {'resume': True, 'load_from': str(last), 'train_cfg.max_iters': 3, lr: 0.5}
    capfd.readouterr()
    for anew, source in (([], 'checkpoint'), (['schedule'], 'config'), (['optimizer'], 'checkpoint')):
        name = '-'.join(['to', *anew])
        runner = run(config, name, resume_anew=anew, work_dir=str(tmp_path / name), **changes)
        found = table()
        assert found[lr] == ['0.01', '0.5', source]
        assert (rate(tmp_path / name / 'iter_3.pth') > 0.3) == (source == 'config')
        states = runner.optim_wrapper.optimizer.state.values()
        assert {int(state['step']) for state in states} == {1 if anew == ['optimizer'] else 3}
        assert runner.seed == seed  # it had none of its own

    plain = load_checkpoint(last)
    plain['optimizer']['param_groups'][0]['params'] = list(range(9))
    torch.save(plain, tmp_path / 'plain.pth')
    with pytest.raises(CheckpointError, match=r'plain.pth: optimizer.param_groups\[0\].params is .* as sharded train'):
        run(config, 'plain', resume=True, load_from=str(tmp_path / 'plain.pth'))
    del plain['optimizer']
    torch.save(plain, tmp_path / 'plain.pth')
    with pytest.raises(CheckpointError, match=r'cannot resume from .*plain.pth: it has no optimizer'):
        run(config, 'plain', resume=True, load_from=str(tmp_path / 'plain.pth'))


def test_full_disk(config, tmp_path, monkeypatch):
    def full(temporary, path):
        if path.suffix == '.pth':
            raise OSError(28, 'No space left on device')
        replace_durably(temporary, path)

    monkeypatch.setattr('mmirstd.io.files.replace_durably', full)
    with pytest.raises(CheckpointError, match=r'cannot write .*iter_1.pth: No space left'):
        run(config, **{'train_cfg.max_iters': 1, 'default_hooks.checkpoint.interval': 1})
    assert not list(tmp_path.glob('run/*.pth'))
    assert not list(tmp_path.glob('run/.*.tmp'))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'strategy.shard': ['Nothing']}, 'the model has no Nothing to shard'),
        ({'strategy.shard': 'RepViTBlock'}, "shard must be a list of names of classes, not 'RepViTBlock'"),
        ({'strategy.shard': []}, 'shard must be a list'),
        ({'strategy.state_dict_cfg': 'local'}, "state_dict_cfg must be 'full'"),
        ({'launcher': 'none'}, 'needs several processes: start it with tools/dist_train.sh'),
        ({'optim_wrapper.type': 'AmpOptimWrapper'}, 'with clip_grad, AmpOptimWrapper would clip'),
        ({'optim_wrapper.clip_grad.error_if_nonfinite': True}, 'clip_grad takes max_norm and norm_type alone'),
        ({'optim_wrapper.optimizer.type': 'mmirstd.MuonAdamW'}, 'MuonAdamW needs whole matrices'),
        ({'custom_hooks.0': dict(type='EMAHook')}, 'EMAHook copies the model'),
    ],
)
def test_what_cannot_be_sharded(config, change, message):
    with pytest.raises(ValueError, match=message):
        run(config, **change)
