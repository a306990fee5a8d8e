import itertools
import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.engine import CPUAmpOptimWrapper, StrictRunner, gpu_amp_optim_wrapper
from mmirstd.engine import distributed as dist
from mmirstd.registry import RUNNERS

RESUME = 'resume = True\n'


@pytest.fixture
def make(tiny_config, tmp_path):
    """Build a runner from the tiny config, with text added to it.

    Each has a name of its own: MMEngine names a run by the second, and two of one name share their log history.
    """
    names = (f'run{i}' for i in itertools.count())

    def build(extra='', work_dir='run', **changes):
        cfg = Config.fromfile(tiny_config(extra))
        cfg.merge_from_dict({'work_dir': str(tmp_path / work_dir), 'experiment_name': next(names), **changes})
        return RUNNERS.build(cfg)

    return build


@pytest.fixture(scope='module')
def trained_once():
    return {}


@pytest.fixture
def trained(make, tmp_path, trained_once):
    """The checkpoint of three iterations, in a work dir of the test's own."""
    path = tmp_path / 'run/iter_3.pth'
    if not trained_once:
        make(**{'train_cfg.max_iters': 3}).train()
        trained_once['file'] = path.read_bytes()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(trained_once['file'])
    (path.parent / 'last_checkpoint').write_text(str(path))
    return path


def weights(runner):
    return {k: v.clone() for k, v in runner.model.state_dict().items()}


def test_resumed_run_ends_like_the_uninterrupted_one(make, trained, tmp_path):
    assert type(make()) is StrictRunner
    whole = make(work_dir='whole')
    whole.train()
    resumed = make(RESUME, load_from=str(trained))
    resumed.train()
    assert resumed.started
    assert resumed.iter == 6
    for key, value in weights(whole).items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key
    a, b = (torch.load(tmp_path / f'{d}/iter_6.pth', weights_only=False) for d in ('whole', 'run'))
    assert a['param_schedulers'] == b['param_schedulers']
    assert list(a['optimizer']['state']) == list(b['optimizer']['state'])
    assert all(
        torch.equal(s['exp_avg'], b['optimizer']['state'][i]['exp_avg']) for i, s in a['optimizer']['state'].items()
    )
    losses = [c['message_hub']['log_scalars']['train/loss'].data[0] for c in (a, b)]
    assert len(losses[0]) == 6
    assert losses[0] == pytest.approx(losses[1])


def test_automatic_resume(make, trained):
    resumed = make(RESUME)
    resumed.train()
    assert resumed.iter == 6


@pytest.mark.parametrize('lost', ['meta', 'message_hub', 'optimizer', 'param_schedulers'])
def test_incomplete_checkpoints_are_not_resumed(make, trained, lost):
    content = torch.load(trained, weights_only=False)
    del content[lost]
    torch.save(content, trained)
    with pytest.raises(CheckpointError, match=f'cannot resume from .*iter_3.pth: it has no {lost}; to start from its'):
        make(RESUME, load_from=str(trained)).train()


def test_bare_weights_of_ddp_can_be_loaded(make, trained):
    content = torch.load(trained, weights_only=False)
    torch.save({f'module.{k}': v for k, v in content['state_dict'].items()}, trained)
    runner = make(load_from=str(trained))
    assert set(runner.test()) >= {'IoU', 'nIoU', 'Pd', 'Fa'}
    for key, value in content['state_dict'].items():
        assert torch.equal(runner.model.state_dict()[key], value)


def test_other_architecture(make, trained):
    wider = {'model.backbone.base_channels': 8, 'model.decode_head.in_channels': 8}
    with pytest.raises(CheckpointError, match=r'iter_3\.pth is a checkpoint of another model .* tensors of another sh'):
        make(load_from=str(trained), **wider).test()
    # Asked for: what fits is taken. Resuming is strict all the same.
    part = make('strict_load = False\n', load_from=str(trained), **wider)
    part.test()
    saved = torch.load(trained, weights_only=False)['state_dict']['decode_head.conv_seg.bias']
    assert torch.equal(part.model.state_dict()['decode_head.conv_seg.bias'], saved)
    with pytest.raises(CheckpointError, match='another model'):
        make('strict_load = False\n' + RESUME, load_from=str(trained), **wider).train()


def test_other_architecture_with_an_average_is_one_error(make, trained, capsys):
    """EMAHook would print every key of both."""
    ema = "custom_hooks = [dict(type='EMAHook', momentum=0.5, update_buffers=True)]\n"
    wider = {'model.backbone.base_channels': 8, 'model.decode_head.in_channels': 8}
    with pytest.raises(CheckpointError, match='another model'):
        make(ema, load_from=str(trained), **wider).test()
    assert 'do not match exactly' not in ''.join(capsys.readouterr())


@pytest.fixture
def one_second(monkeypatch):
    """All runs begin in the same second."""
    clock = SimpleNamespace(time=lambda: 0.0, localtime=time.localtime, strftime=time.strftime)
    monkeypatch.setattr('mmengine.runner.runner.time', clock)


def test_runs_of_the_same_second_write_their_own_files(make, tmp_path, one_second):
    runners = [make(work_dir=name, experiment_name='same') for name in 'aba']
    folders = [Path(r.log_dir) for r in runners]
    assert len(set(folders)) == 3
    assert [folder.parent for folder in folders] == [tmp_path / name for name in 'aba']
    for i, (runner, folder) in enumerate(zip(runners, folders, strict=True)):
        assert Path(runner.visualizer._vis_backends['LocalVisBackend']._save_dir) == folder / 'vis_data'
        runner.visualizer.add_scalar('of', i)
        runner.logger.info(f'said by {i}')
        runner.message_hub.update_info('of', i)
    for i, (runner, folder) in enumerate(zip(runners, folders, strict=True)):
        assert json.loads((folder / 'vis_data/scalars.json').read_text())['of'] == i
        [log] = folder.glob('*.log')
        assert [said for said in range(3) if f'said by {said}' in log.read_text()] == [i]
        assert runner.message_hub.get_info('of') == i


def test_a_run_follows_one_of_the_same_second_whose_folder_was_deleted(make, one_second):
    first = make(work_dir='a', experiment_name='same')
    shutil.rmtree(first.work_dir)
    second = make(work_dir='a', experiment_name='same')
    assert second.log_dir == first.log_dir
    assert (Path(second.log_dir) / 'vis_data/config.py').exists()


def test_lines_of_each_parameter_are_in_the_log_file_alone(make, capsys):
    runner = make(
        **{'optim_wrapper.optimizer.weight_decay': 0.1, 'optim_wrapper.paramwise_cfg': {'norm_decay_mult': 0.0}}
    )
    runner.build_optim_wrapper(runner.optim_wrapper)
    runner.logger.info('said')
    assert 'said' in (screen := capsys.readouterr().out)
    [log] = Path(runner.log_dir).glob('*.log')
    assert 'paramwise_options -- ' in log.read_text()
    assert 'paramwise_options -- ' not in screen


def test_keys_can_be_revised(make, trained):
    content = torch.load(trained, weights_only=False)
    content['state_dict'] = {f'student.{k}': v for k, v in content['state_dict'].items()}
    torch.save(content, trained)
    runner = make()
    with pytest.raises(CheckpointError, match='another model'):
        runner.load_checkpoint(str(trained))
    runner.load_checkpoint(str(trained), revise_keys=[(r'^student\.', '')])


def test_config_in_a_checkpoint_is_not_executed(make, trained, tmp_path):
    """MMEngine's resume() runs meta['config'] as Python."""
    content = torch.load(trained, weights_only=False)
    content['meta']['config'] = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    torch.save(content, trained)
    make(RESUME, load_from=str(trained)).train()
    assert not (tmp_path / 'ran').exists()


def test_exponential_average_survives(make, trained):
    """EMAHook changes the checkpoint while it is loaded."""
    ema = "custom_hooks = [dict(type='EMAHook', momentum=0.5, update_buffers=True)]\n"
    whole = make(ema, work_dir='whole')
    whole.train()
    make(ema, work_dir='cut', **{'train_cfg.max_iters': 3}).train()
    resumed = make(ema + RESUME, work_dir='cut')
    resumed.train()
    for key, value in weights(whole).items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key


def test_datasets_are_checked_before_the_first_step(make, tiny_data):
    (tiny_data / 'masks/3.png').write_bytes((tiny_data / 'masks/3.png').read_bytes()[:40])
    runner = make()
    with pytest.raises(ValueError, match=r'masks/3\.png: not a readable image'):
        runner.train()
    assert not runner.started


def test_datasets_in_wrappers_are_checked(make, tiny_data):
    one = make().cfg.train_dataloader.dataset
    (tiny_data / 'masks/3.png').write_bytes((tiny_data / 'masks/3.png').read_bytes()[:40])
    folders = dict(data_root=str(tiny_data), data_prefix=dict(img_path='images'), img_suffix='.png')
    plain = dict(type='BaseSegDataset', **folders, metainfo=dict(classes=('a', 'b')), serialize_data=False)
    assert len(make(**{'train_dataloader.dataset': plain | {'_delete_': True}}).train_dataloader.dataset) == 5
    repeated = dict(type='RepeatDataset', times=2, dataset=one)
    joined = dict(type='ConcatDataset', datasets=[repeated])
    for wrapper in (repeated, joined):
        runner = make(**{'train_dataloader.dataset': wrapper | {'_delete_': True}})
        with pytest.raises(ValueError, match=r'masks/3\.png: not a readable image'):
            runner.build_train_loop(runner.cfg.train_cfg)


def on(device, monkeypatch):
    for module in ('mmirstd.engine.runner', 'mmirstd.engine.distributed'):
        monkeypatch.setattr(f'{module}.get_device', lambda: device)


AMP = "optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16')\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason='the model would be on the GPU')
def test_mixed_precision_on_cpu(make, monkeypatch):
    on('cpu', monkeypatch)
    runner = make(AMP)
    seen = []
    runner.model.backbone.encoder[0][0].convs[0].conv.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    runner.train()
    assert type(runner.optim_wrapper) is CPUAmpOptimWrapper
    assert seen[0] is torch.bfloat16
    assert seen[-1] is torch.float32  # validation
    assert all(p.dtype is torch.float32 for p in runner.model.parameters())


GPU_AMP = "optim_wrapper.update(type='mmirstd.GPUAmpOptimWrapper')\n"


def test_mixed_precision_where_a_gpu_is(make, monkeypatch):
    monkeypatch.setattr('mmirstd.engine.optim_wrapper.get_device', lambda: 'cpu')
    assert type(make(GPU_AMP).build_optim_wrapper(make(GPU_AMP).cfg.optim_wrapper)) is OptimWrapper
    monkeypatch.setattr('mmirstd.engine.optim_wrapper.get_device', lambda: 'cuda')
    monkeypatch.setattr('mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available', lambda: True)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    wrapper = gpu_amp_optim_wrapper(optimizer=optimizer, dtype='float16')
    assert type(wrapper) is AmpOptimWrapper
    assert wrapper.cast_dtype is torch.float16


def test_mixed_precision_on_gpu_is_mmengines(make, monkeypatch):
    on('cuda', monkeypatch)
    monkeypatch.setattr('mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available', lambda: True)
    runner = make(AMP)
    assert type(runner.build_optim_wrapper(runner.optim_wrapper)) is AmpOptimWrapper
    plain = OptimWrapper(torch.optim.SGD(runner.model.parameters(), 0.1))
    assert runner.build_optim_wrapper(plain) is plain


@pytest.mark.skipif(torch.cuda.is_available(), reason='the model would be on the GPU')
def test_one_process_of_gloo(make, monkeypatch, own_launcher):
    """Wrapping needs no device and no SyncBN."""
    on('cpu', monkeypatch)
    sync = "model['backbone']['norm_cfg'] = model['decode_head']['norm_cfg'] = dict(type='SyncBN')\n"
    runner = make('model_wrapper_cfg = dict(find_unused_parameters=True)\n' + sync, launcher='pytorch', sync_bn='torch')
    assert isinstance(runner.model, MMDistributedDataParallel)
    assert runner.model.find_unused_parameters
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in runner.model.modules())
    assert any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in runner.model.modules())
    runner.train()
    assert runner.iter == 6
    wrapped = runner.model
    assert runner.wrap_model(None, wrapped) is wrapped
    dist.stop_distributed(runner)


@pytest.fixture
def own_launcher(monkeypatch):
    for key, value in dict(RANK=0, LOCAL_RANK=0, WORLD_SIZE=1, MASTER_ADDR='127.0.0.1', MASTER_PORT=0).items():
        monkeypatch.setenv(key, str(value))
    yield
    dist.stop_distributed(None)


def test_channels_last_changes_the_layout_and_nothing_else(make):
    runner = make("custom_hooks = [dict(type='mmirstd.ChannelsLastHook')]\n")
    runner.train()
    plain = make(work_dir='plain')  # the seed is set when a runner is built
    plain.train()
    weights, others = runner.model.state_dict(), plain.model.state_dict()
    wide = [v for v in weights.values() if v.dim() == 4 and min(v.shape[1:]) > 1]
    assert wide
    assert all(v.is_contiguous(memory_format=torch.channels_last) for v in wide)
    for key, value in weights.items():
        torch.testing.assert_close(value, others[key], rtol=1e-3, atol=1e-4)
