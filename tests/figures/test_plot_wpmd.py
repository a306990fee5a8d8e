import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from mmirstd.datasets.transforms import WPMD
from mmirstd.ops.target_statistics import noise_level

PATH = Path(__file__).resolve().parents[2] / 'tools/figures/plot_wpmd.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('plot_wpmd', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(tool, monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, 'argv', ['plot_wpmd.py', *map(str, arguments)])
    tool.main()
    return capsys.readouterr().out


def test_sharpness_of_a_blurred_edge(tool):
    step = np.zeros((40, 400))
    step[:, 200:] = 50
    assert tool.edge_sharpness(step, step) == 1
    assert tool.edge_sharpness(step, step / 2 + 90) == 0.5
    blurred = ndimage.gaussian_filter(step, 2)
    expected = (blurred[0, 200] - blurred[0, 199]) / 50
    assert tool.edge_sharpness(step, blurred) == pytest.approx(expected)
    assert np.isnan(tool.edge_sharpness(np.ones((9, 9)), np.ones((9, 9))))


def test_the_gaussian_leaves_as_much_noise(tool):
    image = np.random.default_rng(0).normal(100, 5, (80, 90))
    for share in (0.7, 0.2, 0.02):
        noise = share * noise_level(image)
        assert noise_level(tool.equal_gaussian(image, noise)) == pytest.approx(noise, rel=0.05, abs=0.02)
    assert tool.equal_gaussian(image, 2 * noise_level(image)) is image


def test_step_and_times(tool, tmp_path, monkeypatch, capsys):
    assert run(tool, monkeypatch, capsys, '--out-dir', tmp_path / 'new').split() == [
        str(tmp_path / 'new/wpmd_step.png')
    ]
    assert Image.open(tmp_path / 'new/wpmd_step.png').size[0] > 1000
    rows = tool.timings(0, repeats=1)
    assert len(rows) == len(tool.FORMS) + 3
    assert all(float(row.split('|')[2]) > 0 for row in rows)
    monkeypatch.setattr(tool, 'timings', lambda _: ['| a | 1.0 |'])
    assert run(tool, monkeypatch, capsys, '--time').endswith('| WPMD | ms |\n|---|---|\n| a | 1.0 |\n')


@pytest.mark.parametrize('arguments', [[], ['--num', 3]])
def test_nothing_to_do(tool, monkeypatch, capsys, arguments):
    with pytest.raises(SystemExit):
        run(tool, monkeypatch, capsys, *arguments)
    assert 'nothing to do' in capsys.readouterr().err


def test_clutter_picture(tool, real_data):
    content = tool.clutter_picture(['NUAA-SIRST:Misc_28'], real_data, WPMD(), 120)
    assert Image.open(io.BytesIO(content)).size[0] >= 1000
    with pytest.raises(SystemExit, match="NUAA-SIRST has no image 'Misc_9999'"):
        tool.clutter_picture(['NUAA-SIRST:Misc_9999'], real_data, WPMD(), 120)


def test_table(tool, real_data, monkeypatch):
    monkeypatch.setattr(tool, 'FORMS', {'default': {}, 'k=8 levels': {'k': 8.0, 'k_unit': 'level'}})
    default, strong = (row.split(' | ') for row in tool.measure('NUDT-SIRST', real_data, 0, 3))
    assert default[:2] == ['| NUDT-SIRST', 'default']
    noise, edges, gaussian = map(float, default[2:5])
    assert noise < 0.7
    assert edges > gaussian
    assert float(strong[2]) < noise
    assert strong[4].strip() == ''
    quantiles = [float(v) for v in default[5].split(' / ')]
    assert quantiles == sorted(quantiles)
    assert quantiles[-1] > 0.9
