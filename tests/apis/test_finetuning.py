"""Training further on one's own images."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmirstd.apis import finetune, finetuning
from mmirstd.apis.configuration import OptionError
from mmirstd.apis.finetuning import keep_close, set_schedule
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.utils.configs import find_config


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(finetuning, 'ITERATIONS', (4, 6))
    monkeypatch.setattr(finetuning, 'VALIDATIONS', 2)


def test_a_folder_is_split_trained_on_and_judged(short, tiny_config, tiny_checkpoint, tiny_data, tmp_path, capsys):
    config = tiny_config()
    result = finetune(tiny_data, config, tiny_checkpoint, work_dir=tmp_path / 'run')
    parts = {p: (tmp_path / f'run/splits/{p}.txt').read_text().split() for p in ('train', 'val')}
    assert sorted(parts['train'] + parts['val']) == ['0', '1', '2', '3', '4']
    assert len(parts['val']) == 1
    trained = torch.load(result.training.best, weights_only=False)
    assert trained['meta']['iter'] in (0, 3, 6)  # 60 passes would be 120
    assert [set(entry['ids']) for entry in trained['meta']['trained_on']] == [set(parts['train'])]
    assert result.before.keys() == result.after.keys() >= {'IoU', 'Pd', 'Fa'}
    assert result.after['IoU'] >= result.before['IoU']
    out = capsys.readouterr().out
    assert ('no iteration is better' in out) == (trained['meta']['iter'] == 0)
    table = [line for line in out.splitlines() if line.startswith('|')]
    assert [line.split()[1] for line in table if 'before' in line or 'after' in line] == ['before', 'after']


def test_what_is_worse_than_the_start_is_not_returned(
    short, monkeypatch, tiny_config, tiny_checkpoint, tiny_data, tmp_path, capsys
):
    monkeypatch.setattr(finetuning, 'DECAY', 0.0)  # which would hold it back
    options = {'optim_wrapper.optimizer.lr': 1.0}
    result = finetune(tiny_data, tiny_config(), tiny_checkpoint, work_dir=tmp_path / 'run', cfg_options=options)
    assert result.training.best.endswith('best_IoU_iter_0.pth')
    assert result.after == result.before
    start = torch.load(tiny_checkpoint, weights_only=True)['state_dict']
    best = torch.load(result.training.best, weights_only=False)['state_dict']
    assert all(torch.equal(best[name], value) for name, value in start.items())
    assert f'no iteration is better on the held-out images than the start, {tiny_checkpoint}' in capsys.readouterr().out


def test_the_training_stays_near_its_start(tiny_config):
    cfg = Config.fromfile(tiny_config())
    keep_close(cfg)
    assert cfg.optim_wrapper.optimizer.weight_decay == 0
    assert [hook['type'] for hook in cfg.custom_hooks[-4:]] == [
        'mmirstd.ValidateFirstHook',
        'mmirstd.FrozenStatisticsHook',
        'mmirstd.StartingPointDecayHook',
        'EarlyStoppingHook',
    ]


def test_the_command(short, call, tiny_config, tiny_checkpoint, tiny_data, tmp_path, capsys):
    given = [tiny_config(), '--finetune', tiny_data, '--checkpoint', tiny_checkpoint]
    assert call('train', *given) is None
    assert list((tmp_path / 'work_dirs/tiny-finetuned/tiny').glob('best_IoU_iter_*.pth'))
    assert 'holds checkpoints of an earlier run' in call('train', *given)
    assert call('train', *given, '--resume') == 2
    assert '--finetune does not go with' in capsys.readouterr().err
    assert call('train') == 2
    assert 'error: train CONFIG, or train --finetune FOLDER [--checkpoint FILE]' in capsys.readouterr().err


def test_mistakes_cost_no_time(tiny_config, tiny_checkpoint, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match='no weights come with sgem_unet-s_nudt: give a checkpoint'):
        finetune(tiny_data, 'sgem_unet-s_nudt')
    with pytest.raises(CheckpointError, match=r'there is no checkpoint file none\.pth'):
        finetune(tiny_data, tiny_config(), 'none.pth')
    for name in ('images', 'masks'):
        (tiny_data / name / '4.png').unlink()
    with pytest.raises(ValueError, match=r'tiny has 4 images with masks: fine-tuning needs at least 5'):
        finetune(tiny_data, tiny_config(), tiny_checkpoint)
    assert not Path('work_dirs').exists()
    with pytest.raises(OptionError, match='is of a distillation'):
        finetune(tiny_data, 'features_mobile-sam_simir-fast', tiny_checkpoint)
    with pytest.raises(OptionError, match='has no name'):
        finetune('', tiny_config(), tiny_checkpoint)
    with pytest.raises(NotADirectoryError, match='is no folder to write to'):
        finetune(tiny_data, tiny_config(), tiny_checkpoint, work_dir=tiny_checkpoint)


@pytest.mark.parametrize(('images', 'iterations'), [(4, 150), (40, 300), (1000, 4000)])
def test_the_schedule_fits_the_number_of_images(images, iterations):
    cfg = Config.fromfile(find_config('sgem_unet-s_joint'))
    rate, share = cfg.optim_wrapper.optimizer.lr, cfg.param_scheduler[0].end / cfg.train_cfg.max_iters
    set_schedule(cfg, images)
    assert cfg.train_cfg.max_iters == iterations == cfg.param_scheduler[1].end
    assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == iterations // 5
    assert cfg.param_scheduler[0].end == cfg.param_scheduler[1].begin == round(share * iterations)
    assert cfg.optim_wrapper.optimizer.lr < rate


def test_a_config_by_epochs_is_refused():
    cfg = Config.fromfile(find_config('sgem_unet-s_joint'))
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3)
    with pytest.raises(ValueError, match='trains by iterations'):
        set_schedule(cfg, 10)
