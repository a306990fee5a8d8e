import copy
import re
from pathlib import Path

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmseg.models.backbones import ResNet
from mmseg.registry import TRANSFORMS
from torch import nn

from mmirstd.models.backbones import DiffusedBackbone, QueryEncoder, RepViT, SAMViT, TinyViT
from mmirstd.models.layers import WPMDBlock
from mmirstd.registry import MODELS

REPVIT = dict(type='mmirstd.RepViT', arch=dict(embed_dims=(8, 16, 24), depths=(1, 2, 2)), out_indices=(0, 1, 2))
TINYVIT = dict(
    type='mmirstd.TinyViT',
    arch=dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), num_heads=(1, 2, 3, 4), window_sizes=(4, 4, 4, 4)),
    out_indices=(1,),
    out_merged=True,
    neck_channels=16,
)
SAMVIT = dict(
    type='mmirstd.SAMViT',
    arch=dict(embed_dims=16, depth=3, num_heads=2, global_layers=(2,)),
    img_size=64,
    window_size=2,
    out_indices=(0,),
    neck_channels=8,
)
RESNET = dict(type='mmseg.ResNet', depth=18, base_channels=4, stem_channels=4)


@MODELS.register_module(force=True)
class PlainStages(nn.Module):
    """A backbone of unknown form; its last part returns two maps, one it never calls."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(3, 6, 3, padding=1)
        self.pair = nn.Identity()
        self.unused = nn.Identity()

    def forward(self, x):
        return self.pair((self.one(x), x))


def reference(net, x):
    """What a backbone of the configs above returns with a block of the wrapper after each level, written out."""
    backbone, blocks = net.backbone, dict(zip(net.levels, net.wpmd.values(), strict=True))
    plain = copy.deepcopy(backbone)
    for module in plain.modules():
        if '_diffuse' in module.__dict__:
            module.__class__ = type(module).__bases__[0]

    def after(name, y):
        return blocks[name](y) if name in blocks else y

    if isinstance(plain, RepViT):
        y, outs = plain.stem(x), []
        for i, stage in enumerate(plain.stages):
            y = after(f'stages.{i}', stage(y))
            outs.append(y)
        return outs
    if isinstance(plain, TinyViT):
        y, merged = plain.stem(x), []
        for i, stage in enumerate(plain.stages):
            y = stage.downsample(y) if i else y
            merged.append(y)
            y = after(f'stages.{i}.blocks', stage.blocks(y))
        return [merged[2], plain.neck(y)]
    if isinstance(plain, SAMViT):
        for i, layer in enumerate(plain.blocks):
            layer.register_forward_hook(
                lambda _, __, y, name=f'blocks.{i}': after(name, y.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
            )
        return plain(x)
    y, outs = plain.maxpool(plain.relu(plain.norm1(plain.conv1(x)))), []
    for name in plain.res_layers:
        y = after(name, getattr(plain, name)(y))
        outs.append(y)
    return outs


@pytest.mark.parametrize(
    ('backbone', 'levels', 'widths'),
    [
        (REPVIT, (0, 2), (8, 24)),
        (TINYVIT, (0, 1, 2), (8, 16, 24)),
        (SAMVIT, (0, 1), (16, 16)),
        (RESNET, (0, 3), (4, 32)),
    ],
    ids=['repvit', 'tinyvit', 'samvit', 'resnet'],
)
def test_blocks_stand_after_their_levels(backbone, levels, widths):
    torch.manual_seed(0)
    plain = MODELS.build(backbone)
    net = DiffusedBackbone(backbone, levels, block=dict(num_steps=2)).eval()
    # The weights keep their names.
    assert list(net.backbone.state_dict()) == list(plain.state_dict())
    assert [len(b.gate) for b in net.wpmd.values()] == list(widths)
    x = torch.randn(2, 3, 61, 64)
    for block in net.wpmd.values():
        block.gate.data[:] = torch.rand(len(block.gate))
    with torch.no_grad():
        outs = net(x)
        expected = reference(net, x)
        assert len(outs) == len(expected)
        for a, b in zip(outs, expected, strict=True):
            torch.testing.assert_close(a, b)
        # With closed gates it is the backbone.
        for block in net.wpmd.values():
            nn.init.zeros_(block.gate)
        plain.load_state_dict(net.backbone.state_dict())
        plain.eval()
        for a, b, c in zip(net(x), plain(x), outs, strict=True):
            torch.testing.assert_close(a, b)
            assert not torch.allclose(a, c, atol=1e-4)


def test_every_parameter_learns():
    net = DiffusedBackbone(TINYVIT, (0, 1, 2, 3)).train()
    sum(y.square().mean() for y in net(torch.randn(2, 3, 64, 64))).backward()
    for name, parameter in net.named_parameters():
        if 'wpmd' in name:
            assert parameter.grad.abs().sum() > 0, name
    assert sorted(n for n, _ in net.named_parameters() if 'wpmd' in n)[:2] == [
        'wpmd.stages_0_blocks.gate',
        'wpmd.stages_0_blocks.log_k',
    ]


def test_a_copy_has_blocks_of_its_own():
    """As averaged weights do: deepcopy, then other values in the copy."""
    net = DiffusedBackbone(REPVIT, (0, 1)).eval()
    x = torch.randn(1, 3, 32, 32)
    before = net(x)
    twin = copy.deepcopy(net)
    for block in twin.wpmd.values():
        nn.init.zeros_(block.gate)
    assert all(torch.equal(a, b) for a, b in zip(net(x), before, strict=True))
    for a, b in zip(twin(x), reference(twin, x), strict=True):
        torch.testing.assert_close(a, b)
    assert not torch.allclose(twin(x)[0], before[0])


def test_recomputed_activations_give_the_same_gradients():
    net = DiffusedBackbone({**REPVIT, 'with_cp': True}, (0, 1), block=dict(with_cp=True)).train()
    plain = DiffusedBackbone(REPVIT, (0, 1)).train()
    plain.load_state_dict(net.state_dict())
    x = torch.randn(2, 3, 32, 32)
    for model in (net, plain):
        sum(y.square().mean() for y in model(x)).backward()
    for a, b in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_export():
    net = DiffusedBackbone(REPVIT, (0,)).eval()
    x = torch.randn(1, 3, 32, 32)
    net(x)
    program = torch.export.export(net, (x,))
    for a, b in zip(program.module()(x), net(x), strict=True):
        torch.testing.assert_close(a, b)


def test_deploy():
    net = DiffusedBackbone(REPVIT, (0, 1)).eval()
    x = torch.randn(1, 3, 32, 32)
    before = net(x)
    assert net.switch_to_deploy() > 5
    for a, b in zip(net(x), before, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_pretrained_weights_load(tmp_path):
    plain = MODELS.build(TINYVIT)
    torch.save(plain.state_dict(), tmp_path / 'tiny.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'tiny.pth'))
    net = DiffusedBackbone({**TINYVIT, 'init_cfg': init_cfg}, (0, 1))
    net.init_weights()
    for key, value in plain.state_dict().items():
        assert torch.equal(net.backbone.state_dict()[key], value), key
    assert all((b.gate == 1).all() for b in net.wpmd.values())


def test_inside_and_around_a_query_encoder():
    x = torch.randn(1, 3, 32, 32)
    options = dict(embed_dims=16, num_heads=2, feedforward_channels=16, dense_channels=0)
    inside = QueryEncoder(
        dict(type='mmirstd.DiffusedBackbone', backbone=REPVIT, levels=(1,)),
        stem_names=['backbone.stem'],
        stage_names=[f'backbone.stages.{i}' for i in range(3)],
        in_channels=(8, 16, 24),
        **options,
    ).eval()
    around = DiffusedBackbone(
        dict(type='mmirstd.QueryEncoder', backbone=REPVIT, **options), ('backbone.stages.1',), in_channels=(16,)
    ).eval()
    state = inside.backbone.backbone.state_dict()
    around.backbone.backbone.load_state_dict(state)
    around.backbone.load_state_dict(
        {k: v for k, v in inside.state_dict().items() if not k.startswith('backbone.')}, strict=False
    )
    for a, b in zip(inside(x), around(x), strict=True):
        torch.testing.assert_close(a, b)
    nn.init.zeros_(inside.backbone.wpmd['stages_1'].gate)
    assert not torch.allclose(inside(x)[1], around(x)[1])
    assert around(x).queries.shape == (1, 4, 16)


def test_widths_and_strides_are_the_backbones():
    net = DiffusedBackbone(TINYVIT, (0,))
    assert (net.out_channels, net.out_strides) == ((24, 16), (16, 16))


def test_named_levels_and_their_own_arguments():
    net = DiffusedBackbone(
        dict(type='mmirstd.PlainStages'), ['one'], in_channels=[6], block=[dict(k=3.0, k_unit='level', num_steps=1)]
    )
    x = torch.randn(1, 3, 8, 8)
    block = WPMDBlock(6, k=3.0, k_unit='level', num_steps=1)
    one = nn.functional.conv2d(x, net.backbone.one.weight, net.backbone.one.bias, padding=1)
    torch.testing.assert_close(net(x)[0], block(one))


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (dict(backbone=REPVIT, levels=(0, 3)), ValueError, r"no level 3; its levels are \['stages.0', 'stages.1'"),
        (dict(backbone=REPVIT, levels=()), ValueError, 'at least one'),
        (dict(backbone=REPVIT, levels=(0, 'stages.0')), ValueError, 'must be different'),
        (dict(backbone=REPVIT, levels=('stage0',)), ValueError, "no submodule 'stage0'; its levels are"),
        (
            dict(backbone=dict(type='mmirstd.PlainStages'), levels=('two',)),
            ValueError,
            r"it has \['one', 'pair', 'unused'\]",
        ),
        (dict(backbone=dict(type='mmirstd.PlainStages'), levels=('one',)), TypeError, 'give in_channels'),
        (dict(backbone=REPVIT, levels=(0, 1), in_channels=(8,)), ValueError, '2 levels, 1 in_channels and 2 blocks'),
        (dict(backbone=REPVIT, levels=(0, 1), block=[{}]), ValueError, '2 levels, 2 in_channels and 1 blocks'),
        (dict(backbone=REPVIT, block=dict(dt=3)), ValueError, 'dt must be'),
    ],
)
def test_refusals_when_built(arguments, error, message):
    with pytest.raises(error, match=message):
        DiffusedBackbone(**arguments)


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        # TinyViT calls the parts of a stage, never the stage.
        (dict(backbone=TINYVIT, levels=('stages.1',)), RuntimeError, r"TinyViT does not call \['stages.1'\]"),
        (dict(backbone=REPVIT, levels=(0,), in_channels=(9,)), ValueError, 'has 8 channels, in_channels says 9'),
        (dict(backbone=dict(type='mmirstd.PlainStages'), levels=('pair',)), TypeError, 'a map of four axes, got tuple'),
        (dict(backbone=dict(type='mmirstd.PlainStages'), levels=('unused',)), RuntimeError, 'does not call'),
        (dict(backbone=SAMVIT, levels=(0,), channels_last=False), ValueError, 'has 4 channels'),
    ],
)
def test_refusals_when_run(arguments, error, message):
    widths = {} if 'in_channels' in arguments or arguments['levels'] == (0,) else dict(in_channels=(16,))
    net = DiffusedBackbone(**arguments, **widths)
    with pytest.raises(error, match=message):
        net(torch.randn(2, 3, 64, 64))


def test_snippets_of_the_docs_run():
    text = (Path(__file__).parents[2] / 'docs/concepts/wpmd.md').read_text(encoding='utf-8')
    names = {}
    for snippet in re.findall(r'```python\n(.*?)```', text, flags=re.DOTALL):
        exec(snippet, names)
    assert names['smooth'].shape == (2, 3, 61, 128)
    for pipeline in (names['train_pipeline'], names['test_pipeline']):
        with DefaultScope.overwrite_default_scope('mmseg'):
            steps = [TRANSFORMS.build(step) for step in pipeline]
        assert sum(type(step).__name__ == 'WPMD' for step in steps) == 1
    net = MODELS.build(names['backbone'])
    assert sum(p.numel() for p in net.wpmd.parameters()) == 384
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert ResNet(50, plugins=names['plugins'])
    wrapper = names['optim_wrapper'] | dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4))
    groups = build_optim_wrapper(net, wrapper).param_groups
    assert sorted({group['lr'] for group in groups}) == [1e-4, 1e-2]


def test_resnet_widths():
    net = DiffusedBackbone({**RESNET, 'depth': 50}, (0, 1, 2, 3)).eval()
    assert isinstance(net.backbone, ResNet)
    assert [len(b.gate) for b in net.wpmd.values()] == [y.shape[1] for y in net(torch.rand(1, 3, 64, 64))]
