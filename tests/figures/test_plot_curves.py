import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TOOL = Path(__file__).parents[2] / 'tools/figures/plot_curves.py'


def run(*args):
    return subprocess.run([sys.executable, TOOL, *map(str, args)], capture_output=True, text=True, timeout=120)


def test_curves_of_the_newest_run_become_a_picture(tmp_path):
    for run_name in ('20260101_000000', '20260102_000000'):
        folder = tmp_path / 'work' / run_name / 'vis_data'
        folder.mkdir(parents=True)
        records = [dict(step=s, loss=1 / s, lr=0.1) for s in range(1, 30)]
        records.append(dict(step=29, IoU=0.5, nIoU=0.6, Pd=0.9))
        (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))
    out = tmp_path / 'new/curves.png'
    done = run(tmp_path / 'work', '--out', out)
    assert done.returncode == 0, done.stderr
    assert Image.open(out).size[0] > 1000
    assert sorted(p.name for p in out.parent.iterdir()) == ['curves.png']


def test_of_a_distillation_the_loss_on_held_out_images_is_drawn(tmp_path):
    for name, values in {'a': dict(held_out_loss=3.0), 'b': dict(IoU=0.5, nIoU=0.6, Pd=0.9)}.items():
        folder = tmp_path / name / '20260101_000000/vis_data'
        folder.mkdir(parents=True)
        records = [dict(step=1, loss=1.0), dict(step=2, **values)]
        (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, records)))
    plot = runpy.run_path(str(TOOL))['plot']
    right = plot([tmp_path / 'a']).axes[1]
    assert [line.get_ydata().tolist() for line in right.lines] == [[3.0]]
    assert [text.get_text() for text in right.get_legend().get_texts()] == ['held_out_loss']
    with pytest.raises(SystemExit, match='draw them apart'):
        plot([tmp_path / 'a', tmp_path / 'b'])


def test_a_folder_without_runs_is_an_error_that_names_it(tmp_path):
    done = run(tmp_path, '--out', tmp_path / 'x.png')
    assert done.returncode == 1
    assert f'error: {tmp_path} holds no' in done.stderr


@pytest.mark.parametrize('length', [1, 3, 40])
def test_smoothing_is_a_mean_over_the_window_that_exists(length):
    values = np.random.default_rng(0).normal(size=length)
    got = runpy.run_path(str(TOOL))['smooth'](values)
    if length >= 5:
        expected = [values[max(i - 2, 0) : i + 3].mean() for i in range(length)]
        np.testing.assert_allclose(got, expected)
    np.testing.assert_allclose(runpy.run_path(str(TOOL))['smooth'](np.ones(length)), 1)
