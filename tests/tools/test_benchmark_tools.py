"""The scripts that measure training steps and classical detectors: rows of a table."""

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

GOLDEN = np.load(Path(__file__).parents[1] / 'models/golden/classical.npz', allow_pickle=False)


@pytest.fixture
def run(monkeypatch, capsys):
    def run_script(name, *arguments):
        path = Path(__file__).parents[2] / f'tools/benchmarks/{name}.py'
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        module.main()
        lines = [
            line.strip('| ').split(' | ') for line in capsys.readouterr().out.splitlines() if line.startswith('| ')
        ]
        return [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]

    return run_script


def test_rules_are_measured_on_the_same_maps(run, tmp_path, tiny_data):
    config = tmp_path / 'classical.py'
    config.write_text(f"""
_base_ = 'mmirstd::classical/top-hat_nudt.py'
dataset = dict(_delete_=True, type='mmirstd.FolderDataset', data_root={str(tiny_data)!r}, test_mode=True,
               pipeline=_base_.test_pipeline)
test_dataloader = dict(num_workers=0, dataset=dataset)
""")
    rows = {row['rule']: row for row in run('measure_classical', config, '--images', 3, '--data', tiny_data.parent)}
    assert list(rows) == ['> 0.5', 'mean + 5 std', 'Otsu', 'budget 0.001']
    assert rows['> 0.5']['IoU'] == rows['> 0.5']['Pd'] == '1.000'
    assert rows['> 0.5']['Fa, 1e-6'] == '0'
    assert float(rows['budget 0.001']['IoU']) < 0.3  # one of 1,024 pixels
    assert {row['images'][:3] for row in rows.values()} == {'3 ('}


def test_codes_are_timed_beside_each_other(run, tmp_path):
    image = tmp_path / 'image.png'
    cv2.imwrite(str(image), GOLDEN['image'])
    command = f'{sys.executable} -c "import os, sys; print(os.path.getsize(sys.argv[1])); print(1.5)" {{image}}'
    rows = run(
        'benchmark_classical', image, '--methods', 'top_hat', 'tllcm', '--rounds', 2, '--against', f'tllcm={command}'
    )
    assert [row['method'] for row in rows] == ['`top_hat`', '`tllcm`']
    assert rows[0]['other / own'] == '-'
    assert rows[1]['other code, CPU s'] == '1.500'
    assert float(rows[1]['other / own']) > 1
    with pytest.raises(RuntimeError, match='no number of seconds'):
        run('benchmark_classical', image, '--methods', 'top_hat', '--against', f'top_hat={sys.executable} -c "print()"')


def test_training_steps_are_timed_in_turn(run, tiny_config):
    config = tiny_config()
    rows = run('benchmark_training_step', config, 'sgem_unet-s_nudt', '--batch', 2, '--size', 32, '--rounds', 1)
    assert [row['config'] for row in rows] == [f'`{config}`', '`sgem_unet-s_nudt`']
    assert rows[0]['ratio'] == rows[0]['per multiply-add'] == '1.00'
    assert float(rows[1]['ratio']) > float(rows[1]['per multiply-add']) > 0  # the tiny one has fewer multiply-adds


def test_loading_is_timed_step_by_step(run, tiny_config):
    mixed = """
train_dataloader = dict(dataset=dict(
    type='MultiImageMixDataset', dataset=dataset, pipeline=[dict(type='RandomFlip', prob=0.5)]))
dataset['pipeline'] = pipeline[:2]
"""
    rows = run('benchmark_loading', tiny_config(mixed), '--images', 4)
    assert [row['step'] for row in rows] == ['without the cache', 'with the cache', 'loading from tiny', 'RandomFlip']
    assert all(float(row['ms per image']) > 0 < float(row['images per second']) for row in rows)
