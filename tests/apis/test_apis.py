"""What ``mmirstd.apis`` exports."""

import subprocess
import sys
from types import ModuleType

import pytest
from mmengine.config import Config

from mmirstd import apis
from mmirstd.apis.configuration import parse_options, run_config
from mmirstd.apis.testing import set_presets


def test_every_name_is_what_it_says_whatever_was_imported_before():
    for name in apis.__all__:
        value = getattr(apis, name)  # imports the module, which python then sets as an attribute of the package
        assert getattr(apis, name) is value
        assert not isinstance(value, ModuleType)
        assert value.__name__ == name or name == 'list_models'
        assert value.__doc__
    assert set(dir(apis)) == set(apis.__all__)


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        apis.trian  # noqa: B018


def test_importing_the_package_imports_no_torch():
    code = 'import sys, mmirstd.apis; assert "torch" not in sys.modules'
    subprocess.run([sys.executable, '-c', code], check=True)


def test_one_text_is_one_name_and_not_its_characters():
    cfg = Config({'test_evaluator': {'type': 'mmirstd.IRSTDMetric'}})
    set_presets(cfg, 'dnanet')
    assert cfg.test_evaluator.presets == ['dnanet']
    assert parse_options('model.backbone.depth=3') == {'model.backbone.depth': 3}
    chosen = run_config('sgem_unet-s_synthetic', (), cfg_options='randomness.seed=3', allow_overlap='NUAA-SIRST')
    assert (chosen.randomness.seed, chosen.allow_overlap) == (3, ['NUAA-SIRST'])


def test_no_workers_do_not_persist():
    cfg = run_config('sgem_unet-s_synthetic', ('train', 'val'), cfg_options='train_dataloader.num_workers=0')
    assert (cfg.train_dataloader.persistent_workers, cfg.val_dataloader.persistent_workers) == (False, True)
