import csv
import json
import re
import runpy
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

TOOL = Path(__file__).parents[2] / 'tools/analysis_tools/benchmark.py'
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


@pytest.fixture(scope='module')
def tool():
    return runpy.run_path(str(TOOL))


@pytest.fixture(autouse=True)
def same_threads():
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    yield
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = benchmark


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


def test_rounds_rotate_and_slices_last_their_time(tool):
    log = []
    # The first call of each slice does not count, however long it took.
    timed = {
        'a': fake([9.0, 0.5, 0.5, 9.0, 0.5, 0.6, 9.0, 1.0], log, 'a'),
        'b': fake([9.0, 2.0, 9.0, 3.0, 9.0, 4.0], log, 'b'),
        'c': fake([9.0, 0.25, 0.25, 0.25, 0.25] + [9.0, 1.5] * 2, log, 'c'),
    }
    rounds = tool['interleave'](timed, 3, 1.0)
    assert [list(r) for r in rounds] == [['a', 'b', 'c'], ['b', 'c', 'a'], ['c', 'a', 'b']]
    assert rounds[0] == {'a': [0.5, 0.5], 'b': [2.0], 'c': [0.25] * 4}
    assert rounds[1] == {'b': [3.0], 'c': [1.5], 'a': [0.5, 0.6]}
    assert rounds[2] == {'c': [1.5], 'a': [1.0], 'b': [4.0]}
    assert ''.join(log) == 'aaabbccccc' + 'bbccaaa' + 'ccaabb'


def test_no_time_is_one_call_per_slice(tool):
    log = []
    rounds = tool['interleave']({'a': fake([5.0, 0.0], log, 'a')}, 1, 0.0)
    assert rounds == [{'a': [0.0]}]


def test_summary_against_numpy(tool):
    values = np.random.default_rng(0).gamma(2, size=17)
    got = tool['summarise'](values)
    assert got.median == pytest.approx(sorted(values)[8])
    assert (got.q1, got.q3) == pytest.approx((sorted(values)[4], sorted(values)[12]))


class Clock:
    """perf_counter of a machine that is ten times as slow in every second round."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_ratios_are_taken_within_the_rounds(tool, configs, monkeypatch, capsys):
    """With a load that slows whole rounds, latencies spread and ratios do not."""
    clock, made = Clock(), []

    def prepare(contender, args):
        def run():
            made.append(contender.name)
            slow = 10 if (len(made) - 1 - 2) // 4 % 2 else 1  # after two calls of warm-up, four calls per round
            clock.now += slow * {'small': 0.1, 'wide': 0.3}[contender.name]

        return tool['Prepared'](run, 1_000_000, 2_000_000_000, (64, 96), 4_000_000)

    monkeypatch.setitem(tool['measure'].__globals__, 'prepare', prepare)
    monkeypatch.setattr('time.perf_counter', clock)
    argv = [configs['small'], configs['wide'], '--rounds', '4', '--seconds', '0', '--warmup', '1', '--no-memory',
            '--batch', '3', '--reference', 'wide']  # fmt: skip
    result = tool['measure'](tool['parse_args'](argv), argv)
    small, wide = result['models']
    assert result['reference'] == 'wide'
    assert small['rounds_s'] == pytest.approx([0.1, 1.0, 0.1, 1.0])
    assert wide['rounds_s'] == pytest.approx([0.3, 3.0, 0.3, 3.0])
    assert small['latency_s'] == pytest.approx(dict(median=0.55, q1=0.1, q3=1.0))
    assert small['ratio'] == pytest.approx(dict(median=1 / 3, q1=1 / 3, q3=1 / 3))
    assert wide['ratio'] == pytest.approx(dict(median=1, q1=1, q3=1))
    assert small['images_per_s'] == pytest.approx(3 / 0.55)
    assert result['order'] == [['small', 'wide'], ['wide', 'small']] * 2
    text = tool['markdown'](result)
    assert '| small | as trained | 64 x 96 | 1.000 M | 2.000 G | 550.0 [100.0, 1000.0] | 5.455 | - |' in text
    assert '0.333 [0.333, 0.333] |' in text


def cells(text):
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line[:1] == '|']
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def test_table_and_files_of_real_models(tool, configs, tmp_path, capsys):
    out, figures = tmp_path / 'new/out', tmp_path / 'accuracy.json'
    figures.write_text(json.dumps({'IoU': {'small': 0.5, 'wide': 0.75, 'wide@deploy+channels-last': 0.7}, 'Pd': {}}))
    argv = [configs['small'], configs['wide'], f'{configs["wide"]}@deploy+channels-last', configs['small'],
            '--shape', '60', '70', '--batch', '2', '--threads', '1', '--rounds', '2', '--seconds', '0', '--warmup', '1',
            '--reference', configs['wide'], '--accuracy', str(figures), '--no-memory', '--out', str(out)]  # fmt: skip
    tool['main'](argv)
    printed = capsys.readouterr().out
    assert sorted(p.name for p in out.iterdir()) == sorted(tool['FILES'])
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
    counted = runpy.run_path(str(TOOL.with_name('get_flops.py')))
    counted['main']([configs['wide'], '--shape', '60', '70', '--json'])
    expected = json.loads(capsys.readouterr().out)
    assert [result['models'][1][key] for key in ('params', 'macs')] == [expected['params'], expected['macs']]
    assert result['models'][2]['params'] < expected['params']
    assert result['models'][0] | {'name': 0} != result['models'][3] | {'name': 0}  # measured twice, not copied

    with pytest.raises(SystemExit, match='is there already'):
        tool['main'](argv)


def outputs(tool, argv, place=0):
    args = tool['parse_args'](argv)
    contender = args.contenders[place]
    return tool['runnable'](tool['build'](contender, args.cfg_options), contender, args)()


def test_what_is_timed_is_the_network_or_all_of_it(tool, configs):
    argv = [configs['small'], '--shape', '30', '41', '--batch', '2']
    logits = outputs(tool, argv)
    assert logits.shape == (2, 1, 32, 64)
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    masks = outputs(tool, [*argv, '--end-to-end'])
    assert masks.shape == (2, 1, 30, 41)
    assert masks.dtype == torch.uint8
    assert set(masks.unique().tolist()) <= {0, 1}

    model = tool['build'](tool['parse_args'](argv).contenders[0], {})
    images = tool['raw_batch'](model, 2, 30, 41)
    assert not torch.equal(images[0], images[1])
    samples = model.test_step(tool['as_data'](images))
    assert torch.equal(masks.bool(), torch.stack([s.pred_sem_seg.data for s in samples]).bool())


def test_forms_give_the_same_logits(tool, configs, monkeypatch):
    compiled = []

    def compile_(function, **kwargs):
        compiled.append(kwargs)
        return partial(function)

    monkeypatch.setattr(torch, 'compile', compile_)
    expected = outputs(tool, [configs['small'], '--shape', '64'])
    for form in ('deploy', 'channels-last', 'compile', 'deploy+compile+channels-last'):
        got = outputs(tool, [f'{configs["small"]}@{form}', '--shape', '64'])
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            outputs(tool, [configs['small'], '--shape', '64', *(f'--{f}' for f in form.split('+'))]), got
        )
    assert len(compiled) == 4
    lower = outputs(tool, [f'{configs["small"]}@bf16', '--shape', '64'])
    assert 1e-6 < (lower.float() - expected).abs().max() < 0.1
    changed = outputs(tool, [configs['small'], '--shape', '64', '--cfg-options', 'model.decode_head.channels=8'])
    assert not torch.allclose(changed, expected)


def test_weights_of_a_checkpoint(tool, configs, tmp_path):
    argv = [configs['small'], '--shape', '32']
    model = tool['build'](tool['parse_args'](argv).contenders[0], {})
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(0.25)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'weights.pth')
    images = tool['raw_batch'](model, 1, 32, 32)
    expected = tool['network'](model, images, torch.contiguous_format)()
    got = outputs(tool, [*argv, '--deploy', '--checkpoints', str(tmp_path / 'weights.pth')])
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(outputs(tool, [*argv, '--checkpoints', '-']), expected)
    with pytest.raises(SystemExit, match=r'error: there is no file .*none\.pth'):
        tool['main']([*argv, '--checkpoints', str(tmp_path / 'none.pth')])


@pytest.mark.skipif(not LINUX, reason='reads /proc')
def test_resident_growth_is_what_a_call_takes(tool):
    size = 64 * 2**20
    growth = tool['resident_growth'](lambda: torch.ones(size, dtype=torch.uint8), 2)
    assert 0.95 * size < growth < 1.25 * size
    assert tool['resident_growth'](lambda: None, 1) < 8 * 2**20


@pytest.mark.skipif(not LINUX, reason='reads /proc')
def test_command_line_measures_memory_in_a_process_of_its_own(configs, tmp_path):
    command = [sys.executable, TOOL, configs['wide'], '--rounds', '1', '--seconds', '0', '--threads', '1']
    command += ['--out', tmp_path / 'out']
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    memory = json.loads((tmp_path / 'out/benchmark.json').read_text())['models'][0]['memory_bytes']
    # At the finest level: the encoder's map of 8 channels in float32, and while it is joined, twice 8 and 16 more.
    assert 8 * 4 * 256 * 256 * 2 < memory < 100 * 2**20
    assert re.search(r'\| [\d.]+ MiB \|', done.stdout)


def test_memory_is_unknown_without_proc_and_a_failed_child_is_an_error(tool, tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match=r'exit status \d.*: error: there is no file none\.py'):
        tool['cpu_memory'](['none.py'], 0)
    monkeypatch.setitem(tool['cpu_memory'].__globals__, 'CLEAR_REFS', tmp_path / 'none')
    assert tool['cpu_memory'](['none.py'], 0) is None


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
    ],
)
def test_bad_options(tool, options, message, capsys):
    with pytest.raises(SystemExit):
        tool['parse_args'](['config.py', *options])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(('config', 'message'), [('a.py@fast', "no form 'fast'"), ('a.py@bf16+fp16', 'one precision')])
def test_bad_forms(tool, config, message, capsys):
    with pytest.raises(SystemExit):
        tool['parse_args']([config])
    assert message in capsys.readouterr().err


def test_names_and_references(tool, tmp_path):
    (tmp_path / 'a@b').mkdir()
    path = tmp_path / 'a@b/c.py'
    path.touch()
    args = tool['parse_args']([str(path), 'x/d.py@bf16', 'y/d.py', '--precision', 'fp16', '--reference', 'd@bf16'])
    assert [m.name for m in args.contenders] == ['c', 'd@bf16', 'd']
    assert [m.precision for m in args.contenders] == ['fp16', 'bf16', 'fp16']
    assert [m.config for m in args.contenders] == [str(path), 'x/d.py', 'y/d.py']
    assert args.reference == 1
    assert tool['parse_args'](['x/d.py', 'y/d.py', '--reference', 'd#2']).reference == 1
    assert tool['parse_args'](['x/d.py', 'y/d.py', '--reference', 'y/d.py']).reference == 1


def test_accuracy_by_config_or_by_form(tool, tmp_path):
    path, models = tmp_path / 'a.json', tool['parse_args'](['a.py', 'a.py@bf16', 'a.py@deploy', 'b.py']).contenders
    path.write_text('{"IoU": {"a": 0.5, "a@bf16": 0.4}}')
    assert tool['read_accuracy'](path, models) == {'IoU': {'a': 0.5, 'a@bf16': 0.4, 'a@deploy': 0.5}}
    path.write_text('{"IoU": {"c": 0.5}}')
    with pytest.raises(ValueError, match=r'a\.json: IoU: no measured model is called c'):
        tool['read_accuracy'](path, models)
    for text in ('[1]', '{"IoU": 1}', '{"IoU": {"a": "x"}}', '{', '{"IoU": {"a": null}}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r'a\.json must hold'):
            tool['read_accuracy'](path, models)


def test_end_to_end_and_other_conditions_are_stated(tool, configs, capsys):
    tool['main']([configs['small'], '--shape', '32', '--rounds', '1', '--seconds', '0', '--no-memory', '--end-to-end',
                  '--cfg-options', 'model.decode_head.channels=8'])  # fmt: skip
    printed = capsys.readouterr().out
    assert 'from uint8 images to masks' in printed
    assert 'All configs with model.decode_head.channels=8.' in printed


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
def test_without_cuda_the_gpu_is_an_error(tool, configs):
    with pytest.raises(SystemExit, match=r'error: --device cuda: PyTorch .* finds no CUDA device'):
        tool['main']([configs['small'], '--device', 'cuda'])


@needs_cuda
@pytest.mark.parametrize('options', [[], ['--cuda-graphs'], ['--end-to-end'], ['--precision', 'fp16', '--cuda-graphs']])
def test_on_a_gpu(tool, configs, tmp_path, options):
    tool['main']([configs['small'], f'{configs["small"]}@deploy+channels-last', '--device', 'cuda', '--shape', '64',
                  '--rounds', '2', '--seconds', '0', '--out', str(tmp_path / 'out'), *options])  # fmt: skip
    result = json.loads((tmp_path / 'out/benchmark.json').read_text())
    assert all(m['memory_bytes'] > 0 and min(m['rounds_s']) > 0 for m in result['models'])
    assert result['machine']['gpu']


@needs_cuda
def test_a_cuda_graph_computes_what_the_network_does(tool, configs):
    args = tool['parse_args']([configs['small'], '--device', 'cuda', '--shape', '64', '--cuda-graphs'])
    run = tool['runnable'](tool['build'](args.contenders[0], {}), args.contenders[0], args)
    expected = run()
    replay = tool['as_cuda_graph'](run)
    replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(replay.__defaults__[0], expected)
