"""The snippets of the README run as they stand there."""

import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
SNIPPETS = re.findall(r'```python\n(.*?)```', README, flags=re.DOTALL)


def snippet(start):
    (found,) = [text for text in SNIPPETS if text.startswith(start)]
    return found


def test_building_a_model(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    exec(snippet('import mmirstd'), names)
    assert type(names['model']).__name__ == 'EncoderDecoder'


def test_the_metric_on_arrays():
    rng = np.random.default_rng(0)
    pairs = [(rng.random((20, 30)), rng.integers(0, 2, (20, 30))) for _ in range(3)]
    names = {'pairs': pairs}
    exec(snippet('from mmirstd.evaluation'), names)
    positive = np.stack([p > 0.5 for p, _ in pairs])
    target = np.stack([t == 1 for _, t in pairs])
    expected = (positive & target).sum() / (positive | target).sum()
    assert names['figures']['IoU'] == pytest.approx(expected)


def test_own_data(tmp_path):
    text = snippet('# my_config.py').replace('/data/mine', str(tmp_path / 'mine'))
    (tmp_path / 'my_config.py').write_text(text)
    rng = np.random.default_rng(0)
    for folder in ('images', 'masks'):
        (tmp_path / 'mine' / folder).mkdir(parents=True)
    for i in range(3):
        size = (150 + i, 140)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(tmp_path / f'mine/images/{i}.bmp')
        mask = np.zeros(size, np.uint8)
        mask[70:73, 60:64] = 255
        Image.fromarray(mask).save(tmp_path / f'mine/masks/{i}.png')
    for name, ids in {'train': '0\n1', 'val': '2', 'test': '2'}.items():
        (tmp_path / f'mine/{name}.txt').write_text(ids)
    cfg = Config.fromfile(tmp_path / 'my_config.py')
    init_default_scope(cfg.default_scope)
    train, val, test = (DATASETS.build(cfg[f'{name}_dataloader'].dataset) for name in ('train', 'val', 'test'))
    assert [len(d) for d in (train, val, test)] == [2, 1, 1]
    assert train[0]['inputs'].shape == (3, 128, 128)
    assert test[0]['data_samples'].gt_sem_seg.data.sum() == 12


def test_links_lead_somewhere():
    links = re.findall(r'\]\(([^)#]+)', README)
    assert links
    missing = [link for link in links if not link.startswith('http') and not (ROOT / link).exists()]
    assert not missing
