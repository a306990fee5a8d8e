import importlib.util
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmirstd.datasets.transforms import InfraredPhotometric

PATH = Path(__file__).resolve().parents[2] / 'tools/figures/plot_photometric.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('plot_photometric', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_effect_is_shown_at_its_ends(tool):
    ends = tool.ends()
    assert {name for name, _ in ends} == set(InfraredPhotometric().ranges)
    image, mask = tool.scene(0)
    assert mask.any()
    for name, value in ends:
        shown = tool.apply(tool.alone(name, value), image, mask, 0)
        assert shown.shape == image.shape
        assert not np.array_equal(shown, image)


def test_picture(tool, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'new/picture.png'
    monkeypatch.setattr(sys, 'argv', ['plot_photometric.py', '--out', str(out), '--seed', '20'])
    tool.main()
    assert capsys.readouterr().out.split() == [str(out)]
    picture = Image.open(io.BytesIO(out.read_bytes()))
    assert picture.size[0] > 1000
    assert [p.name for p in out.parent.iterdir()] == ['picture.png']


def test_table(tool, real_data, capsys):
    rows = tool.measure('NUDT-SIRST', real_data, 0, 2)
    assert len(rows) == len(tool.ends()) + 2
    gain = next(row for row in rows if '| gain 0.7 |' in row)
    assert '| 0.70 / 0.70 / 0.70 |' in gain
    assert 'of 2 images' in capsys.readouterr().out
