"""``examples/onnx_consumer.py`` reproduces the table of ``mmirstd infer`` without PyTorch and without this package."""

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from mmirstd.synthesis.scenes import render_scene

CONSUMER = Path(__file__).parents[2] / 'examples/onnx_consumer.py'
# What the example may not import is not there.
BLOCKED = """
import runpy, sys
for name in ('torch', 'mmirstd', 'mmengine', 'mmcv', 'mmseg', 'cv2', 'scipy', 'onnx'):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Scenes of several sizes, one of 16 bits, one without target, and one whose target touches the border."""
    folder = tmp_path_factory.mktemp('scenes')
    for i, size in enumerate([(128, 128), (101, 160), (160, 96)]):
        image, _, _ = render_scene(i, size)
        Image.fromarray(image).save(folder / f'scene{i}.png')
    deep = render_scene(3, (96, 96))[0].astype(np.uint16) * 57 + 1000
    Image.fromarray(deep).save(folder / 'deep.png')
    flat = np.full((64, 70), 80, np.uint8)
    Image.fromarray(flat).save(folder / 'flat.png')
    flat[:3, 20:23] = 250
    Image.fromarray(flat).save(folder / 'border.png')
    return folder


def table(path):
    with open(path, newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_it_reproduces_the_table_of_targets(call, images):
    assert call('export', '--out', 'model.onnx', '--images', images) is None
    assert call('infer', images, '--out', 'out', '--no-pictures', '--device', 'cpu') == 0
    paths = sorted(map(str, images.iterdir()))
    command = [sys.executable, '-c', BLOCKED, str(CONSUMER), 'model.onnx', *paths, '--out', 'targets.csv']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected, found = table('out/targets.csv'), table('targets.csv')
    assert len(expected) >= 4
    assert {row['image'] for row in expected} >= {'deep', 'border'}
    assert [row['image'] for row in found] == [row['image'] for row in expected]
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        for key in one.keys() - {'image'}:
            assert float(other[key] or 'nan') == pytest.approx(float(one[key] or 'nan'), rel=1e-5, nan_ok=True), key


def test_what_it_cannot_read_is_said(call, images, tmp_path):
    def run(*arguments):
        command = [sys.executable, str(CONSUMER), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    no_model = run(images / 'flat.png', images / 'border.png')
    assert no_model.returncode == 1
    assert 'flat.png: onnxruntime cannot read it' in no_model.stderr
    assert call('export', '--out', 'model.onnx', '--images', images / 'border.png') is None
    (tmp_path / 'text.png').write_text('no image')
    deep = np.stack([np.arange(64 * 70, dtype=np.uint16).reshape(64, 70) * 7 + 1000] * 4, axis=2)
    for channels in (3, 4):  # Pillow calls them RGB and RGBA, of 8 bits
        cv2.imwrite(str(tmp_path / f'deep{channels}.png'), deep[..., :channels])
    tifffile.imwrite(tmp_path / 'deep.tif', deep[..., :3], photometric='rgb')
    names = ('none.png', 'text.png', 'deep3.png', 'deep4.png', 'deep.tif')
    done = run('model.onnx', *(tmp_path / name for name in names), images / 'border.png', '--out', 'some.csv')
    assert done.returncode == 1
    for name in names:
        assert f'{name}: ' in done.stderr
    assert done.stderr.count(': colors of more than 8 bits') == 3
    assert 'Traceback' not in no_model.stderr + done.stderr
    assert {row['image'] for row in table('some.csv')} == {'border'}  # the others go on
