"""``torch.export`` and ``torch.onnx.export`` of IRSAM and SAM: whole and by block, with fixed and open sizes."""

import onnxruntime
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from perturbation import randomize
from small_configs import ROOT, parse, shrink
from torch import nn

from mmirstd.models.backbones.sam_vit import PatchEmbed, SAMViTBlock
from mmirstd.models.backbones.tiny_vit import TinyViTBlock

NAMES = ['irsam_tinyvit_nuaa', 'mobile-sam_nuaa', 'irsam_samvit-b_nuaa', 'sam_vit-b_nuaa']


class Logits(nn.Module):
    """A segmentor from images to logits: its tensor mode."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images, mode='tensor')


def logits_of(name):
    """A shrunk model with random weights whose windows are so small that 64 pixels have several in each direction."""
    cfg = shrink(parse(ROOT / f'irsam/{name}.py'))
    inner = cfg.model.backbone.get('backbone', cfg.model.backbone)
    if inner.type == 'mmirstd.TinyViT':
        inner.arch.window_sizes = (2, 2, 3, 2)
    elif inner.type == 'mmirstd.SAMViT':
        inner.window_size = 3
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = Logits(MODELS.build(cfg.model)).eval()
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    return randomize(model, 0, lambda m: m(images).detach()), images


def open_sizes(first, low):
    """Dimensions of (B, C, H, W), or with `first` 1 of (B, H, W, C), that an export leaves open."""
    high = 16 * low
    dims = [torch.export.Dim(name, min=low, max=high) for name in ('height', 'width')]
    return {0: torch.export.Dim('batch', min=1, max=64), first: dims[0], first + 1: dims[1]}


@pytest.mark.parametrize(
    ('block', 'first', 'sizes'),
    [
        (lambda: TinyViTBlock(8, 2, 3, 0.0, False, False), 2, [(2, 8, 10, 13), (1, 8, 9, 9), (3, 8, 8, 20)]),
        (lambda: SAMViTBlock(8, 2, 16, 3, 8, 0.0, False, None), 1, [(2, 10, 13, 8), (1, 9, 9, 8), (3, 8, 20, 8)]),
        (lambda: SAMViTBlock(8, 2, 16, 0, 8, 0.0, False, None), 1, [(2, 10, 13, 8), (1, 8, 8, 8), (3, 9, 20, 8)]),
        (lambda: PatchEmbed(3, 8, 4), 2, [(2, 3, 10, 13), (1, 3, 8, 8), (3, 3, 9, 20)]),
    ],
    ids=['TinyViT', 'SAM-window', 'SAM-global', 'patches'],
)
@torch.no_grad()
def test_blocks_leave_batch_and_size_open(block, first, sizes):
    module = randomize(block().eval())
    program = torch.export.export(module, (torch.randn(sizes[0]),), dynamic_shapes=(open_sizes(first, 8),)).module()
    for size in sizes:
        x = torch.randn(size)
        torch.testing.assert_close(program(x), module(x))


@pytest.mark.parametrize('name', [*NAMES, 'semantic-sam_swin-t_nuaa'])
@torch.no_grad()
def test_models_at_the_size_of_the_example(name, all_tests, tmp_path):
    if not all_tests and name != 'irsam_tinyvit_nuaa':
        pytest.skip('another is exported; MMIRSTD_ALL_TESTS=1 exports all')
    model, images = logits_of(name)
    expected = model(images)
    program = torch.export.export(model, (images,))
    torch.testing.assert_close(program.module()(images), expected)
    torch.onnx.export(program, f=tmp_path / 'model.onnx', dynamo=True, verbose=False)
    close_to(expected, run_onnx(tmp_path / 'model.onnx', images))


@pytest.mark.exhaustive
@pytest.mark.parametrize('name', NAMES)
@torch.no_grad()
def test_models_leave_batch_and_size_open(name, tmp_path):
    model, images = logits_of(name)
    program = torch.export.export(
        model, (images,), dynamic_shapes=(open_sizes(2, 64),), prefer_deferred_runtime_asserts_over_guards=True
    )
    exported = program.module()
    torch.onnx.export(program, f=tmp_path / 'model.onnx', dynamo=True, verbose=False)
    for size in ((2, 3, 64, 96), (1, 3, 64, 64), (3, 3, 112, 80), (1, 3, 65, 70)):
        x = torch.randn(size)
        expected = model(x)
        close_to(expected, exported(x))
        close_to(expected, run_onnx(tmp_path / 'model.onnx', x))


def run_onnx(path, images):
    session = onnxruntime.InferenceSession(path)
    (out,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    return torch.from_numpy(out)


def close_to(expected, got):
    assert got.shape == expected.shape
    assert (got - expected).abs().max() < 1e-3 * expected.std()
