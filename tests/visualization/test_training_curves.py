"""Training curves, from each kind of log, as numbers and as a picture."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmirstd.io.validation_curve import VALIDATION_CURVE, read_validation_curve
from mmirstd.visualization import training_curves
from mmirstd.visualization.training_curves import CurveError, curve_of_lines, draw_curves, read_curve, smooth

ROOT = Path(__file__).resolve().parents[2]
LINES = [
    {'iter': 10, 'seconds': 60, 'processor_seconds': 90, 'IoU': 0.2, 'Pd': 0.5},
    {'iter': 20, 'seconds': 150, 'processor_seconds': 220, 'IoU': 0.4},
]


def write_scalars(folder, entries):
    """A log of MMEngine."""
    (folder / 'vis_data').mkdir(parents=True)
    (folder / 'vis_data/scalars.json').write_text('\n'.join(map(json.dumps, entries)) + '\n')


def test_the_curve_of_a_work_dir(tmp_path):
    (tmp_path / VALIDATION_CURVE).write_text('\n'.join(map(json.dumps, LINES)) + '\n')
    write_scalars(tmp_path / '1', [{'IoU': 0.9, 'step': 1}])  # the file of validations comes first
    curve = read_curve(tmp_path, 'mine')
    assert (curve.name, curve.estimated) == ('mine', False)
    np.testing.assert_array_equal(curve.iterations, [10, 20])
    np.testing.assert_array_equal(curve.minutes, [1, 2.5])
    np.testing.assert_array_equal(curve.metrics['IoU'], [0.2, 0.4])
    np.testing.assert_array_equal(curve.metrics['Pd'], [0.5, np.nan])


def test_logs_of_a_resumed_run_are_one_curve(tmp_path):
    trained = [{'loss': 1, 'time': 6.0, 'step': 5}, {'loss': 1, 'time': 12.0, 'step': 10}]
    lost = {'loss': 1, 'time': 99.0, 'step': 15}  # done again by the second run
    write_scalars(tmp_path / '1', [*trained, {'IoU': 0.1, 'step': 10, 'time': 99.0}, lost])
    again = [{'loss': 1, 'time': 3.0, 'step': 15}, {'loss': 1, 'time': 3.0, 'step': 20}]
    write_scalars(tmp_path / '2', [*again, {'IoU': 0.3, 'step': 20}])
    curve = read_curve(tmp_path)
    assert curve.estimated
    np.testing.assert_allclose(curve.minutes, [1.5, 2.0])  # 5 x 6 s + 5 x 12 s, then 10 x 3 s
    np.testing.assert_array_equal(curve.metrics['IoU'], [0.1, 0.3])
    assert set(curve.metrics) == {'IoU'}
    np.testing.assert_array_equal(curve.steps, [5, 10, 15, 20])
    np.testing.assert_array_equal(curve.losses, [1, 1, 1, 1])


# Those of trainings.
LOGS = [path for path in sorted((ROOT / 'docs/results/logs').glob('*.log')) if 'Iter(val)' in path.read_text()]


@pytest.mark.parametrize('log', LOGS, ids=lambda path: path.stem)
def test_committed_logs_are_read(log):
    curve = read_curve(log)
    assert len(curve.iterations) == log.read_text().count('Iter(val)')
    assert (np.diff(curve.iterations) > 0).all()
    assert (np.diff(curve.minutes) > 0).all()
    assert len(curve.losses) >= len(curve.iterations)
    assert np.isfinite(curve.losses).all()
    assert 0.5 < curve.metrics['IoU'].max() < 1


def test_a_log_as_text(tmp_path):
    (tmp_path / 'a.log').write_text(
        'Iter(train) [ 500/5500]  base_lr: 3.9e-03 eta: 0:37:41  time: 0.12  data_time: 0.05  loss: 0.4\n'
        'Iter(val) [66/66]    IoU: 0.5793  nIoU: 0.6275  Fa: nan  data_time: 0.0052  time: 0.1067\n'
    )
    curve = read_curve(tmp_path / 'a.log')
    np.testing.assert_allclose(curve.minutes, [1.0])
    assert (curve.steps.tolist(), curve.losses.tolist()) == ([500], [0.4])
    assert curve.metrics['IoU'].tolist() == [0.5793]
    assert np.isnan(curve.metrics['Fa']).all()


def test_a_log_without_validation_is_named(tmp_path):
    with pytest.raises(CurveError, match=f'{tmp_path} has no validation'):
        read_curve(tmp_path)
    with pytest.raises(FileNotFoundError, match='no work dir or log'):
        read_curve(tmp_path / 'x')
    (tmp_path / 'a.log').write_text('nothing')
    with pytest.raises(CurveError, match=r'a\.log has no validation'):
        read_curve(tmp_path / 'a.log')
    with pytest.raises(CurveError, match='no validation'):
        curve_of_lines('a', [])
    (tmp_path / VALIDATION_CURVE).write_text('{"iter": 1}\n{"iter"\n')
    with pytest.raises(ValueError, match=rf'{VALIDATION_CURVE}, line 2'):
        read_validation_curve(tmp_path / VALIDATION_CURVE)


def test_the_loss_on_held_out_images_is_drawn_of_a_distillation(tmp_path, monkeypatch):
    write_scalars(tmp_path / 'a/1', [{'step': 1, 'loss': 1.0, 'time': 6.0}, {'step': 2, 'held_out_loss': 3.0}])
    curve = read_curve(tmp_path / 'a')
    assert curve.metrics.keys() == {'held_out_loss'}
    monkeypatch.setattr(training_curves, 'figure_pixels', lambda figure: figure)
    loss, over_iterations, over_minutes = draw_curves([curve]).axes
    assert [line.get_ydata().tolist() for line in over_iterations.lines] == [[3.0]]
    assert over_iterations.get_ylabel() == 'held_out_loss on the validation split'
    assert [line.get_ydata().tolist() for line in loss.lines] == [[1.0], [1.0]]
    assert over_minutes.lines[0].get_linestyle() == '--'
    with pytest.raises(CurveError, match='a: held_out_loss was not validated; there are IoU, Pd'):
        draw_curves([curve, curve_of_lines('a', LINES)])


@pytest.mark.parametrize('length', [1, 3, 40])
def test_smoothing_is_a_mean_over_the_window_that_exists(length):
    values = np.random.default_rng(0).normal(size=length)
    if length >= 5:
        np.testing.assert_allclose(smooth(values), [values[max(i - 2, 0) : i + 3].mean() for i in range(length)])
    np.testing.assert_allclose(smooth(np.ones(length)), 1)


def test_drawing():
    curve = curve_of_lines('a', LINES)
    assert draw_curves([curve, curve], 'Pd').shape[2] == 3
    with pytest.raises(CurveError, match='a: nIoU was not validated; there are IoU, Pd'):
        draw_curves([curve], 'nIoU')
    with pytest.raises(CurveError, match='no curve to draw'):
        draw_curves([])


def test_the_tool(tmp_path):
    tool = [sys.executable, ROOT / 'tools/figures/plot_curves.py']
    log = ROOT / 'docs/results/logs/sgem_unet-s_joint.log'
    done = subprocess.run([*tool, log, tmp_path, '--out', tmp_path / 'x.png'], capture_output=True, text=True)
    assert done.returncode == 1
    assert f'error: {tmp_path} has no validation' in done.stderr
    subprocess.run([*tool, log, '--out', tmp_path / 'new/x.png'], check=True)
    assert Image.open(tmp_path / 'new/x.png').size[0] > 1000
