"""Stripped checkpoints: what is kept, what is not, and that they test as before."""

import hashlib
import itertools
import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from safetensors import safe_open
from safetensors.torch import save, save_file

from mmirstd.checkpoints.loading import load_file
from mmirstd.checkpoints.provenance import split_record
from mmirstd.registry import RUNNERS
from mmirstd.version import __version__

NAMES = (f'publish{i}' for i in itertools.count())


@pytest.fixture
def refused(call):
    def run(*arguments):
        error = call('publish', *arguments)
        assert '\n' not in error
        return error

    return run


@pytest.fixture
def make(tiny_config, tmp_path):
    def build(extra='', **changes):
        cfg = Config.fromfile(tiny_config(extra))
        cfg.train_cfg.max_iters = 3
        cfg.merge_from_dict({'work_dir': str(tmp_path / 'run'), 'experiment_name': next(NAMES), **changes})
        return RUNNERS.build(cfg)

    return build


EMA = "custom_hooks = [dict(type='EMAHook', momentum=0.3, update_buffers=True)]\n"


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
@pytest.mark.parametrize('extra', ['', EMA], ids=['plain', 'average'])
def test_published_models_test_as_before(call, make, tmp_path, capsys, extra, suffix):
    make(extra).train()
    source, out = tmp_path / 'run/iter_3.pth', tmp_path / f'out{suffix}'
    before = make(load_from=str(source)).test()
    capsys.readouterr()
    assert call('publish', source, out) is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f'{out}: ')
    assert lines[0].endswith(f', sha256 {hashlib.sha256(out.read_bytes()).hexdigest()}')
    assert lines[1].endswith(', averaged (EMAHook)') == bool(extra)
    dropped = ['ema_state_dict'] * bool(extra) + ['message_hub', 'optimizer', 'param_schedulers']
    assert lines[2] == f'left out:   {", ".join(dropped)}'
    assert lines[3] == 'trained on: tiny all (5 images)'
    assert lines[4] == 'allowed:    5 of 5 images of tiny all were trained on (all)'
    assert out.stat().st_size < source.stat().st_size / 2
    assert not list(tmp_path.glob('.*.tmp'))

    after = make(load_from=str(out)).test()
    np.testing.assert_equal(after, before)  # nan is nan
    assert after['overlap'] == 5

    content, original = load_file(out), torch.load(source, weights_only=False)
    assert set(content) == {'meta', 'state_dict'}
    assert content['state_dict'].keys() == original['state_dict'].keys()
    meta = content['meta']
    assert meta['trained_on'] == original['meta']['trained_on']
    assert meta['cfg'] == original['meta']['cfg']
    assert meta['mmirstd_version'] == __version__
    assert meta['iter'] == 3
    assert list(meta['dataset_meta']['classes']) == ['background', 'target']
    assert 'rng' not in meta
    if suffix == '.safetensors':
        with safe_open(out, framework='pt') as file:
            header = file.metadata()
        assert json.loads(header['trained_on'])[0]['ids'] == ['0', '1', '2', '3', '4']
        assert header['format'] == 'pt'


def test_half_precision(call, make, tmp_path, capsys):
    make().train()
    source, out = tmp_path / 'run/iter_3.pth', tmp_path / 'half.safetensors'
    assert call('publish', source, out, '--half') is None
    weights, original = load_file(out)['state_dict'], load_file(source)['state_dict']
    for key, value in original.items():
        expected = value.half() if value.is_floating_point() else value
        assert weights[key].dtype == expected.dtype
        torch.testing.assert_close(weights[key], expected, rtol=0, atol=0)
    assert torch.float16 in {v.dtype for v in weights.values()}
    make(load_from=str(out)).test()


def test_what_float16_cannot_hold(call, tmp_path):
    torch.save({'state_dict': {'a.weight': torch.tensor([1e5])}}, tmp_path / 'a.pth')
    error = call('publish', tmp_path / 'a.pth', tmp_path / 'a.safetensors', '--half')
    assert 'a.weight exceeds what float16 holds' in error
    assert not (tmp_path / 'a.safetensors').exists()


def test_the_guard_reads_safetensors(call, make, tmp_path):
    make().train()
    assert call('publish', tmp_path / 'run/iter_3.pth', tmp_path / 'a.safetensors') is None
    with pytest.raises(ValueError, match=r'a\.safetensors: 5 of 5 images of tiny all were trained on'):
        make(load_from=str(tmp_path / 'a.safetensors'), allow_overlap=[]).test()
    with pytest.raises(RuntimeError, match=r'cannot resume from .*a\.safetensors: it has no message_hub, optimizer'):
        make('resume = True\n', load_from=str(tmp_path / 'a.safetensors')).train()


def write(path, meta=None, **extra):
    weights = {'a.weight': torch.arange(6.0).reshape(2, 3).T, 'a.num_batches_tracked': torch.tensor(3)}
    weights['b.weight'] = weights['a.weight']  # shared and not contiguous
    torch.save({'state_dict': weights, **({} if meta is None else {'meta': meta}), **extra}, path)
    return weights


def test_odd_tensors_and_meta(call, tmp_path, capsys):
    entry = split_record('NUAA-SIRST', 'ä/train', ['Misc_1', 'Misc_ü'])
    meta = dict(trained_on=[entry], unknown_splits=['x.pth'], dataset_meta=dict(mean=np.ones(2), palette=((0, 0),)))
    weights = write(tmp_path / 'a.pth', meta, optimizer={})
    weights['half'] = torch.tensor([1, float('nan')], dtype=torch.bfloat16)
    torch.save({'state_dict': weights, 'meta': meta, 'optimizer': {}}, tmp_path / 'a.pth')
    assert call('publish', tmp_path / 'a.pth', tmp_path / 'a.safetensors') is None
    assert 'trained on: NUAA-SIRST ä/train (2 images), unknown (x.pth)' in capsys.readouterr().out
    content = load_file(tmp_path / 'a.safetensors')
    for key, value in weights.items():
        assert content['state_dict'][key].dtype == value.dtype
        assert torch.equal(content['state_dict'][key].nan_to_num(), value.nan_to_num())
    assert content['meta']['trained_on'] == [entry]
    assert content['meta']['dataset_meta'] == {'mean': [1, 1], 'palette': [[0, 0]]}
    # Back again, and once more: nothing more is lost.
    assert call('publish', tmp_path / 'a.safetensors', tmp_path / 'b.pth') is None
    assert call('publish', tmp_path / 'b.pth', tmp_path / 'c.safetensors') is None
    assert (tmp_path / 'c.safetensors').read_bytes() == (tmp_path / 'a.safetensors').read_bytes()


def test_without_meta(call, tmp_path, capsys):
    write(tmp_path / 'a.pth')
    assert call('publish', tmp_path / 'a.pth', tmp_path / 'b.safetensors') is None
    out = capsys.readouterr().out
    assert 'left out:   nothing' in out
    assert 'trained on: unknown (a.pth)' in out
    assert 'trained_on' not in load_file(tmp_path / 'b.safetensors')['meta']


def test_headers_of_others(tmp_path):
    save_file({'w': torch.ones(1)}, tmp_path / 'a.safetensors', {'trained_on': 'ImageNet', 'note': 'x'})
    assert load_file(tmp_path / 'a.safetensors')['meta'] == {'trained_on': 'ImageNet', 'note': 'x'}


def test_nothing_is_replaced_or_left_behind(call, refused, tmp_path, monkeypatch, capsys):
    source, out = tmp_path / 'a.pth', tmp_path / 'b.safetensors'
    write(source)
    out.write_text('mine')
    refusal = 'exists: choose another place, or allow replacing with --overwrite (overwrite=True)'
    assert refused(source, out) == f'error: {out} {refusal}'
    assert out.read_text() == 'mine'
    assert call('publish', source, out, '--overwrite') is None
    assert load_file(out)['state_dict'].keys() == {'a.weight', 'b.weight', 'a.num_batches_tracked'}
    assert refused(source, source, '--overwrite').endswith('is the checkpoint itself')
    assert 'must end in .safetensors or .pth' in refused(source, tmp_path / 'b.bin')
    assert 'there is no folder' in refused(source, tmp_path / 'none/b.pth')
    assert 'there is no checkpoint file' in refused(tmp_path / 'none.pth', tmp_path / 'b.pth')

    # A disk that fails at the last moment, and one that writes something else.
    before = out.read_bytes()
    monkeypatch.setattr('os.fsync', lambda fd: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
    assert refused(source, out, '--overwrite') == f'error: cannot write {out}: No space left on device'
    monkeypatch.undo()
    (tmp_path / 'other.pth').write_bytes(source.read_bytes())
    monkeypatch.setattr('mmirstd.checkpoints.publishing.save', lambda w, m: save({k: v + 1 for k, v in w.items()}, m))
    assert 'does not read back as it was' in refused(source, out, '--overwrite')
    assert out.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.pth', 'b.safetensors', 'other.pth']


def test_code_and_other_objects_are_refused(refused, tmp_path):
    torch.save({'state_dict': {'w': torch.ones(1)}, 'x': print}, tmp_path / 'a.pth')
    assert 'a.pth is refused' in refused(tmp_path / 'a.pth', tmp_path / 'b.pth')
    write(tmp_path / 'c.pth', dict(dataset_meta={'x': torch.Size([1]), 'y': b'bytes'}))
    error = refused(tmp_path / 'c.pth', tmp_path / 'b.safetensors')
    assert error == 'error: meta holds a bytes, which is no plain data'
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.pth', 'c.pth']
