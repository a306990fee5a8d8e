"""The configs of distillations: what they fit together, and that their students are those of the SimIR configs."""

from copy import deepcopy

import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS, TRANSFORMS
from small_configs import ALL_CONFIGS, name, parse
from test_configs import identities, pipelines

from mmirstd.models.distillation import Distiller, FrozenTeacher, weight_files

DISTILL = [path for path in ALL_CONFIGS if path.parent.name == 'distill']
DISTILLERS = [path for path in DISTILL if path.stem.startswith(('features_', 'masks_'))]
ROOT = DISTILL[0].parents[1]


def test_there_are_recipes_of_each_kind():
    kinds = {parse(path).model.type for path in DISTILL}
    assert kinds == {'mmirstd.FeatureDistiller', 'mmirstd.MaskDistiller', 'EncoderDecoder'}


@pytest.mark.parametrize('path', DISTILLERS, ids=name)
def test_held_out_images_and_those_of_the_test_are_not_distilled(path):
    cfg = parse(path)
    with DefaultScope.overwrite_default_scope('mmseg'):
        train, val, test = (identities(cfg[f'{part}_dataloader'].dataset) for part in ('train', 'val', 'test'))
        assert train
        assert val
        assert not train & (val | test)
        assert not val & test
        for part in ('train', 'val', 'test'):
            loader = cfg[f'{part}_dataloader']
            assert loader.dataset.type == 'mmirstd.IndexedViews'
            for way in pipelines(loader.dataset):
                steps = [type(TRANSFORMS.build(t)).__name__ for t in way]
                assert steps[0] == 'LoadIRImage'
                assert steps[-1] == 'PackIRSTDInputs'
    assert cfg.val_evaluator.type == 'mmirstd.HeldOutLossMetric'
    assert cfg.default_hooks.checkpoint.save_best == 'held_out_loss'
    assert cfg.default_hooks.checkpoint.interval % cfg.train_cfg.val_interval == 0
    assert max(s.end for s in cfg.param_scheduler) == cfg.train_cfg.max_iters
    assert cfg.custom_hooks[-1].type == 'mmirstd.StudentExportHook'


@pytest.mark.parametrize('path', DISTILLERS, ids=name)
def test_a_teacher_names_its_weights(path):
    teacher = parse(path).model.teacher
    (file,) = weight_files(teacher)
    assert file.startswith('data/weights/')


@pytest.mark.exhaustive
@pytest.mark.parametrize('path', DISTILLERS, ids=name)
def test_a_teacher_is_built(path):
    default = {'output': 'logits'} if path.stem.startswith('masks_') else {}
    assert not FrozenTeacher(**{**default, **parse(path).model.teacher}).loaded


@pytest.mark.parametrize('path', DISTILLERS, ids=name)
def test_a_student_is_that_of_the_simir_configs(path):
    """The base of the model is inherited, so that widths change with it."""
    cfg = parse(path).model
    base = parse(ROOT / ('simir/simir_repvit-fast_nudt.py' if 'fast' in path.stem else 'simir/simir_repvit_nudt.py'))
    student = deepcopy(cfg.student)
    if cfg.type == 'mmirstd.MaskDistiller':
        student.backbone.pop('init_cfg', None)
        assert student == base.model
    else:
        assert student == base.model.backbone
        assert cfg.student_preprocessor == base.model.data_preprocessor


def test_a_distillation_of_a_shipped_config_runs(tmp_path):
    """MobileSAM of random weights, small inside, teaches the fast SimIR."""
    cfg = parse(ROOT / 'distill/features_mobile-sam_simir-fast.py').model
    teacher = MODELS.build(dict(cfg.teacher.model, init_cfg=None))
    torch.save(teacher.state_dict(), tmp_path / 'mobile_sam.pt')
    cfg.teacher.model.init_cfg.checkpoint = str(tmp_path / 'mobile_sam.pt')
    cfg.teacher.data_preprocessor.inside_size = 64
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg)
    model.init_weights()
    assert issubclass(type(model), Distiller)
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    loss, _ = model.train().parse_losses(model(images, [], mode='loss'))
    loss.backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_the_fine_tuned_model_begins_with_what_the_distillation_leaves():
    for path, part in (
        ('simir_repvit-fast_distilled_nudt', 'backbone'),
        ('masks_mobile-sam_simir-fast_distilled_nuaa', 'student'),
    ):
        model = parse(ROOT / f'distill/{path}.py').model
        backbone = model[part] if part == 'backbone' else model[part].backbone
        assert backbone.init_cfg.checkpoint == 'work_dirs/features_mobile-sam_simir-fast/student.pth'
