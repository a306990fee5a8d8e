"""The scripts that measure training steps and classical detectors: rows of a table."""

import importlib.util
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmirstd.utils.configs import find_config

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


def test_initializations_are_compared_at_equal_iterations(tiny_config, tmp_path, monkeypatch, capsys):
    """Each run is made once: the second call only prints."""
    config = tiny_config()
    cfg = Config.fromfile(config)
    with DefaultScope.overwrite_default_scope('mmseg'):
        backbone = MODELS.build(cfg.model.backbone)
    torch.save({'state_dict': backbone.state_dict()}, tmp_path / 'student.pth')
    tool = runpy.run_path(str(Path(__file__).parents[2] / 'tools/benchmarks/compare_initialization.py'))
    arguments = [config, '--student', tmp_path / 'student.pth', '--seeds', 1, '--iterations', 4]
    monkeypatch.setattr(sys, 'argv', ['x', *map(str, arguments), '--out', str(tmp_path / 'out')])

    def table():
        tool['main']()
        text = capsys.readouterr().out.partition(', 4 iterations each:')[2]
        return [[cell.strip() for cell in line.strip('|').split('|')] for line in text.split('\n')[4:] if line]

    rows = table()
    assert [row[:2] for row in rows] == [
        [start, seed] for start in ('scratch', 'distilled') for seed in ('1', 'mean of 1')
    ]
    assert all(0 <= float(row[2].split()[0]) <= 1 for row in rows)
    log = next((tmp_path / 'out/distilled_1').glob('2*/*.log')).read_text()
    assert f'load model from: {tmp_path / "student.pth"}' in log
    before = (tmp_path / 'out/results.json').stat().st_mtime_ns
    assert table() == rows
    assert (tmp_path / 'out/results.json').stat().st_mtime_ns == before


def test_a_schedule_is_stretched_with_the_iterations():
    path = Path(__file__).parents[2] / 'tools/benchmarks/compare_initialization.py'
    shortened = runpy.run_path(str(path))['shortened']
    cfg = shortened(Config.fromfile(find_config('simir_repvit-fast_nudt')), 1100)
    assert [(s.begin, s.end) for s in cfg.param_scheduler] == [(0, 50), (50, 1100)]
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (1100, 220)
    assert cfg.default_hooks.checkpoint.interval == 220
