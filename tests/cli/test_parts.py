"""``mmirstd parts``: what each part of a trained model gives."""

import csv
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS

from mmirstd import apis
from mmirstd.io.tables import csv_rows

SGEM = """
model['backbone'] = dict(type='mmirstd.UNetEncoder', channels=(4, 8, 8))
model['neck'] = dict(type='mmirstd.SGEM', in_channels=[4, 8, 8], sgem_levels=(1,), sgem=dict(reading='additive'))
model['decode_head'] = dict(type='mmirstd.ConvHead', in_channels=4, in_index=0,
                            loss_decode=dict(type='mmirstd.SoftIoULoss'))
"""


@pytest.fixture
def sgem(tiny_config, tmp_path):
    """A config and random weights of which SGEM gives a bias alone: its matrix has no weights, only biases."""
    config = tiny_config(SGEM)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(Config.fromfile(config).model).eval()
    with torch.no_grad():
        model.neck.sgem['1'].restore.weight.zero_()
        model.neck.sgem['1'].restore.bias[0] = 20
        model.decode_head.conv_seg.weight.mul_(20)
        logits = model(torch.randn(1, 3, 64, 64))
        model.decode_head.conv_seg.bias.sub_(logits.quantile(0.8))
    path = tmp_path / 'sgem.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    return config, path


def test_parts_without_effect_are_named(call, sgem, capsys):
    assert call('parts', *sgem, '--depth', 3, '--out', 'parts.json', '--device', 'cpu') is None
    report = json.loads(Path('parts.json').read_text())
    assert report['images'] == 5
    assert report['IoU'] == pytest.approx(apis.test(*sgem).metrics['IoU'])
    rows = {row['part']: row for row in report['parts']}
    verdicts = {name: row['verdict'] for name, row in rows.items()}
    for name in ('query', 'key', 'pool'):
        assert verdicts.pop(f'neck.sgem.1.{name}') == 'ineffective'
    assert verdicts.pop('neck.sgem.1.restore') == 'ineffective: a constant'
    assert {'backbone.levels.0', 'neck.sgem.1', 'neck.convs.0', 'decode_head.conv_seg'} < verdicts.keys()
    assert verdicts['decode_head.conv_seg'] == ''
    assert rows['decode_head.conv_seg']['zero'] == pytest.approx(
        report['IoU'] + rows['decode_head.conv_seg']['zero_change']
    )
    shown = capsys.readouterr().out
    assert f'sgem.pth: IoU {report["IoU"]:.4f} on 5 images of tiny all' in shown
    assert 'ineffective: a constant' in shown


def test_a_table_of_chosen_parts_of_the_first_images(call, tiny_config, tiny_checkpoint):
    config = tiny_config()
    result = apis.ablate_parts(config, tiny_checkpoint, parts='decode_head.*', images=2, device='cpu')
    assert {part.part for part in result.parts} > {'decode_head.conv_seg', 'decode_head.convs.0'}
    assert all(part.part.startswith('decode_head.') for part in result.parts)
    assert call('parts', config, tiny_checkpoint, '--parts', 'decode_head.*', '--images', 2, '--out', 'a.csv') is None
    assert Path('a.csv').read_bytes() == csv_rows([part.as_dict() for part in result.parts])
    assert call('parts', config, tiny_checkpoint, '--parts', 'decode_head.*', '--images', 2, '--out', 'a.md') is None
    text = Path('a.md').read_text()
    assert '| decode_head.conv_seg | Conv2d |' in text
    assert 'on 2 images of' in text
    with open('a.csv') as f:
        assert len(list(csv.DictReader(f))) == len(result.parts)


def test_mistakes_are_answered_before_anything_is_measured(call, tiny_config, tiny_checkpoint, capsys):
    config = tiny_config()
    Path('parts.csv').touch()
    assert 'parts.csv exists: choose another place' in call('parts', config, tiny_checkpoint, '--out', 'parts.csv')
    assert 'there is no checkpoint file gone.pth' in call('parts', config, 'gone.pth')
    for arguments, message in (
        (('--out', 'parts.txt'), '--out parts.txt: the name must end in .csv, .json, .md'),
        (('--depth', 0), '--depth and --images must be at least 1, got 0'),
        (('--parts', 'backbone.nothing'), '--parts backbone.nothing: no part that runs'),
        (('--images', -1), '--depth and --images must be at least 1, got -1'),
    ):
        assert call('parts', config, tiny_checkpoint, *arguments) == 2
        assert message in capsys.readouterr().err
    assert call('parts', config, tiny_checkpoint, '--parts', 'decode_head', '--out', 'parts.csv', '--overwrite') is None
    assert Path('parts.csv').stat().st_size


def test_the_weights_that_come_with_the_package_are_the_default(call, tiny_config, tiny_checkpoint, monkeypatch):
    config = tiny_config()
    assert 'no weights come with' in call('parts', config)
    assert 'has no weights, so no parts of it are trained' in call('parts', 'top-hat_nudt')
    monkeypatch.setattr('mmirstd.apis.inference.own_weights', lambda config: str(tiny_checkpoint))
    assert call('parts', config, '--parts', 'decode_head', '--images', 1, '--out', 'own.json') is None
    report = json.loads(Path('own.json').read_text())
    assert report['checkpoint'] == str(tiny_checkpoint)
    assert report['images'] == 1


def test_a_split_without_masks_is_refused(call, tiny_config, tiny_checkpoint):
    config = tiny_config("val_dataloader['dataset']['mask_dir'] = None")
    assert 'has no masks' in call('parts', config, tiny_checkpoint)
