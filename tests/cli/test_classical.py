"""Classical detectors under the commands: no checkpoint, and a word where a command does not apply."""

import json

import numpy as np
import pytest
from PIL import Image

from mmirstd.apis import benchmark, benchmark_markdown, init_model, predict


@pytest.fixture
def config(tmp_path, tiny_data, own_mmengine_state):
    path = tmp_path / 'classical.py'
    path.write_text(f"""
_base_ = 'mmirstd::classical/top-hat_nudt.py'
dataset = dict(_delete_=True, type='mmirstd.FolderDataset', data_root={str(tiny_data)!r}, test_mode=True,
               pipeline=_base_.test_pipeline)
test_dataloader = dict(num_workers=0, dataset=dataset)
""")
    return path


def test_tests_without_a_checkpoint(call, config, capsys, tmp_path):
    assert not call('test', config, '--show-dir', tmp_path / 'shown', '--out', tmp_path / 'out', '--preset', 'dnanet')
    output = capsys.readouterr().out
    assert '5 of 5 targets detected, 0 false components' in output
    assert 'dnanet' in output
    assert len(list((tmp_path / 'shown').glob('*.png'))) == len(list((tmp_path / 'out').glob('*.png'))) == 5


def test_the_rule_is_part_of_the_config(call, config, capsys):
    options = 'model.decode_head.rule=budget', 'model.decode_head.number=0.5'
    assert not call('test', config, '--cfg-options', *options)
    assert ' 0 false components' not in capsys.readouterr().out
    assert 'otsu' in call('test', config, '--cfg-options', 'model.decode_head.rule=best')


@pytest.mark.parametrize('command', ['test', 'infer'])
def test_refuses_a_checkpoint(call, config, tiny_checkpoint, tiny_data, tmp_path, command):
    arguments = {
        'test': (config, tiny_checkpoint),
        'infer': (
            tiny_data / 'images',
            '--out',
            tmp_path / 'found',
            '--model',
            config,
            '--checkpoint',
            tiny_checkpoint,
        ),
    }[command]
    assert 'classical.py has no weights: leave out the checkpoint' in call(command, *arguments)


def test_a_network_still_needs_a_checkpoint(call, tiny_config):
    assert 'tiny.py: give a checkpoint' in call('test', tiny_config())


def test_infers_without_a_checkpoint(call, config, tiny_data, tmp_path, recwarn):
    assert not call('infer', tiny_data / 'images', '--out', tmp_path / 'found', '--model', config)
    report = json.loads((tmp_path / 'found/targets.json').read_text())
    assert report['checkpoint'] is None
    for i in range(5):
        truth = np.asarray(Image.open(tiny_data / f'masks/{i}.png'))
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f'found/masks/{i}.png')), truth)
    found = predict(init_model(config, device='cpu'), tiny_data / 'images/0.png')
    assert len(found) == 1
    assert not [w for w in recwarn if 'random' in str(w.message)]


def test_says_what_does_not_apply(call, config, capsys):
    assert 'has no weights: there is nothing to train' in call('train', config)
    assert 'has no weights: there is nothing to export' in call('export', config, '--out', 'model.pt2')
    assert 'has no weights: there is nothing to store' in call('calibrate', config, '--best-f1')
    assert call('flops', config) == 2
    assert 'has no weights' in capsys.readouterr().err


def test_benchmark_measures_time(config):
    result = benchmark([str(config)], shape=32, rounds=1, seconds=0.01, memory=False)
    assert result['models'][0]['latency_s']['median'] > 0
    assert '| 0.000 M ' in (table := benchmark_markdown(result))
    assert '0.000 G' not in table
