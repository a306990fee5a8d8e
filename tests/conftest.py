"""Shared fixtures: where the real data is, and a job small enough to run for real."""

import logging
import os
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Set before torch is imported: with tiny tensors more threads only cost.
os.environ.setdefault('OMP_NUM_THREADS', '1')
# Not the user's cache of verified files, and no files left in it. Processes that tests start inherit it.
os.environ['MMIRSTD_CACHE'] = ''

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
ALL_TESTS = os.environ.get('MMIRSTD_ALL_TESTS', '') not in ('', '0')


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker of tests that take long and repeat what shorter ones show."""
    config.addinivalue_line('markers', 'exhaustive: runs only with MMIRSTD_ALL_TESTS=1 in the environment')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked ``exhaustive``, unless MMIRSTD_ALL_TESTS=1 asks for it."""
    if not ALL_TESTS:
        skip = pytest.mark.skip(reason='exhaustive: set MMIRSTD_ALL_TESTS=1')
        for item in items:
            if item.get_closest_marker('exhaustive'):
                item.add_marker(skip)


@pytest.fixture(scope='session')
def all_tests() -> bool:
    """Whether MMIRSTD_ALL_TESTS=1 asks for the long form of a test: more examples, whole sets, every config."""
    return ALL_TESTS


@pytest.fixture(scope='session')
def real_data() -> Path:
    """Folder that holds NUAA-SIRST, NUDT-SIRST and IRSTD-1k: MMIRSTD_DATA, or a folder data in or near the checkout."""
    asked = os.environ.get('MMIRSTD_DATA')
    candidates = [Path(asked)] if asked else [ROOT / 'data', ROOT.parent / 'data', *sorted(ROOT.parent.glob('*/data'))]
    for folder in candidates:
        if (folder / 'NUDT-SIRST').is_dir():
            return folder
    if asked:
        pytest.fail(f'MMIRSTD_DATA={asked} holds no NUDT-SIRST')
    pytest.skip('no real data: set MMIRSTD_DATA')


@contextmanager
def _logged(level: int) -> Iterator[list[str]]:
    from mmengine.logging import MMLogger

    lines: list[str] = []
    handler = logging.Handler(level)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Lines that go to the current logger."""
    with _logged(logging.NOTSET) as lines:
        yield lines


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """Warnings that go to the current logger."""
    with _logged(logging.WARNING) as lines:
        yield lines


@pytest.fixture
def own_mmengine_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give a test that runs a Runner MMEngine's global loggers, visualizers, scopes and loaders for itself.

    Configs are dumped without yapf's formatting, which takes longer than training does here.
    """
    from mmengine.config import Config
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import WEIGHT_INITIALIZERS, DefaultScope
    from mmengine.runner import CheckpointLoader
    from mmengine.visualization import Visualizer

    plain = property(lambda cfg: ''.join(f'{k} = {v!r}\n' for k, v in cfg._cfg_dict.to_dict().items()))
    monkeypatch.setattr(Config, 'pretty_text', plain)
    managers = (MMLogger, MessageHub, DefaultScope, Visualizer)
    saved = [dict(m._instance_dict) for m in managers]
    Visualizer._instance_dict.clear()  # one of the same name would draw into its own folder
    schemes = CheckpointLoader._schemes.copy()
    initializers = WEIGHT_INITIALIZERS._module_dict.copy()
    yield
    for manager, instances in zip(managers, saved, strict=True):
        manager._instance_dict.clear()
        manager._instance_dict.update(instances)
    CheckpointLoader._schemes = schemes
    WEIGHT_INITIALIZERS._module_dict = initializers


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., str | int | None]:
    """Run a command of ``mmirstd`` in this process, in the test's folder; returns the line it exits with, or None."""
    from mmirstd.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str | int | None:
        with monkeypatch.context() as m:
            m.setattr(os, 'environ', os.environ.copy())
            try:
                return main(arguments)
            except SystemExit as e:
                return e.code

    return run


@pytest.fixture
def tiny_data(tmp_path: Path) -> Path:
    """A dataset folder: five images of 32 x 32 with one bright 3 x 3 target each."""
    root = tmp_path / 'tiny'
    rng = np.random.default_rng(0)
    for name in ('images', 'masks'):
        (root / name).mkdir(parents=True)
    for i in range(5):
        image = rng.normal(60, 5, (32, 32))
        mask = np.zeros((32, 32), np.uint8)
        y, x = rng.integers(2, 26, 2)
        mask[y : y + 3, x : x + 3] = 255
        image[mask > 0] += 120
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / f'images/{i}.png')
        Image.fromarray(mask).save(root / f'masks/{i}.png')
    return root


@pytest.fixture
def tiny_config(tmp_path: Path, tiny_data: Path, own_mmengine_state: None) -> Callable[..., Path]:
    """Write a config of MMSegmentation's U-Net, five thousand parameters, on ``tiny_data``; ``extra`` is appended."""

    def write(extra: str = '', name: str = 'tiny.py', runtime: str | None = None) -> Path:
        runtime = runtime or str(ROOT / 'configs/_base_/default_runtime.py')
        path = tmp_path / name
        path.write_text(
            textwrap.dedent(f"""
            _base_ = {runtime!r}
            data_root = {str(tiny_data)!r}
            allow_overlap = ['tiny']  # it trains, validates and tests on the same five images
            pipeline = [
                dict(type='mmirstd.LoadIRImage'),
                dict(type='mmirstd.LoadTargetMask'),
                dict(type='PackSegInputs', meta_keys=('img_id', 'img_path', 'seg_map_path', 'ori_shape', 'img_shape')),
            ]
            dataset = dict(
                type='mmirstd.FolderDataset', data_root=data_root, pipeline=pipeline, serialize_data=False
            )
            train_dataloader = dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='InfiniteSampler', shuffle=True),
                dataset=dataset,
            )
            val_dataloader = dict(
                batch_size=1,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dict(**dataset, test_mode=True),
            )
            test_dataloader = val_dataloader
            val_evaluator = dict(type='mmirstd.IRSTDMetric')
            test_evaluator = val_evaluator
            model = dict(
                type='EncoderDecoder',
                data_preprocessor=dict(
                    type='SegDataPreProcessor', mean=[80.0] * 3, std=[40.0] * 3, size=(32, 32), seg_pad_val=255
                ),
                backbone=dict(
                    type='UNet', base_channels=4, num_stages=2, strides=(1, 1), enc_num_convs=(1, 1),
                    dec_num_convs=(1,), downsamples=(True,), enc_dilations=(1, 1), dec_dilations=(1,),
                    norm_cfg=dict(type='BN'),
                ),
                decode_head=dict(
                    type='FCNHead', in_channels=4, channels=4, num_convs=1, concat_input=False, dropout_ratio=0,
                    num_classes=2, out_channels=1, threshold=0.5, norm_cfg=dict(type='BN'),
                    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True, avg_non_ignore=True),
                ),
                train_cfg=dict(),
                test_cfg=dict(mode='whole'),
            )
            optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.02))
            param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=20, by_epoch=False)]
            train_cfg = dict(type='IterBasedTrainLoop', max_iters=6, val_interval=3)
            val_cfg = dict(type='ValLoop')
            test_cfg = dict(type='TestLoop')
            default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=3))
            custom_hooks = [dict(type='mmirstd.CollapseGuardHook')]
            """)
            + textwrap.dedent(extra)
        )
        return path

    return write


@pytest.fixture
def tiny_checkpoint(tmp_path: Path, tiny_config: Callable[..., Path]) -> Path:
    """Weights for ``tiny_config`` without training: random, and scaled so that some pixels are above 0.5."""
    import torch
    from mmengine.config import Config
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(Config.fromfile(tiny_config()).model).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # so that folding changes something
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        model.decode_head.conv_seg.weight.mul_(20)
        logits = model(torch.randn(1, 3, 64, 64))
        model.decode_head.conv_seg.bias.sub_(logits.quantile(0.8))
    path = tmp_path / 'tiny.pth'
    torch.save({'state_dict': model.state_dict(), 'meta': {}}, path)
    return path
