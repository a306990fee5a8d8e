import math
import sys

import pytest
import torch
from metric_worker import evaluate, make_sample, run
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData

from mmirstd.evaluation import IRSTDMetric, image_counts, sum_counts, summarise
from mmirstd.registry import METRICS


def expected(indices, empty='skip', threshold=0.5, **options):
    pairs = [(s.seg_logits.data[0].numpy(), s.gt_sem_seg.data[0].numpy()) for s in map(make_sample, indices)]
    return summarise(sum_counts(image_counts(*pair, threshold=threshold, **options) for pair in pairs), empty=empty)


def same(a, b):
    return a.keys() == b.keys() and all(a[k] == b[k] or (math.isnan(a[k]) and math.isnan(b[k])) for k in a)


def test_equals_the_functions():
    figures = evaluate(range(13), 13)
    assert same(figures, expected(range(13)))
    assert list(figures) == ['IoU', 'nIoU', 'Pd', 'Fa', 'precision', 'recall', 'F1']
    assert 0 < figures['IoU'] < figures['Pd'] <= 1 < figures['Fa']
    assert all(type(value) is float for value in figures.values())


@pytest.mark.parametrize(
    'options',
    [{'threshold': 0.5}, {'threshold': 0.25}, {'distance': 1.0}, {'connectivity': 4}, {'empty': 0}, {'empty': 1}],
)
def test_passes_its_parameters_on(options):
    assert same(evaluate(range(7), 7, **options), expected(range(7), **options))
    if 'threshold' not in options or options['threshold'] != 0.5:
        assert not same(evaluate(range(40), 40, **options), evaluate(range(40), 40))


def test_two_processes_give_the_same_numbers(tmp_path):
    size = 7
    torch.multiprocessing.spawn(run, (2, size, str(tmp_path)), nprocs=2)
    one = evaluate(range(size), size)
    for rank in range(2):
        assert torch.load(tmp_path / f'{rank}.pth', weights_only=True) == one


def test_keeps_one_small_result_per_sample():
    metric = IRSTDMetric()
    metric.process({}, [make_sample(i).to_dict() for i in range(5)])
    metric.process({}, [make_sample(5).to_dict()])
    assert len(metric.results) == 6
    assert sum_counts(metric.results).images == 6
    assert same(metric.evaluate(4), expected(range(4)))
    assert metric.results == []


def test_runs_in_an_evaluator_from_a_config():
    config = {'type': 'mmirstd.IRSTDMetric', 'prefix': 'test', 'threshold': 0.5}
    with DefaultScope.overwrite_default_scope('mmseg'):
        evaluator = Evaluator([config])
    evaluator.process([make_sample(i) for i in range(3)], {})
    figures = evaluator.evaluate(3)
    assert figures == {f'test/{name}': value for name, value in expected(range(3)).items()}
    assert METRICS.get('IRSTDMetric') is IRSTDMetric


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_takes_reduced_precision(dtype):
    sample = make_sample(4)
    sample.seg_logits.data = sample.seg_logits.data.to(dtype)
    sample.pred_sem_seg.data = sample.pred_sem_seg.data.to(dtype)
    for threshold in (None, 0.5):
        metric = IRSTDMetric(threshold=threshold)
        metric.process({}, [sample.to_dict()])
        assert same(metric.evaluate(1), expected([4]))


def test_prints_one_table(capsys, monkeypatch):
    logger = MMLogger.get_instance('metric', log_level='INFO')
    monkeypatch.setattr(logger.handlers[0], 'stream', sys.stdout)
    figures = evaluate(range(13), 13)
    text = capsys.readouterr().out
    assert text.count('Fa (1e-6)') == 1
    assert '13 images (5 without target): ' in text
    for name, value in figures.items():
        assert name in text
        assert (f'{value:.2f}' if name == 'Fa' else f'{value:.4f}') in text
    assert 'No mask holds a target' not in text
    evaluate([0], 1)
    assert 'No mask holds a target: are targets labelled 1? 255 means "ignore".' in capsys.readouterr().out


def without(sample, key):
    delattr(sample, key)
    return sample


def with_data(sample, key, data):
    setattr(sample, key, PixelData(data=data))
    return sample


@pytest.mark.parametrize(
    ('sample', 'options', 'error', 'message'),
    [
        (without(make_sample(2), 'gt_sem_seg'), {}, KeyError, 'images/000002.png: no gt_sem_seg'),
        (without(make_sample(2), 'pred_sem_seg'), {}, KeyError, '000002.png: no pred_sem_seg'),
        (without(make_sample(2), 'seg_logits'), {'threshold': 0.5}, KeyError, '000002.png: no seg_logits'),
        (
            with_data(make_sample(2), 'seg_logits', torch.zeros(2, 24, 24)),
            {'threshold': 0.5},
            ValueError,
            r'000002.png: seg_logits must be \(1, H, W\), got \(2, 24, 24\)',
        ),
        (
            with_data(make_sample(2), 'seg_logits', torch.full((1, 24, 24), torch.nan)),
            {'threshold': 0.5},
            ValueError,
            '000002.png: the prediction holds 576 values that are not finite',
        ),
        (
            with_data(make_sample(2), 'gt_sem_seg', torch.full((1, 24, 24), 3)),
            {},
            ValueError,
            '000002.png: a mask must hold 0, 1 and 255',
        ),
    ],
)
def test_bad_samples_are_named(sample, options, error, message):
    with pytest.raises(error, match=message):
        IRSTDMetric(**options).process({}, [sample.to_dict()])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'threshold': 1.0}, 'threshold'),
        ({'threshold': -0.1}, 'threshold'),
        ({'connectivity': 6}, 'connectivity'),
        ({'distance': 0}, 'distance'),
        ({'empty': 2}, 'empty'),
    ],
)
def test_bad_parameters_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        IRSTDMetric(**options)
