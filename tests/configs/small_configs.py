"""The shipped configs, and their models shrunk so that a test can build, run and train each."""

from copy import deepcopy
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import mmirstd  # noqa: F401  makes 'mmirstd::' and 'mmseg::' known to configs

ROOT = Path(__file__).parents[2] / 'configs'
ALL_CONFIGS = sorted(path for path in ROOT.rglob('*.py') if '_base_' not in path.parts)
# Those of segmentors with weights. Of the others: test_classical_configs.py and test_distill_configs.py.
CONFIGS = [path for path in ALL_CONFIGS if path.parent.name not in ('classical', 'distill')]
# What changes neither the network nor its losses.
APART = ('init_cfg', 'data_preprocessor', 'with_cp', 'test_cfg', 'pretrained')

# Heads that look at regions chosen by values, which another precision may choose otherwise.
CHOOSING_HEADS = ('RegionHead', 'InteriorAttentionHead')


def chooses(model):
    """Whether the head of a model looks at chosen regions only."""
    return type(model.decode_head).__name__ in CHOOSING_HEADS


def name(path):
    return str(path.relative_to(ROOT).with_suffix(''))


@cache
def parsed(path):
    return Config.fromfile(path, import_custom_modules=False)


def parse(path):
    return deepcopy(parsed(path))


def module_types(node):
    """The types of all modules that a model's config names."""
    if isinstance(node, dict):
        return [node.get('type'), *chain.from_iterable(map(module_types, node.values()))]
    return list(chain.from_iterable(map(module_types, node))) if isinstance(node, (list, tuple)) else []


def is_buildable(path):
    """Whether all packages are there that the config's modules are from."""
    return find_spec('mmpretrain') or not any(str(t).startswith('mmpretrain') for t in module_types(parsed(path).model))


def firsts(kind):
    """The config with the shortest name of each kind; `kind` is a function from path to a value."""
    kinds = {}
    for path in sorted(CONFIGS, key=lambda path: (path.parent, len(path.name))):
        kinds.setdefault(kind(path), path)
    return set(kinds.values())


@cache
def first_of_each_kind():
    """The first config of each combination of modules."""
    return firsts(lambda path: frozenset(filter(None, module_types(parsed(path).model))))


@cache
def first_of_each_network():
    """The first config of each network: shrunk, it differs from the others in an argument or a loss."""
    return firsts(network_of)


@cache
def network_of(path):
    """What tells the shrunk network and its losses from others."""
    return repr(_without(shrink(parse(path)).model, APART))


def _without(node, keys):
    if isinstance(node, dict):
        return {key: _without(value, keys) for key, value in sorted(node.items()) if key not in keys}
    return [_without(value, keys) for value in node] if isinstance(node, (list, tuple)) else node


def shrink(cfg):
    """Make large networks narrow, images inside them small and point sampling short; nothing is loaded.

    A module that is not known here keeps its size.
    """
    backbone, head = cfg.model.backbone, cfg.model.decode_head
    neck = cfg.model.get('neck') or {}
    inner = backbone.get('backbone', backbone)
    for part in (inner, neck, head):
        if part.get('init_cfg'):
            part.init_cfg = None
    if cfg.model.data_preprocessor.get('inside_size'):
        cfg.model.data_preprocessor.inside_size = 64
    early = head.get('early_channels')
    narrow = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1))
    if inner.type == 'mmirstd.RepViT':
        inner.arch = narrow
        if head.type == 'UPerHead':
            head.update(in_channels=list(narrow['embed_dims']), channels=16)
            cfg.model.auxiliary_head.update(in_channels=narrow['embed_dims'][2], channels=16)
        if neck.get('type') == 'mmirstd.EdgeSAMNeck':
            neck.in_channels = narrow['embed_dims'][2:]
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
    elif inner.type == 'mmirstd.GradientEncoder':
        inner.num_blocks = [1, 1, 1]
        cfg.model.neck.num_blocks = [1, 1]
        head.edge_channels = 8
    elif inner.type == 'mmirstd.LinearFusionEncoder':
        widths = [4, 8, 8, 8, 8]
        inner.update(channels=widths, image_size=64)
        cfg.model.neck.in_channels = widths
        for part, width in zip((head, *cfg.model.auxiliary_head), (widths[0], *widths), strict=True):
            part.in_channels = width
    elif inner.type == 'mmirstd.InteriorEncoder':
        inner.proposals.update(base_channels=4, init_cfg=None)
        head.update(in_channels=[1, 16], pixel_channels=[8, 8, 8], embed_dims=16)
        head.update(num_layers=1, num_heads=2, feedforward_channels=32, warmup_iters=0)
    elif inner.type == 'mmirstd.EdgeGuidedEncoder':
        inner.channels = 4
        cfg.model.neck.in_channels = [16, 32, 32] * 2
        head.update(in_channels=8, channels=8)
    elif inner.type == 'mmirstd.UnfoldedRPCA':
        inner.update(num_stages=2, channels=4, light_channels=inner.get('light_channels') and 4)
    elif inner.type == 'mmirstd.DirectionalEncoder':
        # One hidden channel, as published, is dead in every second draw of weights.
        inner.reduction = 4
    elif inner.type == 'mmirstd.EdgeCompensationEncoder':
        inner.channels = cfg.model.neck.in_channels = [4, 8, 8]
        head.update(in_channels=8, channels=8)
    elif inner.type == 'mmirstd.ContextAggregation':
        inner.channels = [4] * len(inner.channels)
        head.in_channels = 4
    elif inner.type == 'mmirstd.ParallelBackbones':
        for branch in inner.branches:
            branch.channels = [4] * len(branch.channels)
        head.in_channels = [4] * len(inner.branches)
        cfg.model.discriminator.update(channels=4, hidden_channels=(8, 8), pooled_size=8)
    elif inner.type == 'mmirstd.ResidualUNetEncoder':
        widths, blocks = [4, 8, 8, 8, 8], [1, 1, 2, 1, 1]
        inner.update(channels=widths, num_blocks=blocks)
        cfg.model.neck.in_channels = widths
        if neck.type == 'mmirstd.DenselyNestedPyramid':
            cfg.model.neck.num_blocks = blocks
            for part in (head, *cfg.model.auxiliary_head):
                part.in_channels = widths[0]
        elif neck.type == 'mmirstd.ResidualUNetDecoder':
            cfg.model.neck.num_blocks = blocks[:-1]
            head.in_channels = widths[:-1]
        else:
            # Wide where it is coarse, or its attention hardly shows.
            widths = [4, 8, 8, 16, 16]
            inner.channels = cfg.model.neck.in_channels = widths
            cfg.model.neck.num_layers = 1
            head.in_channels = [widths[0], *widths[:3], widths[4]]
    elif inner.type == 'mmirstd.UBlockEncoder':
        # Gates have a quarter of the channels inside; two are dead for many draws of weights.
        widths = [4, 16, 16, 16, 16, 16]
        inner.update(channels=widths, inner_channels=[4] * 6)
        head.in_channels = [4, *widths[:-2], 16]
        cfg.model.neck.update(in_channels=widths, channels=head.in_channels, inner_channels=[4] * 5)
    small = dict(num_heads=2, feedforward_channels=32)
    if backbone.type == 'mmirstd.QueryEncoder':
        backbone.update(small, embed_dims=16, out_channels=16)
        neck.update(in_channels=[16] * len(neck.in_channels), out_channels=16)
    if neck.get('type') == 'mmirstd.QueryFPN':
        norm_cfg = neck.get('norm_cfg') or dict(type='GN', num_groups=4)
        neck.update(small, out_channels=16, query_channels=16, norm_cfg=norm_cfg)
    if head.type == 'mmirstd.QuerySAMHead':
        head.update(small, in_channels=16, channels=16, mask_channels=(16, 8))
    if inner.type == 'ResNetV1c':
        inner.base_channels = 8
        (backbone if inner is not backbone else neck).in_channels = [8, 16, 32, 64]
    if head.get('early_channels'):
        head.early_channels = early
    if head.get('warmup_iters'):
        head.update(warmup_iters=0, loss_warmup=None)
    losses = cfg.model.decode_head.loss_decode
    if isinstance(losses, dict) and losses.type == 'mmirstd.PointSampledLoss':
        losses.num_points = 256
    return cfg


def small_model(path):
    """Build the shrunk model of a config."""
    cfg = shrink(parse(path))
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model)


def small_size(path):
    """Height and width of test images: a backbone that keeps the size of the image costs 16 times as much."""
    return 16 if parsed(path).model.backbone.get('backbone', {}).get('stem_strides') == (1, 1) else 64


def logits_of(path, model, batch=2):
    """A function from model to the final logits of random images, the same each time."""
    size = small_size(path)
    shape = (batch, len(model.data_preprocessor.mean), size, size)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    metas = [dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape'), (size, size))] * batch
    return lambda m: m.encode_decode(images, metas)


def training_batch(model, size, batch=2, seed=0):
    """Random images and sparse labels through the model's preprocessor, as a training step gets them.

    `size` is height and width, or both.
    """
    size = size if isinstance(size, tuple) else (size, size)
    generator = torch.Generator().manual_seed(seed)
    samples = []
    for _ in range(batch):
        sample = SegDataSample(metainfo=dict(img_shape=size, ori_shape=size))
        sample.gt_sem_seg = PixelData(data=(torch.rand(1, *size, generator=generator) < 0.05).long())
        sample.gt_edge_map = sample.gt_sem_seg.clone()
        samples.append(sample)
    channels = len(model.data_preprocessor.mean)
    images = torch.randint(0, 256, (batch, channels, *size), dtype=torch.uint8, generator=generator)
    model.data_preprocessor.size = size
    return model.data_preprocessor(dict(inputs=list(images), data_samples=samples), training=True)
