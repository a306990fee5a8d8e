"""A distillation from its config to the student, with the teacher run online and from a cache."""

import runpy
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, MODELS

from mmirstd.apis import cache_teacher, train
from mmirstd.apis.configuration import OptionError
from mmirstd.checkpoints.loading import load_file
from mmirstd.engine.provenance import OverlapError
from mmirstd.io.feature_store import FeatureStore, FeatureStoreError

ROOT = Path(__file__).resolve().parents[2]
TINY = 'dict(embed_dims=(8, 8, 8, 8), depths=(1, 1, 1, 1))'
CONFIG = """
_base_ = {base!r}
data_root = {data!r}
allow_overlap = {allowed!r}
views = [
    dict(type='mmirstd.TargetAwareCrop', crop_size=(32, 32), target_prob=0.0),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmirstd.InfraredPhotometric'),
    dict(type='mmirstd.PackIRSTDInputs'),
]
load = [dict(type='mmirstd.LoadIRImage'), dict(type='mmirstd.LoadTargetMask')]
images = dict(type='mmirstd.FolderDataset', data_root=data_root, use_masks=False, pipeline=load, serialize_data=False)
def loader(views_, seed, indices, sampler):
    inner = dict(type='MultiImageMixDataset', dataset=dict(**images, indices=indices), pipeline=views)
    dataset = dict(type='mmirstd.IndexedViews', views=views_, seed=seed, dataset=inner)
    return dict(batch_size=2, num_workers=0, sampler=sampler, dataset=dataset)
train_dataloader = loader(2, 0, [0, 1, 2], dict(type='InfiniteSampler', shuffle=True))
val_dataloader = loader(1, 1, [3, 4], dict(type='DefaultSampler', shuffle=False))
val_evaluator = dict(type='mmirstd.HeldOutLossMetric')
val_cfg = dict(type='ValLoop')
preprocessor = dict(type='mmirstd.IRSTDDataPreProcessor', mean=[80.0] * 3, std=[40.0] * 3)
model = dict(
    type='mmirstd.FeatureDistiller',
    student=dict(
        type='mmirstd.QueryEncoder',
        backbone=dict(type='mmirstd.RepViT', arch={tiny}, stem_strides=(1, 2)),
        embed_dims=16, num_heads=2, feedforward_channels=32,
        dense_update=dict(type='mmirstd.ConvDenseUpdate'),
    ),
    student_preprocessor=preprocessor,
    teacher=dict(
        model=dict(type='mmirstd.RepViT', arch={tiny}),
        checkpoint={teacher!r},
        data_preprocessor=dict(inside_size=64, **preprocessor),
        indices=(0, 2),
    ),
    losses=[dict(type='mmirstd.FeatureCosineLoss'), dict(type='mmirstd.FeatureStandardizedLoss')],
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01))
param_scheduler = []
train_cfg = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=3)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=3))
custom_hooks = [
    dict(type='mmirstd.FiniteLossHook'),
    dict(type='EMAHook', ema_type='MomentumAnnealingEMA', momentum=0.01, gamma=8, update_buffers=True),
    dict(type='mmirstd.StudentExportHook'),
]
"""


def save_teacher(path, meta=None, seed=7):
    torch.manual_seed(seed)
    model = MODELS.build(dict(type='mmirstd.RepViT', arch=eval(TINY)))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    torch.save({'state_dict': model.state_dict(), 'meta': meta or {}}, path)


@pytest.fixture
def config(tmp_path, tiny_data, own_mmengine_state):
    """Path of the config of a small distillation."""
    save_teacher(tmp_path / 'teacher.pth')
    path = tmp_path / 'distill.py'
    settings = dict(
        base=str(ROOT / 'configs/_base_/distill_runtime.py'), data=str(tiny_data), teacher=str(tmp_path / 'teacher.pth')
    )
    # Parts of one folder count as one split by name, though they share no image.
    path.write_text(CONFIG.format(**settings, allowed=[], tiny=TINY))
    return path


def built(config, cache=None):
    """The distiller in training mode and its training data."""
    cfg = Config.fromfile(config)
    cfg.model.teacher_cache = cache and str(cache)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model, data = MODELS.build(cfg.model), DATASETS.build(cfg.train_dataloader.dataset)
    model.init_weights()
    return model.train(), data


def test_losses_from_the_cache_are_those_online(config, tmp_path):
    cached = cache_teacher(config, tmp_path / 'cache', workers=0)
    assert (cached.views, cached.computed) == (8, 8)
    online, data = built(config)
    offline, _ = built(config, tmp_path / 'cache')
    assert offline._teacher == ()
    for first in range(0, len(data), 2):
        samples = [data[i] for i in (first, first + 1)]
        images, labels = ([s[key] for s in samples] for key in ('inputs', 'data_samples'))
        expected, got = online(images, labels, mode='loss'), offline(images, labels, mode='loss')
        assert len(got) == 8
        for name, value in expected.items():
            torch.testing.assert_close(got[name], value, rtol=1e-2, atol=0)
    with torch.autocast('cpu', torch.bfloat16):
        offline(images, labels, mode='loss')['map0.loss_cosine'].backward()


def test_distillation_ends_with_a_student_that_a_backbone_loads(config, tmp_path):
    cache_teacher(config, tmp_path / 'cache', workers=0)
    result = train(config, work_dir=tmp_path / 'run', cfg_options={'model.teacher_cache': str(tmp_path / 'cache')})
    assert 'best_held_out_loss' in result.best
    checkpoint = load_file(result.best)
    assert {key.partition('.')[0] for key in checkpoint['state_dict']} == {'backbone', 'projections'}
    student = load_file(tmp_path / 'run/student.pth')
    (trained_on,) = student['meta']['trained_on']
    assert trained_on['ids'] == ['0', '1', '2']
    assert student['meta']['unknown_splits'] == ['teacher.pth']
    cfg = Config.fromfile(config).model.student
    cfg.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'run/student.pth'))
    backbone = MODELS.build(cfg)
    backbone.init_weights()
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, checkpoint['state_dict'][f'backbone.{key}'])


@pytest.mark.exhaustive
def test_training_online_resumes(config, tmp_path):
    train(config, work_dir=tmp_path / 'whole')
    train(config, work_dir=tmp_path / 'run', cfg_options={'train_cfg.max_iters': 3})
    train(config, work_dir=tmp_path / 'run', resume=True)
    a, b = (load_file(tmp_path / name / 'iter_6.pth')['state_dict'] for name in ('whole', 'run'))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_an_interrupted_cache_is_continued_and_can_grow(config, tmp_path):
    cache_teacher(config, tmp_path / 'cache', workers=0, views=1)
    (folder,) = (p for p in (tmp_path / 'cache').iterdir() if FeatureStore(p).num == 3)
    before = FeatureStore(folder).read(1)
    assert cache_teacher(config, tmp_path / 'cache', workers=0, views=1).computed == 0
    (folder / '000000.npy').unlink()
    assert cache_teacher(config, tmp_path / 'cache', workers=0, views=1).computed == 3
    grown = cache_teacher(config, tmp_path / 'cache', workers=0, views=3)
    assert (grown.views, grown.computed) == (11, 9)
    assert all((a == b).all() for a, b in zip(FeatureStore(folder).read(1), before, strict=True))


def test_a_stale_cache_is_refused(config, tmp_path):
    cache = tmp_path / 'cache'
    cache_teacher(config, cache, workers=0)
    options = {'model.teacher_cache': str(cache)}
    with pytest.raises(FeatureStoreError, match='is stale: it holds views'):
        train(config, work_dir=tmp_path / 'a', cfg_options=options | {'train_dataloader.dataset.seed': 5})
    with pytest.raises(FeatureStoreError, match=r'does not hold sample \d+: it has 6'):
        train(config, work_dir=tmp_path / 'b', cfg_options=options | {'train_dataloader.dataset.views': 9})
    with pytest.raises(FeatureStoreError, match='holds no features: run `mmirstd cache-teacher'):
        train(config, work_dir=tmp_path / 'c', cfg_options={'model.teacher_cache': str(tmp_path / 'none')})
    save_teacher(tmp_path / 'teacher.pth', seed=8)
    with pytest.raises(FeatureStoreError, match='is stale: another teacher'):
        train(config, work_dir=tmp_path / 'd', cfg_options=options)
    with pytest.raises(FeatureStoreError, match='is stale: another teacher'):
        cache_teacher(config, cache, workers=0)


def test_a_cache_without_the_teachers_file_says_so(config, tmp_path, warnings):
    cache_teacher(config, tmp_path / 'cache', workers=0)
    (tmp_path / 'teacher.pth').unlink()
    built(config, tmp_path / 'cache')
    assert any('is taken to be of the weights in' in line for line in warnings)


def test_the_images_that_a_teacher_saw_count(config, tmp_path):
    """A student is not evaluated on what its teacher was trained on, also when the teacher comes from a cache."""
    meta = {'trained_on': [{'dataset': 'tiny', 'name': 'all', 'ids': ['3'], 'num': 1, 'sha256': ''}]}
    save_teacher(tmp_path / 'teacher.pth', meta)
    cache_teacher(config, tmp_path / 'cache', workers=0)
    for options in ({}, {'model.teacher_cache': str(tmp_path / 'cache')}):
        with pytest.raises(OverlapError, match=r'teacher\.pth: 1 of 2 images of tiny'):
            train(config, work_dir=tmp_path / f'run{len(options)}', cfg_options=options)


def test_what_cannot_be_cached(config, tmp_path, tiny_config):
    with pytest.raises(OptionError, match='its model EncoderDecoder has no teacher'):
        cache_teacher(tiny_config(), tmp_path / 'cache')
    cfg = Config.fromfile(config)
    cfg.train_dataloader.dataset = cfg.train_dataloader.dataset.dataset
    with pytest.raises(OptionError, match='only the views of'):
        cache_teacher(cfg, tmp_path / 'cache')
    assert not (tmp_path / 'cache').exists()
    with pytest.raises(NotADirectoryError, match=r'teacher\.pth is no folder to write to'):
        cache_teacher(config, tmp_path / 'teacher.pth/cache')


def test_the_command(call, config, tmp_path, capsys):
    assert call('cache-teacher', config, '--out', 'cache', '--views', 1, '--workers', 0) is None
    assert '5 views' in capsys.readouterr().out
    shutil.rmtree(tmp_path / 'cache')
    assert 'DIR' in str(call('cache-teacher', config)) or call('cache-teacher', config) == 2


def test_steps_with_and_without_the_cache_are_timed(config, tmp_path, monkeypatch, capsys):
    cache_teacher(config, tmp_path / 'cache', workers=0)
    tool = runpy.run_path(str(ROOT / 'tools/benchmarks/benchmark_distillation.py'))
    arguments = ['x', str(config), '--cache', str(tmp_path / 'cache'), '--rounds', '2', '--batch', '2']
    monkeypatch.setattr('sys.argv', arguments)
    tool['main']()
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(('| online', '| cache'))]
    assert len(rows) == 2
    assert rows[0].rstrip(' |').endswith('1.00')
