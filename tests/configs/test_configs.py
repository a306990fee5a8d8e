"""Every config is built, run forward and backward, and evaluated once, shrunk where it is large."""

from copy import deepcopy
from functools import cache
from importlib.util import find_spec
from itertools import chain
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
DATASET_CONFIGS = sorted((ROOT / '_base_' / 'datasets').glob('[!_]*.py'))


def name(path):
    return str(path.relative_to(ROOT).with_suffix(''))


@cache
def parsed(path):
    return Config.fromfile(path, import_custom_modules=False)


def parse(path):
    return deepcopy(parsed(path))


def parts(node):
    """The types of all modules that a model's config names."""
    if isinstance(node, dict):
        return [node.get('type'), *chain.from_iterable(map(parts, node.values()))]
    return list(chain.from_iterable(map(parts, node))) if isinstance(node, (list, tuple)) else []


@cache
def first_of_each_kind():
    """The first config of each combination of modules."""
    kinds = {}
    for path in sorted(CONFIGS, key=lambda path: (path.parent, len(path.name))):
        kinds.setdefault(frozenset(filter(None, parts(parsed(path).model))), path)
    return set(kinds.values())


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
    elif inner.type == 'mmirstd.UNetEncoder':
        widths = [4, 8, 8, 12, 12]
        inner.channels = cfg.model.neck.in_channels = widths
        head.in_channels = widths[0]
    elif inner.type == 'mmirstd.ResidualEncoder':
        inner.channels = cfg.model.neck.in_channels = [4, 8, 8, 8]
        cfg.model.neck.channels = head.in_channels = 8
    if head.get('early_channels'):
        head.early_channels = early
    losses = cfg.model.decode_head.loss_decode
    if isinstance(losses, dict) and losses.type == 'mmirstd.PointSampledLoss':
        losses.num_points = 256
    return cfg


@pytest.mark.parametrize('path', CONFIGS, ids=name)
def test_config_trains_and_predicts(path, all_tests):
    if not all_tests and path not in first_of_each_kind():
        pytest.skip('another config of the same modules is built; MMIRSTD_ALL_TESTS=1 builds all')
    if any(str(part).startswith('mmpretrain') for part in parts(parsed(path).model)) and not find_spec('mmpretrain'):
        pytest.skip('needs mmpretrain: tests/interop builds it')
    cfg = shrink(parse(path))
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
    if dataset.type == 'ConcatDataset':
        return set().union(*map(identities, dataset.datasets))
    if dataset.type == 'MultiImageMixDataset':
        return identities(dataset.dataset)
    if dataset.type == 'mmirstd.SyntheticIRSTDDataset':
        built = DATASETS.build({**dataset, 'length': 50, 'serialize_data': False})
        return {tuple(built.get_data_info(i)['scene_seed']) for i in range(50)}
    return ids_of_split(DATASETS.get(dataset.type), dataset.split)


@cache
def ids_of_split(cls, split):
    if prefix := official_prefix(split, cls.OFFICIAL_PARTS):
        ids = hold_out([f'{prefix}{i:06d}' for i in range(100)], split)
    else:
        ids = load_published(cls.NAME, split)[1]
    return frozenset((cls.NAME, i) for i in ids)


def pipelines(dataset):
    """The pipelines of a dataset config, from the inside to the outside."""
    for inner in [dataset.dataset] if 'dataset' in dataset else dataset.get('datasets', ()):
        yield from pipelines(inner)
    if 'pipeline' in dataset:
        yield dataset.pipeline


@pytest.mark.parametrize('path', CONFIGS + DATASET_CONFIGS, ids=name)
def test_parts_of_a_dataset_are_disjoint(path):
    cfg = parsed(path)
    with DefaultScope.overwrite_default_scope('mmseg'):
        train, val, test = (identities(cfg[f'{part}_dataloader'].dataset) for part in ('train', 'val', 'test'))
    assert train
    assert val
    assert test
    assert not train & val
    assert not train & test
    assert not val & test


@pytest.mark.parametrize('path', CONFIGS, ids=name)
def test_concerns_fit_each_other(path):
    """Bases are chosen one by one: pipelines load and pack, training images have the model's size, schedules end."""
    cfg = parse(path)
    train = cfg.train_dataloader.dataset
    sizes = [train.dataset.size] if 'size' in train.dataset else []
    with DefaultScope.overwrite_default_scope('mmseg'):
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            steps = [TRANSFORMS.build(t) for pipeline in pipelines(loader.dataset) for t in pipeline]
            assert type(steps[0]).__name__ == 'LoadIRImage'
            assert [type(t).__name__ for t in steps].count('PackIRSTDInputs') == 1
            assert type(steps[-1]).__name__ == 'PackIRSTDInputs'
            # Training and test see the same channels.
            assert getattr(steps[0], 'channels', 3) == len(cfg.model.data_preprocessor.mean)
            if loader is cfg.train_dataloader:
                sizes += [t.crop_size for t in steps if hasattr(t, 'crop_size')]
    assert tuple(sizes[-1]) == tuple(cfg.model.data_preprocessor.size)
    ends = [scheduler.end for scheduler in cfg.param_scheduler if 'end' in scheduler]
    assert not ends or max(ends) == cfg.train_cfg.max_iters
    # Checkpoints are chosen by the metric, and written where it was measured.
    assert cfg.val_evaluator.type == 'mmirstd.IRSTDMetric'
    assert cfg.default_hooks.checkpoint.save_best == 'IoU'
    assert cfg.default_hooks.checkpoint.interval % cfg.train_cfg.val_interval == 0


def test_averaged_weights_forget_the_initial_ones_early():
    """A run of 100 iterations validates what it has learned: by momentum alone, a third would be initial weights."""
    averaging = dict(parsed(ROOT / '_base_/schedules/fast.py').averaging)
    assert averaging.pop('type') == 'EMAHook'
    model = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(model.weight)
    average = MODELS.build(dict(type=averaging.pop('ema_type'), model=model, **averaging))
    average.update_parameters(model)
    torch.nn.init.zeros_(model.weight)
    for _ in range(100):
        average.update_parameters(model)
    assert average.module.weight.item() < 1e-3
    assert 0.99**100 > 0.3
