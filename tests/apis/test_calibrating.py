"""``mmirstd calibrate``: the threshold for a budget, its place in the weights, and who uses it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmirstd import apis
from mmirstd.apis.calibrating import THRESHOLDS, BudgetError, calibrate, choose_threshold
from mmirstd.checkpoints.loading import load_checkpoint
from mmirstd.checkpoints.operating_point import CalibratedThreshold
from mmirstd.checkpoints.state_dict import CheckpointError
from mmirstd.evaluation.functional.sweeps import component_sweep, sum_sweeps

# The config of the fixture tests on what it validates on; here it does not.
SPLITS = """
val_dataloader['dataset'].update(ann_file='val.txt')
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader['dataset'], ann_file='{test}'))
"""


@pytest.fixture
def config(tiny_config, tiny_data):
    (tiny_data / 'val.txt').write_text('0\n1\n2\n')
    (tiny_data / 'held.txt').write_text('3\n4\n')
    (tiny_data / 'test.txt').write_text('0\n3\n4\n')
    return lambda test='held.txt': tiny_config(SPLITS.format(test=test))


def scene(peaks, size=32):
    """A map with a pixel of each probability, 8 apart; those of ``peaks`` with True are targets."""
    probability, mask = np.full((size, size), 0.001, np.float32), np.zeros((size, size), bool)
    for i, (value, target) in enumerate(peaks):
        at = 4 + 8 * (i // 4), 4 + 8 * (i % 4)
        probability[at], mask[at] = value, target
    return component_sweep(probability, mask, THRESHOLDS)


def test_the_highest_pd_within_a_budget():
    total = sum_sweeps([scene([(0.9, True), (0.6, True), (0.7, False)]), scene([(0.8, True), (0.3, False)])])
    at = choose_threshold(total, 'false_alarms_per_image', 0)
    assert 0.7 < THRESHOLDS[at] < 0.8  # nearest to 0.5 of those that find two of three
    at = choose_threshold(total, 'false_alarms_per_image', 0.5)
    assert THRESHOLDS[at] == 0.5  # all three, one false alarm in two images
    assert choose_threshold(total, 'Fa', 1e6 / (2 * 32 * 32)) == at
    best = total.metrics()['F1'].max()
    assert total.metrics()['F1'][choose_threshold(total, 'F1', None)] == best


def test_a_budget_is_met_at_every_higher_threshold():
    """A false alarm that grows into a target as the threshold falls leaves a budget met there again, by chance."""
    probability, mask = np.full((9, 9), 0.001, np.float32), np.zeros((9, 9), bool)
    probability[4, 2:5], mask[4, 2] = (0.9, 0.3, 0.8), True
    sweep = component_sweep(probability, mask, THRESHOLDS)
    alarms = sweep.counts.false_components
    low, middle = np.searchsorted(THRESHOLDS, [0.2, 0.5])
    assert (alarms[low], alarms[middle]) == (0, 1)
    assert THRESHOLDS[choose_threshold(sweep, 'false_alarms_per_image', 0)] >= 0.8


@pytest.mark.parametrize(('criterion', 'nearest'), [('false_alarms_per_image', '1 false alarm'), ('Fa', '976.6 false')])
def test_a_budget_that_nobody_meets(criterion, nearest):
    sweep = scene([(0.9, True), (0.95, False), (0.6, False)])
    with pytest.raises(BudgetError, match=rf'--budget-.* 0.5: .* nearest is {nearest}.* with Pd 1'):
        choose_threshold(sweep, criterion, 0.5)


def test_splits_without_target_or_detection():
    with pytest.raises(BudgetError, match='no target'):
        choose_threshold(scene([(0.9, False)]), 'Fa', 10)
    with pytest.raises(BudgetError, match='detects no target'):
        choose_threshold(scene([(0.001, True)]), 'F1', None)


def test_the_threshold_goes_with_the_weights(call, config, tiny_checkpoint, tiny_data, capsys):
    chosen = ['--best-f1', '--device', 'cpu', '--out', 'calibrated.safetensors']
    assert call('calibrate', config(), tiny_checkpoint, *chosen) is None
    shown = capsys.readouterr().out
    stored = CalibratedThreshold.of(load_checkpoint('calibrated.safetensors')['meta'], 'it')
    assert str(stored) in shown
    assert stored.criterion == 'F1'
    assert [s['num'] for s in stored.splits] == [3]
    assert stored.metrics['Pd_low'] <= stored.metrics['Pd'] <= stored.metrics['Pd_high']
    assert stored.protocol == {'name': 'exact', 'distance': 3.0, 'connectivity': 8}
    # It is what the metric says at that threshold.
    options = {'val_dataloader.dataset.ann_file': 'val.txt'}
    evaluator = dict(type='mmirstd.IRSTDMetric', threshold=stored.threshold)
    metrics = apis.test(
        config('val.txt'), tiny_checkpoint, cfg_options=options | {'test_evaluator': evaluator}, work_dir='test'
    ).metrics
    assert {k: stored.metrics[k] for k in ('Pd', 'Fa', 'F1', 'IoU')} == pytest.approx(
        {k: metrics[k] for k in ('Pd', 'Fa', 'F1', 'IoU')}
    )
    # Inference takes it, an option overrides it, and publishing keeps it.
    assert call('publish', 'calibrated.safetensors', 'again.pth') is None
    for options, expected in (([], stored.threshold), (['--threshold', 0.25], 0.25)):
        out = f'out{expected}'
        arguments = ['--model', config(), '--checkpoint', 'again.pth', '--out', out, '--device', 'cpu']
        assert call('infer', tiny_data / 'images', *arguments, *options) == 0
        report = json.loads(Path(out, 'targets.json').read_text())
        assert {image['threshold'] for image in report['images']} == {expected}


@pytest.mark.parametrize('test', ['val.txt', 'test.txt'])
def test_test_images_are_refused(call, config, tiny_checkpoint, test):
    message = call('calibrate', config(test), tiny_checkpoint, '--best-f1')
    assert f'shares {3 if test == "val.txt" else 1} of 3 images of tiny' in message


def test_a_split_called_test_is_refused(call, config, tiny_checkpoint):
    options = ['--cfg-options', 'val_dataloader.dataset.ann_file=test.txt']
    assert 'val_dataloader is tiny test.txt: metrics on it' in call(
        'calibrate', config(), tiny_checkpoint, '--best-f1', *options
    )


def test_images_of_the_training_are_refused(call, config, tiny_checkpoint, tmp_path):
    record = {'dataset': 'tiny', 'name': 'train', 'ids': ['0', '4']}
    content = torch.load(tiny_checkpoint) | {'meta': {'trained_on': [record]}}
    torch.save(content, 'trained.pth')
    assert '1 of 3 images of tiny val.txt were trained on' in call('calibrate', config(), 'trained.pth', '--best-f1')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--budget-fa', '-1'], '--budget-fa must be a number from 0'),
        (['--budget-fa', 'nan'], '--budget-fa must be a number from 0'),
        (['--best-f1', '--out', 'weights.txt'], 'must end in .safetensors or .pth'),
        (['--budget-per-image', '0'], '--budget-per-image 0: no threshold'),
    ],
)
def test_mistakes_are_one_line(call, config, tiny_checkpoint, capsys, arguments, message):
    found = call('calibrate', config(), tiny_checkpoint, *arguments)
    assert message in (found if isinstance(found, str) else capsys.readouterr().err)


def test_one_criterion_is_needed(config, tiny_checkpoint):
    for criteria in ({}, {'budget_fa': 1.0, 'best_f1': True}):
        with pytest.raises(ValueError, match='give one of'):
            calibrate(config(), tiny_checkpoint, **criteria)


@pytest.mark.parametrize('stored', [{'threshold': 1.5}, {'threshold': '0.5'}, 'half', {'threshold': 0.5, 'new': 1}])
def test_a_stored_point_that_is_none(config, tiny_checkpoint, stored, tmp_path):
    wrong = tmp_path / 'wrong.pth'
    torch.save(torch.load(tiny_checkpoint) | {'meta': {'operating_point': stored}}, wrong)
    with pytest.raises(CheckpointError, match=r'wrong.pth: its operating point'):
        apis.init_model(config(), wrong, device='cpu')
