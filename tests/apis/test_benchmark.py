import csv
import json
import re
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmirstd.apis import benchmark, benchmark_markdown, benchmarking, measuring
from mmirstd.apis.benchmark_report import FILES, read_accuracy
from mmirstd.apis.benchmarking import (
    BenchmarkSettings,
    Prepared,
    as_data,
    build,
    cpu_memory,
    network,
    raw_batch,
    runnable,
    summarize_rounds,
)
from mmirstd.apis.contenders import contenders, find_reference
from mmirstd.utils.errors import ArgumentError

LINUX = Path('/proc/self/clear_refs').exists()
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')

CONFIG = """
_base_ = ['mmseg::_base_/models/fcn_unet_s5-d16.py']
model = dict(
    data_preprocessor=dict(
        _delete_=True, type='mmirstd.IRSTDDataPreProcessor', mean=[101.06], std=[34.62], test_divisor=32
    ),
    backbone=dict(in_channels=1, base_channels={width}, num_stages=2, strides=(1, 1), enc_num_convs=(1, 1),
                  dec_num_convs=(1,), downsamples=(True,), enc_dilations=(1, 1), dec_dilations=(1,)),
    decode_head=dict(in_channels={width}, in_index=1, channels=4, num_classes=2, out_channels=1, threshold=0.5,
                     loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True)),
    auxiliary_head=None,
    test_cfg=dict(mode='whole'),
)
"""


@pytest.fixture
def configs(tmp_path):
    paths = {name: tmp_path / f'{name}.py' for name in ('small', 'wide')}
    for path, width in zip(paths.values(), (4, 8), strict=True):
        path.write_text(textwrap.dedent(CONFIG.format(width=width)))
    return {name: str(path) for name, path in paths.items()}


def fake(durations, log, name):
    """A call whose durations are given in turn, without any clock."""
    durations = iter(durations)

    def timed():
        log.append(name)
        return next(durations)

    return timed


def test_rounds_rotate_and_slices_last_their_time():
    log = []
    # The first call of each slice does not count, however long it took.
    timed = {
        'a': fake([9.0, 0.5, 0.5, 9.0, 0.5, 0.6, 9.0, 1.0], log, 'a'),
        'b': fake([9.0, 2.0, 9.0, 3.0, 9.0, 4.0], log, 'b'),
        'c': fake([9.0, 0.25, 0.25, 0.25, 0.25] + [9.0, 1.5] * 2, log, 'c'),
    }
    rounds = measuring.interleave(timed, 3, 1.0)
    assert [list(r) for r in rounds] == [['a', 'b', 'c'], ['b', 'c', 'a'], ['c', 'a', 'b']]
    assert rounds[0] == {'a': [0.5, 0.5], 'b': [2.0], 'c': [0.25] * 4}
    assert rounds[1] == {'b': [3.0], 'c': [1.5], 'a': [0.5, 0.6]}
    assert rounds[2] == {'c': [1.5], 'a': [1.0], 'b': [4.0]}
    assert ''.join(log) == 'aaabbccccc' + 'bbccaaa' + 'ccaabb'


def test_no_time_is_one_call_per_slice():
    log = []
    rounds = measuring.interleave({'a': fake([5.0, 0.0], log, 'a')}, 1, 0.0)
    assert rounds == [{'a': [0.0]}]


def test_summary_against_numpy():
    values = np.random.default_rng(0).gamma(2, size=17)
    ordered = sorted(values)
    assert summarize_rounds(values) == pytest.approx({'q1': ordered[4], 'median': ordered[8], 'q3': ordered[12]})


class Clock:
    """perf_counter of a machine that is ten times as slow in every second round."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_ratios_are_taken_within_the_rounds(configs, monkeypatch, capsys):
    """With a load that slows whole rounds, latencies spread and ratios do not."""
    clock, made = Clock(), []

    def prepare(contender, settings):
        def run():
            made.append(contender.name)
            slow = 10 if (len(made) - 1 - 2) // 4 % 2 else 1  # after two calls of warm-up, four calls per round
            clock.now += slow * {'small': 0.1, 'wide': 0.3}[contender.name]

        return Prepared(run, 1_000_000, 2_000_000_000, (64, 96), 4_000_000)

    monkeypatch.setattr(benchmarking, 'prepare_contender', prepare)
    monkeypatch.setattr('time.perf_counter', clock)
    result = benchmark(configs.values(), rounds=4, seconds=0, warmup=1, memory=False, batch=3, reference='wide')
    small, wide = result['models']
    assert result['reference'] == 'wide'
    assert small['rounds_s'] == pytest.approx([0.1, 1.0, 0.1, 1.0])
    assert wide['rounds_s'] == pytest.approx([0.3, 3.0, 0.3, 3.0])
    assert small['latency_s'] == pytest.approx(dict(median=0.55, q1=0.1, q3=1.0))
    assert small['ratio'] == pytest.approx(dict(median=1 / 3, q1=1 / 3, q3=1 / 3))
    assert wide['ratio'] == pytest.approx(dict(median=1, q1=1, q3=1))
    assert small['images_per_s'] == pytest.approx(3 / 0.55)
    assert result['order'] == [['small', 'wide'], ['wide', 'small']] * 2
    text = benchmark_markdown(result)
    assert '| small | as trained | 64 x 96 | 1.000 M | 2.000 G | 550.0 [100.0, 1000.0] | 5.455 | - |' in text
    assert '0.333 [0.333, 0.333] |' in text


def cells(text):
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line[:1] == '|']
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def test_table_and_files_of_real_models(call, configs, tmp_path, capsys):
    out, figures = tmp_path / 'new/out', tmp_path / 'accuracy.json'
    figures.write_text(json.dumps({'IoU': {'small': 0.5, 'wide': 0.75, 'wide@deploy+channels-last': 0.7}, 'Pd': {}}))
    argv = [configs['small'], configs['wide'], f'{configs["wide"]}@deploy+channels-last', configs['small'],
            '--shape', '60', '70', '--batch', '2', '--threads', '1', '--rounds', '2', '--seconds', '0', '--warmup', '1',
            '--reference', configs['wide'], '--accuracy', str(figures), '--no-memory', '--out', str(out)]  # fmt: skip
    assert call('benchmark', *argv) is None
    printed = capsys.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    assert printed.startswith((out / 'benchmark.md').read_text())
    assert Image.open(out / 'benchmark.png').size == (1210, 440)
    assert 'Images 60 x 70, batch 2, cpu, 1 thread(s); from preprocessed images to logits' in printed

    result = json.loads((out / 'benchmark.json').read_text())
    names = ['small', 'wide', 'wide@deploy+channels-last', 'small#2']
    assert [m['name'] for m in result['models']] == names
    assert result['reference'] == 'wide'
    assert result['order'] == [names, [*names[1:], names[0]]]
    assert [m['form'] for m in result['models']] == ['as trained', 'as trained', 'deploy, channels-last', 'as trained']
    rows = list(csv.DictReader((out / 'benchmark.csv').open()))
    table = cells(printed)
    for model, row, line in zip(result['models'], rows, table, strict=True):
        assert model['input_size'] == [64, 96]
        assert len(model['rounds_s']) == model['calls'] == 2
        assert model['latency_s']['median'] == pytest.approx(np.mean(model['rounds_s']))
        assert model['images_per_s'] == pytest.approx(2 / model['latency_s']['median'])
        assert float(row['latency_s_median']) == model['latency_s']['median']
        assert (row['name'], row['input_width'], row['memory_bytes']) == (model['name'], '96', '')
        assert (line['model'], line['network sees']) == (model['name'], '64 x 96')
        assert line['latency / wide'].startswith(f'{model["ratio"]["median"]:.3f} [')
        ratios = np.divide(model['rounds_s'], result['models'][1]['rounds_s'])
        assert model['ratio']['median'] == pytest.approx(np.median(ratios))
    call('flops', configs['wide'], '--shape', '60', '70', '--json')
    expected = json.loads(capsys.readouterr().out)
    assert [result['models'][1][key] for key in ('params', 'macs')] == [expected['params'], expected['macs']]
    assert result['models'][2]['params'] < expected['params']
    assert result['models'][0] | {'name': 0} != result['models'][3] | {'name': 0}  # measured twice, not copied

    threads = torch.get_num_threads()
    assert re.match(r'error: .*benchmark\.json.* exist: choose another place', call('benchmark', *argv))
    assert torch.get_num_threads() == threads


FLAGS = {'deploy': False, 'channels_last': False, 'compile': False, 'precision': 'fp32'}


def outputs(config, shape, checkpoint='-', cfg_options=None, flags=FLAGS, **settings):
    settings = BenchmarkSettings(shape=shape, **settings)
    (contender,) = contenders([config], [str(checkpoint)], FLAGS | flags)
    return runnable(build(contender, cfg_options or {}), contender, settings)()


def test_what_is_timed_is_the_network_or_all_of_it(configs):
    logits = outputs(configs['small'], (30, 41), batch=2)
    assert logits.shape == (2, 1, 32, 64)
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    masks = outputs(configs['small'], (30, 41), batch=2, end_to_end=True)
    assert masks.shape == (2, 1, 30, 41)
    assert masks.dtype == torch.uint8
    assert set(masks.unique().tolist()) <= {0, 1}

    model = build(contenders([configs['small']], [], FLAGS)[0], {})
    images = raw_batch(model, 2, 30, 41)
    assert not torch.equal(images[0], images[1])
    samples = model.test_step(as_data(images))
    assert torch.equal(masks.bool(), torch.stack([s.pred_sem_seg.data for s in samples]).bool())


def test_forms_give_the_same_logits(configs, monkeypatch):
    compiled = []

    def compile_(function, **kwargs):
        compiled.append(kwargs)
        return partial(function)

    monkeypatch.setattr(torch, 'compile', compile_)
    expected = outputs(configs['small'], (64, 64))
    for form in ('deploy', 'channels-last', 'compile', 'deploy+compile+channels-last'):
        got = outputs(f'{configs["small"]}@{form}', (64, 64))
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        everywhere = {flag.replace('-', '_'): True for flag in form.split('+')}
        torch.testing.assert_close(outputs(configs['small'], (64, 64), flags=everywhere), got)
    assert len(compiled) == 4
    lower = outputs(f'{configs["small"]}@bf16', (64, 64))
    assert 1e-6 < (lower.float() - expected).abs().max() < 0.1
    changed = outputs(configs['small'], (64, 64), cfg_options={'model.decode_head.channels': 8})
    assert not torch.allclose(changed, expected)


def test_weights_of_a_checkpoint(call, configs, tmp_path):
    model = build(contenders([configs['small']], [], FLAGS)[0], {})
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(0.25)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'weights.pth')
    expected = network(model, raw_batch(model, 1, 32, 32), torch.contiguous_format)()
    got = outputs(configs['small'], (32, 32), tmp_path / 'weights.pth', flags={'deploy': True})
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(outputs(configs['small'], (32, 32)), expected)
    error = call('benchmark', configs['small'], '--checkpoints', 'none.pth')
    assert error == 'error: there is no checkpoint file none.pth'


@pytest.mark.skipif(not LINUX, reason='reads /proc')
def test_resident_growth_is_what_a_call_takes():
    size = 64 * 2**20
    growth = measuring.resident_growth(lambda: torch.ones(size, dtype=torch.uint8), 2)
    assert 0.95 * size < growth < 1.25 * size
    assert measuring.resident_growth(lambda: None, 1) < 8 * 2**20


@pytest.mark.skipif(not LINUX, reason='reads /proc')
def test_command_line_measures_memory_in_a_process_of_its_own(configs, tmp_path):
    command = [
        sys.executable,
        '-m',
        'mmirstd',
        'benchmark',
        configs['wide'],
        '--rounds',
        '1',
        '--seconds',
        '0',
        '--threads',
        '1',
    ]
    command += ['--out', tmp_path / 'out']
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    memory = json.loads((tmp_path / 'out/benchmark.json').read_text())['models'][0]['memory_bytes']
    # At the finest level: the encoder's map of 8 channels in float32, and while it is joined, twice 8 and 16 more.
    assert 8 * 4 * 256 * 256 * 2 < memory < 100 * 2**20
    assert re.search(r'\| [\d.]+ MiB \|', done.stdout)


def test_memory_is_unknown_without_proc_and_a_failed_child_is_an_error(configs, tmp_path, monkeypatch):
    (contender,) = contenders([configs['small']], [], FLAGS)
    with pytest.raises(KeyError, match='NoSuchBackbone'):  # the child's own error
        cpu_memory(contender, BenchmarkSettings(cfg_options={'model.backbone.type': 'NoSuchBackbone'}))
    monkeypatch.setattr(measuring, 'CLEAR_REFS', tmp_path / 'none')
    assert cpu_memory(contender, BenchmarkSettings()) is None


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--shape', '1', '2', '3'], '--shape takes'),
        (['--shape', '0'], '--shape takes'),
        (['--rounds', '0'], 'at least 1'),
        (['--seconds', '-1'], '--seconds must'),
        (['--seconds', 'nan'], '--seconds must'),
        (['--cuda-graphs'], '--device cuda'),
        (['--cuda-graphs', '--device', 'cuda', '--end-to-end'], '--end-to-end'),
        (['--checkpoints', 'a', 'b'], '2 --checkpoints for 1'),
        (['--accuracy', 'a.json'], '--out'),
        (['--reference', '1'], 'a place from 0 to 0, or one of config'),
        (['--reference', 'x'], '--reference x'),
        (['--precision', 'fp8'], 'invalid choice'),
    ],
)
def test_bad_options(call, options, message, capsys):
    assert call('benchmark', 'config.py', *options) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(('config', 'message'), [('a.py@fast', "no form 'fast'"), ('a.py@bf16+fp16', 'one precision')])
def test_bad_forms(config, message):
    with pytest.raises(ArgumentError, match=message):
        benchmark([config])


def test_names_and_references(tmp_path):
    (tmp_path / 'a@b').mkdir()
    path = tmp_path / 'a@b/c.py'
    path.touch()
    given = [str(path), 'x/d.py@bf16', 'y/d.py']
    models = contenders(given, [], FLAGS | {'precision': 'fp16'})
    assert [m.name for m in models] == ['c', 'd@bf16', 'd']
    assert [m.precision for m in models] == ['fp16', 'bf16', 'fp16']
    assert [m.config for m in models] == [str(path), 'x/d.py', 'y/d.py']
    assert find_reference('d@bf16', models, given) == 1
    given = ['x/d.py', 'y/d.py']
    models = contenders(given, [], FLAGS)
    assert find_reference('d#2', models, given) == find_reference('y/d.py', models, given) == 1


def test_accuracy_by_config_or_by_form(tmp_path):
    path, models = tmp_path / 'a.json', contenders(['a.py', 'a.py@bf16', 'a.py@deploy', 'b.py'], [], FLAGS)
    path.write_text('{"IoU": {"a": 0.5, "a@bf16": 0.4}}')
    assert read_accuracy(path, models) == {'IoU': {'a': 0.5, 'a@bf16': 0.4, 'a@deploy': 0.5}}
    path.write_text('{"IoU": {"c": 0.5}}')
    with pytest.raises(ValueError, match=r'a\.json: IoU: no measured model is called c'):
        read_accuracy(path, models)
    for text in ('[1]', '{"IoU": 1}', '{"IoU": {"a": "x"}}', '{', '{"IoU": {"a": null}}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r'a\.json must hold'):
            read_accuracy(path, models)


def test_end_to_end_and_other_conditions_are_stated(call, configs, capsys):
    fast = ('--shape', '32', '--rounds', '1', '--seconds', '0', '--no-memory')
    options = ('--end-to-end', '--cfg-options', 'model.decode_head.channels=8')
    assert call('benchmark', configs['small'], *fast, *options) is None
    printed = capsys.readouterr().out
    assert 'from uint8 images to masks' in printed
    assert 'All configs with model.decode_head.channels=8.' in printed


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
def test_without_cuda_the_gpu_is_an_error(configs):
    with pytest.raises(ArgumentError, match=r"device 'cuda': PyTorch .* cannot use it: "):
        benchmark([configs['small']], device='cuda')


@needs_cuda
@pytest.mark.parametrize('options', [[], ['--cuda-graphs'], ['--end-to-end'], ['--precision', 'fp16', '--cuda-graphs']])
def test_on_a_gpu(call, configs, tmp_path, options):
    call('benchmark', configs['small'], f'{configs["small"]}@deploy+channels-last', '--device', 'cuda', '--shape', '64',
                  '--rounds', '2', '--seconds', '0', '--out', str(tmp_path / 'out'), *options)  # fmt: skip
    result = json.loads((tmp_path / 'out/benchmark.json').read_text())
    assert all(m['memory_bytes'] > 0 and min(m['rounds_s']) > 0 for m in result['models'])
    assert result['machine']['gpu']


@needs_cuda
def test_a_cuda_graph_computes_what_the_network_does(configs):
    (contender,) = contenders([configs['small']], [], FLAGS)
    run = runnable(build(contender, {}), contender, BenchmarkSettings(shape=(64, 64), device='cuda', cuda_graphs=True))
    expected = run()
    replay = measuring.as_cuda_graph(run)
    replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(replay.__defaults__[0], expected)
