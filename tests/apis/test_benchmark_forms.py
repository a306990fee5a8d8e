"""Forms of ``mmirstd benchmark`` that onnxruntime runs, and the stages from a file to its detections."""

import pytest
import torch

from mmirstd.apis import benchmark, benchmark_markdown
from mmirstd.apis.benchmark_onnx import onnx_run
from mmirstd.apis.benchmark_stages import STAGES, StageTimer, scene_file
from mmirstd.apis.benchmarking import BenchmarkSettings, build, cpu_memory
from mmirstd.apis.complexity import network_inputs, raw_batch
from mmirstd.apis.contenders import Contender, contenders
from mmirstd.apis.inference import init_model
from mmirstd.apis.predicting import predict
from mmirstd.utils.errors import ArgumentError

FLAGS = {'deploy': False, 'channels_last': False, 'compile': False, 'precision': 'fp32'}
UNET = """
model['data_preprocessor'].update(type='mmirstd.IRSTDDataPreProcessor', test_divisor=4, bgr_to_rgb=True)
model['backbone'] = dict(type='mmirstd.UNetEncoder', channels=(4, 8, 8))
model['neck'] = dict(type='mmirstd.SGEM', in_channels=[4, 8, 8], sgem_levels=(1,))
model['decode_head'] = dict(type='mmirstd.ConvHead', in_channels=4, in_index=0,
                            loss_decode=dict(type='mmirstd.SoftIoULoss'))
"""


@pytest.fixture
def config(tiny_config):
    return str(tiny_config(UNET))


def test_forms_of_onnxruntime_are_named():
    given = ['a@onnx', 'a@onnx+int8', 'a@deploy+channels-last', 'a']
    found = contenders(given, [], FLAGS | {'channels_last': True})
    assert [c.form for c in found] == ['deploy, onnx', 'deploy, onnx, int8', 'deploy, channels-last', 'channels-last']


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ('a@int8', 'write onnx.int8'),
        ('a@onnx+compile', 'not with compile'),
        ('a@onnx+channels-last', 'not with channels-last'),
        ('a@onnx+bf16', 'not with bf16'),
    ],
)
def test_impossible_forms(given, message):
    with pytest.raises(ArgumentError, match=message):
        contenders([given], [], FLAGS)


def test_onnxruntime_computes_what_is_timed(config):
    model = build(Contender('a', config, deploy=True), {})
    images = raw_batch(model, 2, 33, 40)
    inputs, metas = network_inputs(model, images)
    expected = model.encode_decode(inputs, metas)
    options = {'threads': 1, 'end_to_end': False}
    torch.testing.assert_close(onnx_run(model, images, int8=False, **options)(), expected, atol=1e-4, rtol=1e-4)
    int8 = onnx_run(model, images, int8=True, **options)()
    assert 0 < (int8 - expected).abs().mean() < 0.5 * expected.std()
    mask = onnx_run(model, images, int8=False, threads=1, end_to_end=True)()
    assert mask.shape == (2, 1, 33, 40)
    logits = expected[:, :, :33, :40]
    assert torch.equal(mask[logits.abs() > 1e-3], (logits > 0)[logits.abs() > 1e-3].to(torch.uint8))


def test_all_forms_in_one_run(config):
    given = [config, f'{config}@deploy+channels-last', f'{config}@onnx', f'{config}@onnx+int8']
    result = benchmark(given, shape=32, rounds=1, seconds=0, warmup=1, threads=1, memory=False)
    assert [row['form'] for row in result['models']][2:] == ['deploy, onnx', 'deploy, onnx, int8']
    assert all(row['ratio']['median'] > 0 for row in result['models'])


def test_memory_of_onnxruntime_is_not_measured(config):
    """It keeps the memory of its first call, so that later calls would seem to take none."""
    settings = BenchmarkSettings(shape=(32, 32), threads=1)
    assert cpu_memory(Contender('a', config, onnx=True), settings) is None


def test_stages_are_those_of_a_prediction(config, tiny_checkpoint, monkeypatch):
    model = build(Contender('a', config), {})
    clock = iter([0.0, 2.0, 3.0, 8.0, 10.0])
    timer = StageTimer(model, scene_file(48, 64))
    with monkeypatch.context() as patched:
        patched.setattr('time.perf_counter', lambda: next(clock))
        assert timer() == 10.0
    assert timer.medians() == {'reading': 2.0, 'network': 5.0, 'post-processing': 3.0}
    assert len(predict(model, str(scene_file(48, 64))).mask) == 48


def test_a_gpu_is_waited_for_around_the_network(config, monkeypatch):
    model = build(Contender('a', config), {})
    order = []
    monkeypatch.setattr(model, 'parameters', lambda: iter([type('P', (), {'is_cuda': True})]))
    monkeypatch.setattr('torch.cuda.synchronize', lambda: order.append('wait'))
    step = model.test_step
    timer = StageTimer(model, scene_file(48, 64), lambda data: (order.append('network'), step(data))[1])
    monkeypatch.undo()
    monkeypatch.setattr('torch.cuda.synchronize', lambda: order.append('wait'))
    timer()
    assert order == ['wait', 'network', 'wait']


def test_stages_in_the_table(call, config, capsys):
    options = ['--shape', 48, '--rounds', 1, '--seconds', 0, '--no-memory', '--stages', '--threads', 1, '--out', 'b']
    assert call('benchmark', config, f'{config}@deploy+bf16', *options) is None
    shown = capsys.readouterr().out
    assert 'from a PNG to its detections' in shown
    assert 'all but the network, ms' in shown
    result = benchmark([config], shape=48, rounds=1, seconds=0, memory=False, stages=True)
    (row,) = result['models']
    assert tuple(row['stages_s']) == STAGES
    assert sum(row['stages_s'].values()) > 0
    assert 'post-processing, ms' in benchmark_markdown(result)


@pytest.mark.parametrize(
    'settings',
    [{'batch': 2}, {'end_to_end': True}, {'shape': (16, 64)}],
)
def test_impossible_stages(settings):
    with pytest.raises(ArgumentError, match='--stages'):
        BenchmarkSettings(**{'stages': True} | settings)


def test_stages_of_onnx_are_refused(config):
    with pytest.raises(ArgumentError, match='onnx is measured on the CPU, without --stages'):
        benchmark([f'{config}@onnx'], stages=True, shape=48)


def test_a_model_of_init_model_has_stages(config):
    timer = StageTimer(init_model(config, device='cpu'), scene_file(48, 64))
    assert timer() > 0
