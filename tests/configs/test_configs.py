"""Every config is built, run forward and backward, and evaluated once, shrunk where it is large."""

from copy import deepcopy
from functools import cache

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.dataset import pseudo_collate
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from small_configs import (
    ALL_CONFIGS,
    CONFIGS,
    ROOT,
    chooses,
    first_of_each_kind,
    is_buildable,
    name,
    parse,
    parsed,
    small_model,
    small_size,
    training_batch,
)
from torch import nn

from mmirstd.datasets.published_splits import hold_out, load_published, official_prefix

DATASET_CONFIGS = sorted((ROOT / '_base_' / 'datasets').glob('[!_]*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=name)
def test_config_trains_and_predicts(path, all_tests):
    if not all_tests and path not in first_of_each_kind():
        pytest.skip('another config of the same modules is built; MMIRSTD_ALL_TESTS=1 builds all')
    if not is_buildable(path):
        pytest.skip('needs mmpretrain: tests/interop builds it')
    torch.manual_seed(0)  # a clamped head is dead in some draws of weights
    model, size = small_model(path), small_size(path)
    size = (size * 3 // 4, size * 5 // 4)  # no part takes crops to be square
    model.init_weights()
    model.train()
    data = training_batch(model, size)
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert torch.isfinite(loss)
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused, 'distributed training fails on parameters without a gradient'
    assert any(p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad)
    model.eval()
    with torch.no_grad():
        (result,) = model(data['inputs'][:1], data['data_samples'][:1], mode='predict')
    assert result.seg_logits.data.shape == (1, *size)


@pytest.mark.parametrize('path', sorted(first_of_each_kind()), ids=name)
def test_probabilities_are_float32_in_any_precision(path):
    """Under autocast, and after ``model.half()`` and ``model.bfloat16()``, with positions in half precision."""
    if not is_buildable(path):
        pytest.skip('needs mmpretrain: tests/interop builds it')
    torch.manual_seed(0)
    model, size = small_model(path).eval(), small_size(path) // 2
    images = torch.randint(0, 256, (1, len(model.data_preprocessor.mean), size, size - 5), dtype=torch.uint8)

    @torch.no_grad()
    def predict():
        sample = SegDataSample(metainfo=dict(img_shape=images.shape[2:], ori_shape=images.shape[2:]))
        return model.test_step(dict(inputs=list(images), data_samples=[sample]))[0].seg_logits.data

    expected = predict()
    assert expected.dtype == torch.float32
    with torch.autocast('cpu', torch.bfloat16):
        got = [predict()]
    for dtype in (torch.bfloat16, torch.float16):
        model.to(dtype)
        got.append(predict())
    for probability in got:
        assert probability.dtype == torch.float32
        assert probability.isfinite().all()
        if not chooses(model):
            torch.testing.assert_close(probability, expected, atol=0.01, rtol=0)


def test_leaves_are_short():
    """A config picks its bases and changes little; a model's part is a base of its own."""
    long = {name(path): n for path in ALL_CONFIGS if (n := len(path.read_text().splitlines())) > 10}
    assert not long, 'more than ten lines: move the model to configs/_base_/models'


def identities(dataset):
    """What tells the samples of a dataset config apart, without its files."""
    if dataset.type == 'ConcatDataset':
        return set().union(*map(identities, dataset.datasets))
    if dataset.type in ('MultiImageMixDataset', 'RepeatDataset', 'mmirstd.IndexedViews'):
        return identities(dataset.dataset)
    if dataset.type == 'mmirstd.SyntheticIRSTDDataset':
        built = DATASETS.build({**dataset, 'length': 50, 'serialize_data': False})
        return {tuple(built.get_data_info(i)['scene_seed']) for i in range(50)}
    if dataset.type == 'mmirstd.SyntheticSequenceDataset':
        built = DATASETS.build({**dataset, 'length': 10 * dataset.frames, 'serialize_data': False})
        return {tuple(built.get_data_info(i)['scene_seed']) for i in range(len(built))}
    return ids_of_split(DATASETS.get(dataset.type), dataset.split)


@cache
def ids_of_split(cls, split):
    if prefix := official_prefix(split, cls.OFFICIAL_PARTS):
        ids = hold_out([f'{prefix}{i:06d}' for i in range(100)], split)
    else:
        ids = load_published(cls.NAME, split)[1]
    return frozenset((cls.NAME, i) for i in ids)


def pipelines(dataset):
    """The ways of a sample through a dataset config, one for each dataset with files: lists of transforms."""
    inner = [*dataset.get('datasets', ()), *([dataset.dataset] if 'dataset' in dataset else ())]
    ways = [way for d in inner for way in pipelines(d)] or [[]]
    return [[*way, *dataset.get('pipeline', ())] for way in ways]


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
            for way in pipelines(loader.dataset):
                steps = [TRANSFORMS.build(t) for t in way]
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


def test_irsam_trains_on_oblong_crops():
    """From its own pipeline, Canny's edges included, to the gradient; the longer side is brought to `inside_size`."""
    path = ROOT / 'irsam/irsam_tinyvit_released_nuaa.py'
    rng = np.random.default_rng(0)
    sample = dict(img=rng.integers(0, 256, (70, 90, 3), np.uint8), gt_seg_map=np.zeros((70, 90), np.uint8))
    sample['gt_seg_map'][30:36, 40:45] = 1
    sample |= dict(seg_fields=['gt_seg_map'], img_shape=(70, 90), ori_shape=(70, 90), img_path='70x90.png')
    jitter, crop, *rest = parse(path).train_pipeline
    steps = [dict(jitter, scale=(80, 48)), dict(crop, crop_size=(48, 80), target_prob=1.0), *rest]
    with DefaultScope.overwrite_default_scope('mmseg'):
        pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    packed = [pipeline(deepcopy(sample)) for _ in range(2)]
    model = small_model(path).train()
    model.data_preprocessor.size = (48, 80)
    data = model.data_preprocessor(pseudo_collate(packed), training=True)
    assert data['inputs'].shape == (2, 3, 38, 64)
    loss, values = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    assert values['decode.loss_edge'] > 0
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_irsam_has_the_released_schedule():
    """``CosineAnnealingLR(T_max=50)`` for 1,001 epochs: the rate goes down and up ten times."""
    cfg = parse(ROOT / 'irsam/irsam_tinyvit_released-1001e_nuaa.py')
    epoch = cfg.epoch
    assert epoch == -(-191 // cfg.train_dataloader.batch_size)
    assert cfg.train_cfg.max_iters == 1001 * epoch
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], cfg.optim_wrapper.optimizer.lr)
    scheduler = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler[0], optimizer=optimizer))
    rates = []
    for _ in range(cfg.train_cfg.max_iters):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    epochs = np.arange(1001)
    np.testing.assert_allclose(rates[::epoch], 1e-4 * (1 + np.cos(np.pi * epochs / 50)) / 2, atol=1e-10)


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
