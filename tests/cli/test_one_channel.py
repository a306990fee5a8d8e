"""A one-channel SimIR from the file to pictures of its detections, by the command lines."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image

import mmirstd  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs/simir/simir_repvit-fast-1ch_nudt.py'

SHRUNK = """
_base_ = {config!r}
pack = dict(type='mmirstd.PackIRSTDInputs')
load_pipeline = [_base_.load, dict(type='mmirstd.LoadTargetMask')]
augment = [
    dict(type='mmirstd.CopyPasteTargets', prob=1.0),
    dict(type='mmirstd.TargetAwareCrop', crop_size=(32, 32)),
    dict(type='mmirstd.InfraredPhotometric'),
    pack,
]
small = dict(_delete_=True, type='mmirstd.FolderDataset', data_root={data!r})
train_set = dict(dataset=dict(pipeline=load_pipeline, ann_file='train.txt', **small), pipeline=augment)
test_set = dict(pipeline=[*load_pipeline, pack], ann_file='test.txt', test_mode=True, **small)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=train_set)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=test_set)
test_dataloader = val_dataloader
model = dict(
    data_preprocessor=dict(size=(32, 32)),
    backbone=dict(backbone=dict(arch=dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1)))),
)
train_cfg = dict(max_iters=4, val_interval=4)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=4))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(vis_backends=vis_backends)
"""


@pytest.fixture
def config(tiny_data, tmp_path, own_mmengine_state):
    (tiny_data / 'train.txt').write_text('0\n1\n2\n')
    (tiny_data / 'test.txt').write_text('3\n4\n')
    path = tmp_path / 'one_channel.py'
    path.write_text(SHRUNK.format(config=str(CONFIG), data=str(tiny_data)))
    return path


def test_trains_and_is_tested_with_pictures(call, config, capfd):
    assert call('train', config, '--work-dir', 'run') is None
    state = torch.load('run/iter_4.pth', weights_only=False)['state_dict']
    assert state['backbone.backbone.stem.0.conv.weight'].shape[1] == 1
    assert (
        call(
            'test', config, 'run/iter_4.pth', '--work-dir', 'test', '--show-dir', 'pictures', '--allow-overlap', 'tiny'
        )
        is None
    )
    assert 'nIoU' in capfd.readouterr().out
    assert sorted(p.name for p in Path('pictures').iterdir()) == ['3.png', '4.png']
    assert np.array(Image.open('pictures/3.png')).std() > 10


@pytest.mark.parametrize(
    ('options', 'line'),
    [
        (
            ('model.data_preprocessor.mean=(1,2,3)', 'model.data_preprocessor.std=(1,2,3)'),
            'test_dataloader.dataset.pipeline: 1, model.data_preprocessor.mean: 3',
        ),
        (
            ('train_dataloader.dataset.dataset.pipeline.0.channels=3',),
            'train_dataloader.dataset.dataset.pipeline: 3, val_dataloader.dataset.pipeline: 1, ',
        ),
    ],
)
def test_disagreeing_channels_are_an_error(call, config, options, line):
    """Before anything is built; a stem for three channels would take the first of these mistakes without a word."""
    error = call('train', config, '--work-dir', 'run', '--cfg-options', *options)
    assert error.startswith('error: the numbers of channels of an image differ: train_dataloader.dataset')
    assert line in error
    assert not list(Path('run').glob('*.pth'))


def build(cfg):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    return MODELS.build(cfg).eval()


def test_three_channel_weights_are_adapted(config, tmp_path):
    """The trunk of a three-channel model, trained on gray images, gives a one-channel model the same features."""
    one = Config.fromfile(config).model
    three = one.copy()
    three.data_preprocessor = dict(one.data_preprocessor, mean=[114.5] * 3, std=[57.6] * 3)
    three.backbone = dict(one.backbone, backbone=dict(one.backbone.backbone, in_channels=3))
    source = build(three)
    for p in source.backbone.parameters():
        torch.nn.init.normal_(p, std=0.2)
    torch.save({'state_dict': source.backbone.backbone.state_dict()}, tmp_path / 'trunk.pth')
    one.backbone.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'trunk.pth'))
    adapted = build(one)
    adapted.init_weights()
    gray = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    features = []
    for model, images in ((source, gray.expand(-1, 3, -1, -1)), (adapted, gray)):
        inputs = model.data_preprocessor({'inputs': list(images), 'data_samples': None})['inputs']
        assert inputs.shape[1] == model.backbone.backbone.in_channels
        with torch.no_grad():
            features.append(model.backbone.backbone(inputs))
    for a, b in zip(*features, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
