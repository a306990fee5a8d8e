"""Every config is built, run forward and backward, and evaluated once, shrunk where it is large."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from mmseg.structures import SegDataSample

import mmirstd  # noqa: F401  makes 'mmirstd::' and 'mmseg::' known to configs
from mmirstd.datasets.published_splits import hold_out, load_published, official_prefix

ROOT = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted(path for path in ROOT.rglob('*.py') if '_base_' not in path.parts)
if find_spec('mmpretrain') is None:  # where it is there, tests/interop builds these
    CONFIGS = [path for path in CONFIGS if 'mmpretrain' not in path.read_text()]
DATASET_CONFIGS = sorted((ROOT / '_base_' / 'datasets').glob('[!_]*.py'))


def shrink(cfg):
    """Make large backbones narrow, images inside them small and point sampling short; nothing is loaded."""
    backbone, head = cfg.model.backbone, cfg.model.decode_head
    inner = backbone.get('backbone', backbone)
    for part in (inner, head):
        if part.get('init_cfg'):
            part.init_cfg = None
    if cfg.model.data_preprocessor.get('inside_size'):
        cfg.model.data_preprocessor.inside_size = 64
    narrow = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1))
    if inner.type == 'mmirstd.RepViT' and 'backbone' in backbone:
        inner.arch = narrow
    elif inner.type == 'mmirstd.TinyViT':
        inner.arch = narrow | dict(num_heads=(1, 1, 2, 2), window_sizes=(7, 7, 14, 7))
        early = 24
    elif inner.type == 'mmirstd.SAMViT':
        inner.arch = dict(embed_dims=32, depth=6, num_heads=2, global_layers=(2, 5))
        inner.img_size = 64
        early = 32
    elif inner.type == 'SwinTransformer':
        inner.update(embed_dims=12, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
        cfg.model.neck.in_channels = [24, 48, 96]
    if head.get('early_channels'):
        head.early_channels = early
    losses = cfg.model.decode_head.loss_decode
    if isinstance(losses, dict) and losses.type == 'mmirstd.PointSampledLoss':
        losses.num_points = 256
    return cfg


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_config_trains_and_predicts(path):
    cfg = shrink(Config.fromfile(path))
    init_default_scope(cfg.default_scope)
    size = 32 if cfg.model.backbone.get('backbone', {}).get('stem_strides') == (1, 1) else 64
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.train()
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(img_shape=(size, size), ori_shape=(size, size)))
        sample.gt_sem_seg = PixelData(data=(torch.rand(1, size, size) < 0.05).long())
        sample.gt_edge_map = sample.gt_sem_seg.clone()
        samples.append(sample)
    images = torch.randint(0, 256, (2, len(cfg.model.data_preprocessor.mean), size, size), dtype=torch.uint8)
    model.data_preprocessor.size = (size, size)
    data = model.data_preprocessor(dict(inputs=list(images), data_samples=samples), training=True)
    losses = model(**data, mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert torch.isfinite(loss)
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused, 'distributed training fails on parameters without a gradient'
    assert any(p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad)
    model.eval()
    with torch.no_grad():
        (result,) = model(images[:1].float(), samples[:1], mode='predict')
    assert result.seg_logits.data.shape == (1, size, size)


def identities(dataset):
    """What tells the samples of a dataset config apart, without its files."""
    for transform in dataset.get('pipeline', ()):
        TRANSFORMS.build(transform)
    if dataset.type == 'ConcatDataset':
        return set().union(*map(identities, dataset.datasets))
    if dataset.type == 'MultiImageMixDataset':
        return identities(dataset.dataset)
    if dataset.type == 'mmirstd.SyntheticIRSTDDataset':
        built = DATASETS.build(dataset)
        return {tuple(built.get_data_info(i)['scene_seed']) for i in range(50)}
    cls = DATASETS.get(dataset.type)
    if prefix := official_prefix(dataset.split, cls.OFFICIAL_PARTS):
        ids = hold_out([f'{prefix}{i:06d}' for i in range(100)], dataset.split)
    else:
        ids = load_published(cls.NAME, dataset.split)[1]
    return {(cls.NAME, i) for i in ids}


@pytest.mark.parametrize('path', CONFIGS + DATASET_CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_parts_of_a_dataset_are_disjoint(path):
    cfg = Config.fromfile(path)
    with DefaultScope.overwrite_default_scope('mmseg'):
        train, val, test = (identities(cfg[f'{part}_dataloader'].dataset) for part in ('train', 'val', 'test'))
    assert train
    assert val
    assert test
    assert not train & val
    assert not train & test
    assert not val & test


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_checkpoints_are_chosen_by_the_metric(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    evaluator = cfg.val_evaluator
    assert evaluator.type == 'mmirstd.IRSTDMetric'
    assert cfg.default_hooks.checkpoint.save_best == 'IoU'
    assert cfg.default_hooks.checkpoint.interval % cfg.train_cfg.val_interval == 0
