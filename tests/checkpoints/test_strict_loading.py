"""A checkpoint that would run code is refused on every way into a run, and so is one that does not fit."""

import itertools
import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.apis import init_model

from mmirstd.apis.running import RunnerTypeError, use_strict_runner
from mmirstd.checkpoints.loading import use_strict_loader
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.cli import main
from mmirstd.engine import StrictRunner
from mmirstd.registry import RUNNERS

ROOT = Path(__file__).resolve().parents[2]
RESUME = 'resume = True\n'
PLAIN = "runner_type = 'Runner'\n"  # as where MMSegmentation's runtime is the base
INIT = "model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint={!r}{})\n"
EMA = "custom_hooks = [dict(type='EMAHook', momentum=0.5)]\n"
NAMES = (f'strict{i}' for i in itertools.count())


class Attack:
    """Touches a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}',)


@pytest.fixture
def make(tiny_config, tmp_path):
    def build(extra='', work_dir='run', **changes):
        cfg = Config.fromfile(tiny_config(extra))
        cfg.merge_from_dict({'work_dir': str(tmp_path / work_dir), 'experiment_name': next(NAMES), **changes})
        return RUNNERS.build(cfg)

    return build


def command(*arguments):
    try:
        main(arguments)
    except SystemExit as e:
        raise CheckpointError(e.code) from None


def automatic_resume(make, path, config):
    folder = Path(path).parent / 'run'
    folder.mkdir()
    (folder / 'iter_3.pth').write_bytes(Path(path).read_bytes())
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_3.pth'))
    make(RESUME).train()


def publish_hook(make, path, config):
    use_strict_loader()
    hook = CheckpointHook(published_keys=['meta', 'state_dict'])
    hook._publish_model(None, path)


def segmentation_api(make, path, config):
    use_strict_loader()
    init_model(Config.fromfile(config()), path, device='cpu')


WAYS = {
    'load_from, training': lambda make, path, config: make(load_from=path).train(),
    'load_from, testing': lambda make, path, config: make(load_from=path).test(),
    'load_from, what fits': lambda make, path, config: make('strict_load = False\n', load_from=path).test(),
    'resume': lambda make, path, config: make(RESUME, load_from=path).train(),
    'resume, no seed': lambda make, path, config: make(RESUME + 'randomness = dict()\n', load_from=path).train(),
    'automatic resume': automatic_resume,
    'resume with an average': lambda make, path, config: make(RESUME + EMA, load_from=path).train(),
    'init_cfg': lambda make, path, config: make(INIT.format(path, '')).train(),
    'init_cfg, prefix': lambda make, path, config: make(INIT.format(path, ", prefix='backbone'")).train(),
    'by hand': lambda make, path, config: make().load_checkpoint(path),
    "MMEngine's publishing": publish_hook,
    "MMSegmentation's API": segmentation_api,
    'mmirstd train --resume': lambda make, path, config: command('train', config(), '--resume', path),
    'mmirstd train, any runner': lambda make, path, config: command('train', config(PLAIN), '--resume', path),
    'mmirstd test, any runner': lambda make, path, config: command('test', config(PLAIN), path),
    'mmirstd test': lambda make, path, config: command('test', config(), path),
    'mmirstd publish': lambda make, path, config: command('publish', path, 'out.pth'),
}


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize('way', WAYS)
def test_code_is_refused(way, legacy, make, tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, marker = tmp_path / 'evil.pth', tmp_path / 'ran'
    content = {'state_dict': {}, 'meta': {'evil': Attack(marker)}, 'message_hub': {}, 'optimizer': {}}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r'(evil|iter_3)\.pth is refused: it holds more than weights'):
        WAYS[way](make, str(path), tiny_config)
    assert not marker.exists()


def test_the_attack_works_on_a_loader_that_is_not_strict(tmp_path):
    torch.save({'meta': Attack(tmp_path / 'ran')}, tmp_path / 'evil.pth')
    torch.load(tmp_path / 'evil.pth', weights_only=False)
    assert (tmp_path / 'ran').exists()


def test_the_tools_are_strict_whatever_the_config_says(tiny_config, tmp_path, capsys):
    cfg = Config.fromfile(tiny_config(PLAIN))
    use_strict_runner(cfg)
    assert cfg.runner_type == 'mmirstd.StrictRunner'
    assert 'mmirstd.StrictRunner takes the place of Runner' in capsys.readouterr().out
    cfg.pop('runner_type')
    use_strict_runner(cfg)
    assert cfg.runner_type == 'mmirstd.StrictRunner'
    cfg.runner_type = 'FlexibleRunner'
    use_strict_runner(cfg)
    assert cfg.runner_type == 'mmirstd.StrictFlexibleRunner'
    for kind in (Derived, StrictRunner):
        cfg.runner_type = kind
        use_strict_runner(cfg)
        assert cfg.runner_type is kind
    cfg.runner_type = 5
    with pytest.raises(RunnerTypeError, match='runner_type=5: must be the name of a runner'):
        use_strict_runner(cfg)
    cfg.runner_type = Foreign
    with pytest.raises(RunnerTypeError, match=r'derive Foreign from mmirstd\.engine\.StrictRunner'):
        use_strict_runner(cfg)


class Derived(StrictRunner):
    pass


class Foreign(Runner):
    pass


@pytest.fixture
def checkpoint(make, tmp_path):
    def train(extra=''):
        make(extra, **{'train_cfg.max_iters': 3}).train()
        path = tmp_path / 'run/iter_3.pth'
        return path, torch.load(path, weights_only=False)

    return train


def test_init_cfg_names_what_does_not_fit(make, checkpoint):
    path, _ = checkpoint()
    wider = {'model.backbone.base_channels': 8, 'model.decode_head.in_channels': 8}
    with pytest.raises(CheckpointError) as info:
        make(INIT.format(str(path), ", prefix='backbone'"), **wider).train()
    first = 'encoder.0.0.convs.0.conv.weight (4, 3, 3, 3) instead of (8, 3, 3, 3)'
    assert f"{path} below 'backbone' does not fit UNet: " in str(info.value)
    assert first in str(info.value)
    with pytest.raises(CheckpointError, match=r"no weights below the prefix 'nose\.'"):
        make(INIT.format(str(path), ", prefix='nose'")).train()
    with pytest.raises(CheckpointError, match=r'none of its .* tensors fits UNet'):
        make(INIT.format(str(path), '')).train()


def test_init_cfg_takes_what_is_there(make, checkpoint):
    path, content = checkpoint()
    taken = content['state_dict'].pop('backbone.encoder.0.0.convs.0.conv.weight')
    torch.save({'state_dict': {f'module.{k}': v for k, v in content['state_dict'].items()}}, path)
    runner = make(INIT.format(str(path), ", prefix='backbone.'"))
    runner._init_model_weights()
    own = runner.model.state_dict()
    for key, value in content['state_dict'].items():
        if key.startswith('backbone.'):
            assert torch.equal(own[key], value), key
    assert not torch.equal(own['backbone.encoder.0.0.convs.0.conv.weight'], taken)
    assert [Path(load.source).name for load in runner.loads] == ['iter_3.pth']


def test_resuming_with_another_optimizer(make, checkpoint):
    path, content = checkpoint()
    other = "optim_wrapper['paramwise_cfg'] = dict(custom_keys={'backbone': dict(lr_mult=0.1)})\n"
    with pytest.raises(
        CheckpointError, match=r'iter_3\.pth: its optimizer has 17 parameters in 1 groups, that of the config 17 in 17'
    ):
        make(RESUME + other, load_from=str(path)).train()
    content['optimizer']['state'][0]['exp_avg'] = torch.zeros(7)
    torch.save(content, path)
    with pytest.raises(
        CheckpointError, match=r'exp_avg of parameter 0 in its optimizer is \(7,\) instead of \(4, 3, 3, 3\)'
    ):
        make(RESUME, load_from=str(path)).train()


def test_resuming_weights_that_are_no_numbers(make, checkpoint):
    path, content = checkpoint()
    content['state_dict']['decode_head.conv_seg.bias'][:] = float('nan')
    torch.save(content, path)
    with pytest.raises(
        CheckpointError, match=r"iter_3\.pth: state_dict\['decode_head\.conv_seg\.bias'\] is .* not finite"
    ):
        make(RESUME, load_from=str(path)).train()


def test_resuming_an_average_of_another_model(make, checkpoint):
    path, content = checkpoint(EMA)
    weight = 'module.backbone.encoder.0.0.convs.0.conv.weight'
    lost = content['ema_state_dict'].pop(weight)
    torch.save(content, path)
    message = (
        r'iter_3\.pth: its averaged weights \(ema_state_dict\) are not of the model .*: 1 differ \(backbone\.encoder'
    )
    with pytest.raises(CheckpointError, match=message):
        make(RESUME + EMA, load_from=str(path)).train()
    content['ema_state_dict'][weight] = lost[:2]
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r'1 differ \(.*conv\.weight \(2, 3, 3, 3\) instead of \(4, 3, 3, 3\)\)'):
        make(RESUME + EMA, load_from=str(path)).train()
    content['ema_state_dict'][weight] = lost
    torch.save(content, path)
    wider = {'model.backbone.base_channels': 8, 'model.decode_head.in_channels': 8}
    with pytest.raises(CheckpointError, match='is a checkpoint of another model than the config describes'):
        make(RESUME + EMA, load_from=str(path), **wider).train()
