import math
import pickle
import sys

import numpy as np
import pytest
import torch
from metric_worker import evaluate, make_sample, run
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from PIL import Image

from mmirstd.datasets import FolderDataset
from mmirstd.evaluation import compute_metrics, image_counts, protocol_counts, sum_counts
from mmirstd.evaluation.functional.protocols import PRESETS, get_protocols
from mmirstd.evaluation.metrics import IRSTDMetric
from mmirstd.registry import METRICS


def expected(indices, empty='skip', threshold=0.5, **options):
    pairs = [(s.seg_logits.data[0].numpy(), s.gt_sem_seg.data[0].numpy()) for s in map(make_sample, indices)]
    return compute_metrics(
        sum_counts(image_counts(*pair, threshold=threshold, **options) for pair in pairs), niou_empty=empty
    )


def same(a, b):
    return a.keys() == b.keys() and all(a[k] == b[k] or (math.isnan(a[k]) and math.isnan(b[k])) for k in a)


def test_equals_the_functions():
    metrics = evaluate(range(13), 13)
    assert same(metrics, expected(range(13)))
    assert list(metrics) == ['IoU', 'nIoU', 'Pd', 'Fa', 'precision', 'recall', 'F1']
    assert 0 < metrics['IoU'] < metrics['Pd'] <= 1 < metrics['Fa']
    assert all(type(value) is float for value in metrics.values())


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
    torch.multiprocessing.start_processes(run, (2, size, str(tmp_path)), nprocs=2, start_method='fork')
    one = evaluate(range(size), size, presets='all')
    assert len(one) > 35
    for rank in range(2):
        assert torch.load(tmp_path / f'{rank}.pth', weights_only=True) == one


def test_keeps_one_small_result_per_sample():
    metric = IRSTDMetric()
    metric.process({}, [make_sample(i).to_dict() for i in range(5)])
    metric.process({}, [make_sample(5).to_dict()])
    assert len(metric.results) == 6
    assert all(len(counts) == 1 for counts in metric.results)
    assert sum_counts(counts for (counts,) in metric.results).images == 6
    assert same(metric.evaluate(4), expected(range(4)))
    assert metric.results == []


def test_runs_in_an_evaluator_from_a_config():
    config = {'type': 'mmirstd.IRSTDMetric', 'prefix': 'test', 'threshold': 0.5}
    with DefaultScope.overwrite_default_scope('mmseg'):
        evaluator = Evaluator([config])
    evaluator.process([make_sample(i) for i in range(3)], {})
    metrics = evaluator.evaluate(3)
    assert metrics == {f'test/{name}': value for name, value in expected(range(3)).items()}
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
    metrics = evaluate(range(13), 13)
    text = capsys.readouterr().out
    assert text.count('Fa (1e-6)') == 1
    assert '13 images (5 without target): ' in text
    for name, value in metrics.items():
        assert name in text
        assert (f'{value:.2f}' if name == 'Fa' else f'{value:.4f}') in text
    assert 'No mask holds a target' not in text
    evaluate([0], 1)
    assert 'No mask holds a target: are targets labeled 1? 255 means "ignore".' in capsys.readouterr().out


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
        (
            without(make_sample(2), 'seg_logits'),
            {'threshold': 0.5},
            ValueError,
            '000002.png: target probabilities need',
        ),
        (
            with_data(make_sample(2), 'seg_logits', torch.zeros(3, 24, 24)),
            {'threshold': 0.5},
            ValueError,
            r'000002.png: target probabilities need .*, got seg_logits of \(3, 24, 24\)',
        ),
        (
            with_data(make_sample(2), 'seg_logits', torch.full((1, 24, 24), torch.nan)),
            {'threshold': 0.5},
            ValueError,
            '000002.png: 576 of 576 values that the model predicts are NaN or infinite',
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
        ({'presets': 'dnanett'}, "there is no preset 'dnanett'"),
        ({'presets': ['exact', 'exact']}, "two protocols are called 'exact'"),
        ({'presets': {'preset': 'exact', 'name': 'exact', 'threshold': 3}}, 'threshold'),
    ],
)
def test_bad_parameters_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        IRSTDMetric(**options)


def by_presets(pairs, presets='all'):
    """The metrics of (probabilities, mask values) under the presets, without the metric."""
    protocols = get_protocols(presets)
    counts = zip(*(protocol_counts(*pair[:2], protocols, ignore=pair[2]) for pair in pairs), strict=True)
    metrics = (compute_metrics(sum_counts(c), p) for c, p in zip(counts, protocols, strict=True))
    return {
        f'{p.name}/{name}': value
        for p, f in zip(protocols, metrics, strict=True)
        for name, value in f.items()
        if name in p.reported
    }


def split_exact(metrics):
    """Figures as the metric names them."""
    return {name.removeprefix('exact/'): value for name, value in metrics.items()}


def test_presets_without_mask_files_get_labels():
    pairs = []
    for sample in map(make_sample, range(9)):
        truth = sample.gt_sem_seg.data[0].numpy()
        pairs.append((sample.seg_logits.data[0].numpy(), truth == 1, truth == 255))
    metrics = evaluate(range(9), 9, presets='all')
    assert same(metrics, split_exact(by_presets(pairs)))
    assert list(metrics)[:7] == ['IoU', 'nIoU', 'Pd', 'Fa', 'precision', 'recall', 'F1']
    assert [k for k in metrics if k.startswith('dnanet/')] == [f'dnanet/{k}' for k in PRESETS['dnanet'].reported]
    assert same({k: v for k, v in metrics.items() if '/' not in k}, expected(range(9)))
    assert metrics['dnanet/IoU'] != metrics['IoU']


@pytest.fixture
def mask_files(tmp_path):
    """Samples whose mask files have values between 0 and 255, and one file of another size."""
    samples = []
    for i in range(3):
        sample = make_sample(i + 2)
        truth = sample.gt_sem_seg.data[0].numpy()
        truth[truth == 255] = 0
        values = (truth * (128 + 40 * i)).astype(np.uint8)
        values[:2, :2] = 100 * truth.any()  # no target by default, and one by some codes
        if i == 2:
            values = values.repeat(2, 0).repeat(2, 1)
        path = tmp_path / f'{i}.png'
        Image.fromarray(values).save(path)
        sample.set_metainfo({'seg_map_path': str(path)})
        samples.append((sample, values))
    return samples


def test_presets_read_the_values_of_mask_files(mask_files):
    metric = IRSTDMetric(presets='all')
    metric.process({}, [sample.to_dict() for sample, _ in mask_files])
    metrics = metric.evaluate(3)
    pairs = [(s.seg_logits.data[0].numpy(), values, None) for s, values in mask_files]
    names = [name for name in PRESETS if name != 'exact']
    assert same({k: v for k, v in metrics.items() if '/' in k}, by_presets(pairs, names))
    # Native and greedy all: on labels they would be one metric.
    assert len({metrics['sctransnet/IoU'], metrics['basicirstd/IoU'], metrics['IoU']}) == 2


def test_ignored_pixels_need_a_mask_of_their_size(mask_files):
    sample, _ = mask_files[2]
    sample.gt_sem_seg.data[0, 0, 0] = 255
    with pytest.raises(ValueError, match=r'2\.png is \(48, 48\), so the ignored pixels of \(24, 24\) have no place'):
        IRSTDMetric(presets='dnanet').process({}, [sample.to_dict()])
    sample, _ = mask_files[0]
    sample.gt_sem_seg.data[0, 0, :] = 255
    metrics = []
    for ignored in (True, False):
        if not ignored:
            sample.gt_sem_seg.data[0, 0, :] = 0
        metric = IRSTDMetric(presets='basicirstd')
        metric.process({}, [sample.to_dict()])
        metrics.append(metric.evaluate(1))
    assert list(metrics[0]) == ['basicirstd/IoU', 'basicirstd/Pd', 'basicirstd/Fa']
    # A row less of 24 x 24 pixels, and no false pixel in it.
    assert metrics[0]['basicirstd/Fa'] * 23 == pytest.approx(metrics[1]['basicirstd/Fa'] * 24)


@pytest.mark.parametrize('dataset', [{'target_value': 0}, {'threshold': 210}])
@pytest.mark.parametrize('pack', ['PackSegInputs', 'mmirstd.PackIRSTDInputs'])
def test_a_mask_rule_that_is_not_packed_is_an_error(tmp_path, dataset, pack):
    image, mask = np.full((16, 16), 60, np.uint8), np.full((16, 16), 255, np.uint8)
    mask[4:7, 5:8] = 0
    if 'threshold' in dataset:
        mask = np.where(mask == 0, 220, 200).astype(np.uint8)
    for folder, values in (('images', image), ('masks', mask)):
        (tmp_path / folder).mkdir()
        Image.fromarray(values).save(tmp_path / folder / 'a.png')
    keys = ('img_id', 'img_path', 'seg_map_path', 'ori_shape')

    def evaluated(*meta_keys):
        load = {'type': 'mmirstd.LoadTargetMask', 'threshold': dataset.get('threshold')}
        packing = {'type': pack, 'meta_keys': (*keys, *meta_keys)}
        with DefaultScope.overwrite_default_scope('mmseg'):
            pipeline = [{'type': 'mmirstd.LoadIRImage'}, load, packing]
            scenes = FolderDataset(
                data_root=tmp_path, pipeline=pipeline, test_mode=True, target_value=dataset.get('target_value')
            )
        sample = scenes[0]['data_samples']
        sample.seg_logits = PixelData(data=sample.gt_sem_seg.data.float())
        sample.pred_sem_seg = PixelData(data=sample.gt_sem_seg.data.float())
        metric = IRSTDMetric(presets=['exact', 'dnanet'])
        metric.process({}, [sample.to_dict()])
        return metric.evaluate(1)

    metrics = evaluated('mask_rule')
    assert metrics['IoU'] == 1
    assert metrics['dnanet/IoU'] > 0.9  # its code resizes
    with pytest.raises(ValueError, match=r'a\.png: values above 127 .* add mask_rule to the meta_keys'):
        evaluated()


def test_exact_is_an_ordinary_preset():
    changed = {'preset': 'exact', 'name': 'exact', 'threshold': 0.25, 'distance': 1.5}
    assert same(evaluate(range(13), 13, presets=changed), expected(range(13), threshold=0.25, distance=1.5))
    changed = evaluate(range(13), 13, presets=changed, distance=2.0, connectivity=4)
    assert same(changed, expected(range(13), threshold=0.25, distance=2.0, connectivity=4))


def test_a_prediction_of_another_size_is_refused():
    sample = with_data(make_sample(2), 'pred_sem_seg', torch.zeros(1, 12, 12))
    with pytest.raises(ValueError, match=r'000002.png: prediction and mask must be \(H, W\) and alike'):
        IRSTDMetric().process({}, [sample.to_dict()])


def test_presets_of_ones_own():
    mine = {'preset': 'exact', 'name': 'low', 'threshold': 0.25}
    metrics = evaluate(range(13), 13, presets=[mine, 'exact'])
    low = {k.removeprefix('low/'): v for k, v in metrics.items() if k.startswith('low/')}
    assert same(low, expected(range(13), threshold=0.25))
    assert same({k: v for k, v in metrics.items() if '/' not in k}, expected(range(13)))


def test_results_stay_small():
    metric = IRSTDMetric(presets='all')
    metric.process({}, [make_sample(3).to_dict()])
    assert len(pickle.dumps(metric.results)) < 8000
    assert len(metric.results[0]) == len(PRESETS)


def test_presets_need_probabilities():
    sample = without(make_sample(2), 'seg_logits')
    with pytest.raises(ValueError, match=r'^images/000002.png: target probabilities need seg_logits .*, got none'):
        IRSTDMetric(presets='acm').process({}, [sample.to_dict()])
    sample = with_data(make_sample(2), 'seg_logits', torch.full((1, 24, 24), 2.0))
    with pytest.raises(ValueError, match=r'^images/000002.png: probabilities must lie in \[0, 1\], got \[2.0, 2.0\]'):
        IRSTDMetric(presets='acm').process({}, [sample.to_dict()])


def test_one_table_of_all_presets(capsys, monkeypatch):
    monkeypatch.setattr(MMLogger.get_current_instance().handlers[0], 'stream', sys.stdout)
    evaluate(range(13), 13, presets='all')
    text = capsys.readouterr().out
    assert text.count('Fa (1e-6)') == 1
    lines = [line.split('|')[1].strip() for line in text.splitlines() if line.startswith('|')]
    assert lines == ['protocol', *PRESETS]
    assert '(In parentheses: by the rules of the preset, but its repository does not report it.)' in text
    evaluate(range(13), 13, presets='sctransnet')
    assert '13 images (5 without target): ' in capsys.readouterr().out
