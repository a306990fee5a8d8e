import functools
import http.server
import os
import re
import threading
from argparse import Namespace

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmengine.runner import CheckpointLoader
from torch import nn

from mmirstd.checkpoints import loading as ckpt
from mmirstd.checkpoints.fitting import check_optimizer, load_fitting, load_strict
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.utils.configs import CONFIGS_DIR


def net(width=4):
    torch.manual_seed(width)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 1, 1))


@pytest.fixture
def saved(tmp_path):
    def save(content, name='a.pth'):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return save


def test_reads_what_mmengine_and_others_write(saved):
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    content = dict(
        state_dict=net().state_dict(),
        message_hub=dict(log_scalars={'train/loss': buffer}, runtime_info={'iter': 3, 'lr': np.float64(0.5)}),
        meta=dict(classes=('a', 'b'), mean=np.arange(3, dtype=np.float32), names=np.array(['x', 'y'])),
        args=Namespace(lr=0.1),
    )
    read = ckpt.load_file(saved(content))
    history = read['message_hub']['log_scalars']['train/loss']
    assert (history.mean(), history.statistics('max'), history.current()) == (1.5, 2.0, 2.0)
    assert read['message_hub']['runtime_info']['lr'] == 0.5
    np.testing.assert_array_equal(read['meta']['mean'], [0, 1, 2])
    assert list(read['meta']['names']) == ['x', 'y']
    assert read['args'] == Namespace(lr=0.1)
    assert torch.equal(read['state_dict']['0.weight'], content['state_dict']['0.weight'])


class Runs:
    """Unpickling it calls something."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    'attack',
    [
        Runs(os.system, 'touch {marker}'),
        Runs(eval, "open('{marker}', 'w')"),
        Runs(exec, "open('{marker}', 'w')"),
        Runs(getattr, np.ndarray, 'tofile'),
        Runs(getattr, HistoryBuffer, '__init__'),  # getattr is allowed for four methods of this class alone
        Runs(functools.partial, os.system, 'touch {marker}'),
    ],
    ids=lambda a: f'{a.call[0].__name__}-{a.call[1][0]}',
)
@pytest.mark.parametrize('legacy', [False, True])
def test_code_is_refused(attack, legacy, tmp_path):
    marker, path = tmp_path / 'ran', tmp_path / 'evil.pth'
    function, arguments = attack.call
    arguments = [a.replace('{marker}', str(marker)) if isinstance(a, str) else a for a in arguments]
    torch.save({'state_dict': Runs(function, *arguments)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r'evil\.pth is refused: it holds more than weights and plain data'):
        ckpt.load_file(path)
    assert not marker.exists()


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('keep', [0.0, 0.1, 0.5, 0.95, 'flip'])
def test_damage_is_named(keep, legacy, tmp_path):
    path = tmp_path / 'cut.pth'
    torch.save({'state_dict': net(16).state_dict()}, path, _use_new_zipfile_serialization=not legacy)
    content = path.read_bytes()
    content = b'xy' + content[2:] if keep == 'flip' else content[: int(keep * len(content))]
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'cut\.pth'):
        ckpt.load_file(path)


@pytest.mark.parametrize('content', [b'', b'hello\n', b'<!DOCTYPE html><html>404</html>', b'\x80\x02}q\x00.' * 20])
def test_other_files(content, tmp_path):
    path = tmp_path / 'x.pth'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'x\.pth'):
        ckpt.load_state_dict_file(path)


def test_missing_file_and_bad_addresses(tmp_path):
    with pytest.raises(CheckpointError, match=r'there is no checkpoint file .*nope\.pth$'):
        ckpt.load_file(tmp_path / 'nope.pth')
    with pytest.raises(CheckpointError, match=r's3://.*download the file and give its path'):
        ckpt.load_checkpoint('s3://bucket/a.pth')
    with pytest.raises(CheckpointError, match=r'open-mmlab://nope: no such model; known are'):
        ckpt.load_checkpoint('open-mmlab://nope')


def test_safetensors_without_the_package(tmp_path, monkeypatch):
    path = tmp_path / 'a.safetensors'
    path.write_bytes(b'')
    monkeypatch.setitem(__import__('sys').modules, 'safetensors', None)
    with pytest.raises(CheckpointError, match='pip install safetensors'):
        ckpt.load_file(path)


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    path = tmp_path / 'a.safetensors'
    safetensors.save_file({'w': torch.arange(3.0)}, path)
    assert torch.equal(ckpt.load_state_dict_file(path)['w'], torch.arange(3.0))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CheckpointError, match='damaged or cut off'):
        ckpt.load_file(path)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server on this machine, and torch's cache in a folder of the test."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    (tmp_path / 'www').mkdir()
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    httpd = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Handler, directory=str(tmp_path / 'www'))
    )
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield tmp_path / 'www', f'http://127.0.0.1:{httpd.server_port}', requests
    httpd.shutdown()
    httpd.server_close()


def test_addresses_are_fetched_once_and_read_strictly(server, monkeypatch):
    folder, url, requests = server
    for i, sub in enumerate(('a', 'b')):  # the same name twice
        (folder / sub).mkdir()
        torch.save({'w': torch.full((2,), float(i))}, folder / sub / 'net.pth')
    torch.save({'w': Runs(os.system, 'true')}, folder / 'evil.pth')
    for _ in range(2):
        assert ckpt.load_checkpoint(f'{url}/a/net.pth')['w'][0] == 0
        assert ckpt.load_checkpoint(f'{url}/b/net.pth')['w'][0] == 1
    assert requests == ['/a/net.pth', '/b/net.pth']
    with pytest.raises(CheckpointError, match='refused'):
        ckpt.load_checkpoint(f'{url}/evil.pth')
    with pytest.raises(CheckpointError, match=r'cannot download .*nope\.pth: HTTPError'):
        ckpt.load_checkpoint(f'{url}/nope.pth')
    monkeypatch.setattr(ckpt, 'get_external_models', lambda: {'net': f'{url}/b/net.pth'})
    assert ckpt.load_checkpoint('open-mmlab://net')['w'][0] == 1


def test_init_cfg_of_any_module_is_strict(saved, own_mmengine_state):
    class Part(BaseModule):
        def __init__(self, checkpoint):
            super().__init__(init_cfg=dict(type='Pretrained', checkpoint=checkpoint))
            self.linear = nn.Linear(2, 2)

    good, evil = saved({'linear.weight': torch.ones(2, 2)}), saved({'x': Runs(os.system, 'true')}, 'evil.pth')
    ckpt.use_strict_loader()
    part = Part(good)
    part.init_weights()
    assert torch.equal(part.linear.weight, torch.ones(2, 2))
    with pytest.raises(CheckpointError, match='refused'):
        Part(evil).init_weights()
    assert {CheckpointLoader._get_checkpoint_loader(a) for a in ('a', 'https://a', 'torchvision://a', 's3://a')} == {
        ckpt.load_checkpoint
    }


@pytest.mark.parametrize('wrap', [lambda w: w, lambda w: {'state_dict': w}, lambda w: {'model': w, 'epoch': 3}])
def test_weights_are_found(saved, wrap):
    weights = net().state_dict()
    path = saved(wrap({f'module.{k}': v for k, v in weights.items()}))
    assert list(ckpt.load_state_dict_file(path)) == list(weights)


@pytest.mark.parametrize('content', [{'state_dict': {'a': 1}}, [1, 2], torch.ones(2), {}])
def test_no_weights(saved, content):
    with pytest.raises(CheckpointError, match=r'a\.pth holds no weights'):
        ckpt.load_state_dict_file(saved(content))


def test_strict_load_fits(saved):
    source, target = net(), net()
    nn.init.zeros_(target[0].weight)
    weights = {k: v for k, v in source.state_dict().items() if 'num_batches_tracked' not in k}
    load_strict(target, weights, 'x')
    assert torch.equal(target[0].weight, source[0].weight)


def test_strict_load_says_what_differs():
    weights = net(4).state_dict()
    with pytest.raises(CheckpointError) as info:
        load_strict(net(8), weights, 'old.pth')
    assert str(info.value) == (
        'old.pth is a checkpoint of another model than the config describes (Sequential, 9 tensors): 7 tensors of '
        'another shape (0.weight (4, 3, 3, 3) instead of (8, 3, 3, 3), 0.bias (4,) instead of (8,), 1.weight (4,) '
        'instead of (8,), ...)'
    )
    weights['extra.bias'] = weights.pop('2.bias')
    with pytest.raises(CheckpointError, match=r'1 missing keys \(2.bias\); 1 unexpected keys \(extra.bias\)$'):
        load_strict(net(4), weights, 'old.pth')
    with pytest.raises(CheckpointError, match=r'1 missing keys .*; 1 unexpected keys .*; 7 tensors of another shape'):
        load_strict(net(8), weights, 'old.pth')


def test_fitting_load(own_mmengine_state):
    weights = net(4).state_dict()
    weights['2.weight'] = torch.zeros(7)
    target = net(4)
    nn.init.zeros_(target[0].weight)
    load_fitting(target, weights, 'x')
    assert torch.equal(target[0].weight, weights['0.weight'])
    with pytest.raises(CheckpointError, match=r'x: none of its 1 tensors fits Sequential'):
        load_fitting(net(4), {'other': torch.ones(2)}, 'x')


def test_loads_are_recorded_where_asked_for(saved, tmp_path):
    first, second = saved(dict(state_dict=net().state_dict(), meta=dict(iter=3))), saved(net().state_dict(), 'b.pth')
    outer, inner = [], []
    ckpt.load_checkpoint(first)
    with ckpt.recording(outer):
        ckpt.load_checkpoint(first)
        with ckpt.recording(inner):
            ckpt.load_checkpoint(second)
        with pytest.raises(CheckpointError):
            ckpt.load_checkpoint(tmp_path / 'none.pth')
    ckpt.load_checkpoint(second)
    assert outer == [(first, {'iter': 3}), (second, {})]
    assert inner == [(second, {})]


def test_only_an_optimizer_is_compared_with_one():
    check_optimizer({'optimizer': {}}, None, 'x')
    wrapper = OptimWrapper(torch.optim.SGD(net().parameters(), 0.1))
    check_optimizer({}, wrapper, 'x')
    several = OptimWrapperDict(a=wrapper)
    check_optimizer({'optimizer': several.state_dict()}, several, 'x')


def test_groups_of_paramwise_cfg_are_the_optimizers():
    wrapper = build_optim_wrapper(
        net(), dict(optimizer=dict(type='SGD', lr=0.1, weight_decay=0.1), paramwise_cfg=dict(bias_decay_mult=0.0))
    )
    assert len(wrapper.param_groups) == len(wrapper.optimizer.param_groups) + 1, 'one that only keeps the rate'
    check_optimizer({'optimizer': wrapper.state_dict()}, wrapper, 'x')


def test_latest_checkpoint(tmp_path, saved):
    assert ckpt.latest_checkpoint(str(tmp_path)) is None
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/before/iter_5.pth')
    with pytest.raises(CheckpointError, match=r'names /elsewhere/before/iter_5\.pth'):
        ckpt.latest_checkpoint(str(tmp_path))
    moved = saved({}, 'iter_5.pth')
    assert ckpt.latest_checkpoint(str(tmp_path)) == moved
    other = saved({}, 'iter_7.pth')
    (tmp_path / 'last_checkpoint').write_text(other + '\n')
    assert ckpt.latest_checkpoint(str(tmp_path)) == other


def test_a_missing_file_of_published_weights_says_where_to_get_it():
    """For every file that a shipped config names."""
    texts = (path.read_text() for path in CONFIGS_DIR.rglob('*.py'))
    files = {name for text in texts for name in re.findall(r"checkpoint='(data/weights/[^']+)'", text)}
    assert len(files) > 3
    for name in files:
        with pytest.raises(
            CheckpointError,
            match=rf'no checkpoint file {name}; get it from (https://(github|download.pytorch)|`mmirstd train)',
        ):
            ckpt.load_file(name)
