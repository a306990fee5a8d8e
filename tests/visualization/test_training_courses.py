"""Courses of trainings, from each kind of log, as numbers and as a picture."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmirstd.io.validation_curve import VALIDATION_CURVE, read_validation_curve
from mmirstd.visualization.training_courses import CourseError, course_of_lines, draw_courses, read_course

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
    write_scalars(tmp_path / '1', [{'IoU': 0.9, 'step': 1}])  # the curve comes first
    course = read_course(tmp_path, 'mine')
    assert (course.name, course.estimated) == ('mine', False)
    np.testing.assert_array_equal(course.iterations, [10, 20])
    np.testing.assert_array_equal(course.minutes, [1, 2.5])
    np.testing.assert_array_equal(course.metrics['IoU'], [0.2, 0.4])
    np.testing.assert_array_equal(course.metrics['Pd'], [0.5, np.nan])


def test_logs_of_a_resumed_run_are_one_course(tmp_path):
    trained = [{'loss': 1, 'time': 6.0, 'step': 5}, {'loss': 1, 'time': 12.0, 'step': 10}]
    lost = {'loss': 1, 'time': 99.0, 'step': 15}  # done again by the second run
    write_scalars(tmp_path / '1', [*trained, {'IoU': 0.1, 'step': 10, 'time': 99.0}, lost])
    again = [{'loss': 1, 'time': 3.0, 'step': 15}, {'loss': 1, 'time': 3.0, 'step': 20}]
    write_scalars(tmp_path / '2', [*again, {'IoU': 0.3, 'step': 20}])
    course = read_course(tmp_path)
    assert course.estimated
    np.testing.assert_allclose(course.minutes, [1.5, 2.0])  # 5 x 6 s + 5 x 12 s, then 10 x 3 s
    np.testing.assert_array_equal(course.metrics['IoU'], [0.1, 0.3])
    assert set(course.metrics) == {'IoU'}


# Those of trainings.
LOGS = [path for path in sorted((ROOT / 'docs/results/logs').glob('*.log')) if 'Iter(val)' in path.read_text()]


@pytest.mark.parametrize('log', LOGS, ids=lambda path: path.stem)
def test_committed_logs_are_read(log):
    course = read_course(log)
    assert len(course.iterations) >= 5
    assert (np.diff(course.iterations) > 0).all()
    assert (np.diff(course.minutes) > 0).all()
    assert 0.5 < course.metrics['IoU'].max() < 1


def test_a_log_as_text(tmp_path):
    (tmp_path / 'a.log').write_text(
        'Iter(train) [ 500/5500]  base_lr: 3.9e-03 eta: 0:37:41  time: 0.12  data_time: 0.05  loss: 0.4\n'
        'Iter(val) [66/66]    IoU: 0.5793  nIoU: 0.6275  Fa: nan  data_time: 0.0052  time: 0.1067\n'
    )
    course = read_course(tmp_path / 'a.log')
    np.testing.assert_allclose(course.minutes, [1.0])
    assert course.metrics['IoU'].tolist() == [0.5793]
    assert np.isnan(course.metrics['Fa']).all()


def test_what_tells_of_no_validation_is_named(tmp_path):
    with pytest.raises(CourseError, match=f'{tmp_path} tells of no validation'):
        read_course(tmp_path)
    with pytest.raises(FileNotFoundError, match='no work dir or log'):
        read_course(tmp_path / 'x')
    (tmp_path / 'a.log').write_text('nothing')
    with pytest.raises(CourseError, match=r'a\.log tells of no validation'):
        read_course(tmp_path / 'a.log')
    with pytest.raises(CourseError, match='no validation'):
        course_of_lines('a', [])
    (tmp_path / VALIDATION_CURVE).write_text('{"iter": 1}\n{"iter"\n')
    with pytest.raises(ValueError, match=rf'{VALIDATION_CURVE}, line 2'):
        read_validation_curve(tmp_path / VALIDATION_CURVE)


def test_drawing():
    course = course_of_lines('a', LINES)
    assert draw_courses([course, course], 'Pd').shape[2] == 3
    with pytest.raises(CourseError, match='a: nIoU was not validated; there are IoU, Pd'):
        draw_courses([course], 'nIoU')
    with pytest.raises(CourseError, match='no course to draw'):
        draw_courses([])


def test_the_tool(tmp_path):
    tool = [sys.executable, ROOT / 'tools/figures/plot_courses.py']
    log = ROOT / 'docs/results/logs/sgem_unet-s_joint.log'
    done = subprocess.run([*tool, log, tmp_path, '--out', tmp_path / 'x.png'], capture_output=True, text=True)
    assert done.returncode == 1
    assert f'error: {tmp_path} tells of no validation' in done.stderr
    subprocess.run([*tool, log, '--out', tmp_path / 'new/x.png'], check=True)
    assert Image.open(tmp_path / 'new/x.png').size[0] > 1000
