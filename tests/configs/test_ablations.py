"""The shipped variants of recipes: each one makes a training step."""

import copy

import cv2
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, MODELS

from mmirstd.apis.recipe_training import training_digest
from mmirstd.apis.recipe_variants import read_variants
from mmirstd.utils.configs import CONFIGS_DIR

FILES = sorted(CONFIGS_DIR.glob('_base_/ablations/*.py'))
# One of each kind of recipe; all of them with MMIRSTD_ALL_TESTS=1.
SOME = (
    'base',
    'whole-batch2',
    'scale-0.5-2',
    'synthetic-150',
    'bce-sls',
    'focal-iou',
    'deep-0.4',
    'sgd',
    'muon',
    'per-image',
)


def step(cfg):
    """Make a training step of two samples; returns the losses."""
    torch.manual_seed(0)
    scenes = dict(type='mmirstd.SyntheticIRSTDDataset', length=2, size=(256, 256), pipeline=None)
    outer = cfg.train_dataloader.dataset
    inner = outer.dataset
    parts = [part.get('dataset', part) for part in (inner.datasets if 'datasets' in inner else [inner])]
    parts = [part if part.type == scenes['type'] else scenes | dict(pipeline=part.pipeline) for part in parts]
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(dict(outer, dataset=dict(type='ConcatDataset', datasets=parts)))
        model = MODELS.build(cfg.model).train()
        settings = dict(cfg.optim_wrapper, type='OptimWrapper')  # the runner has one for autocast on a CPU
        settings.pop('loss_scale', None)
        wrapper = build_optim_wrapper(model, settings)
        return model.train_step(pseudo_collate([dataset[0], dataset[len(dataset) - 1]]), wrapper)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_each_variant_makes_a_step(path, all_tests):
    cv2.setNumThreads(0)
    base, variants = read_variants(path)
    assert next(iter(variants)) == 'base'
    assert not variants['base']
    assert set(SOME) <= set(variants) or not path.stem.startswith('recipe')
    seen = set()
    for name, change in variants.items():
        cfg = Config(Config._merge_a_into_b(copy.deepcopy(change), base._cfg_dict.to_dict()))
        digest = training_digest(cfg, 1)
        assert digest not in seen, f'{name} is the same as another variant'
        seen.add(digest)
        if all_tests or name in SOME:
            losses = step(cfg)
            assert torch.isfinite(losses['loss']), name
            assert losses['loss'] > 0, name
