"""The parts of SimIR alone, together, and mixed with MMSegmentation's."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from perturbation import part_effects, randomize, stubs
from torch import nn

from mmirstd.models.backbones.query_encoder import split_stages
from mmirstd.models.layers import QueryFeatures

REPVIT = dict(type='mmirstd.RepViT', arch=dict(embed_dims=(8, 16, 24), depths=(1, 1, 2)), out_indices=(0, 1, 2))
REPVIT4 = dict(type='mmirstd.RepViT', arch=dict(embed_dims=(8, 8, 8, 8), depths=(1, 1, 1, 1)))
RESNET = dict(type='ResNet', depth=18, base_channels=8, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1))
RESNET |= dict(out_indices=(0, 1, 2), norm_cfg=dict(type='BN'))
SMALL = dict(num_heads=2, feedforward_channels=24)
NORM = dict(type='GN', num_groups=4)
DEFORM = dict(type='mmirstd.DeformableDenseUpdate', num_heads=4, feedforward_channels=24)
CONV = dict(type='mmirstd.ConvDenseUpdate')
LOSSES = [dict(type='mmirstd.BinaryCrossEntropyLoss'), dict(type='mmirstd.BinaryDiceLoss')]


def encoder(**kwargs):
    return dict(type='mmirstd.QueryEncoder', backbone=REPVIT, embed_dims=16, dense_update=DEFORM, **SMALL) | kwargs


def fpn(**kwargs):
    return dict(type='mmirstd.QueryFPN', in_channels=[16] * 3, out_channels=16, norm_cfg=NORM, **SMALL) | kwargs


def head(**kwargs):
    cfg = dict(type='mmirstd.QuerySAMHead', in_channels=16, channels=16, mask_channels=(16, 8), loss_decode=LOSSES)
    return cfg | SMALL | kwargs


def segmentor(backbone, neck, decode_head):
    cfg = dict(
        type='EncoderDecoder', backbone=backbone, neck=neck, decode_head=decode_head, test_cfg=ConfigDict(mode='whole')
    )
    return MODELS.build(copy.deepcopy(cfg))


def samples(batch, size, fill=None):
    result = []
    for _ in range(batch):
        label = (torch.rand(1, *size) < 0.02).long() if fill is None else torch.full((1, *size), fill)
        sample = SegDataSample(metainfo=dict(ori_shape=size, img_shape=size, pad_shape=size))
        sample.gt_sem_seg = PixelData(data=label)
        result.append(sample)
    return result


def train_step(model, size=(64, 64), batch=2, fill=None):
    """One forward and backward pass; returns the losses and the names of parameters without gradient."""
    model.train()
    losses = model.loss(torch.randn(batch, 3, *size), samples(batch, size, fill))
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return losses, [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize('size', [(64, 64), (37, 51), (32, 80)])
@pytest.mark.parametrize('update', [DEFORM, CONV], ids=['deform', 'conv'])
def test_simir_trains_and_predicts_at_any_size(size, update):
    model = segmentor(encoder(dense_update=update), fpn(), head())
    losses, unused = train_step(model, size)
    names = {f'decode.{mask}loss_{loss}' for mask in ('', 'early.', 'neck.') for loss in ('bce', 'dice')}
    assert set(losses) == names | {'decode.target_prob'}
    assert not unused
    model.eval()
    with torch.no_grad():
        results = model.predict(torch.randn(2, 3, *size), samples(2, size))
    for result in results:
        assert result.seg_logits.data.shape == (1, *size)
        assert result.seg_logits.data.min() >= 0
        assert result.seg_logits.data.max() <= 1
        assert result.pred_sem_seg.data.unique().tolist() in ([0], [1], [0, 1])


def test_one_and_an_all_ignored_batch():
    losses, _ = train_step(segmentor(encoder(), fpn(), head()), batch=2, fill=255)
    assert all(value == 0 for name, value in losses.items() if 'loss' in name)
    assert 'decode.target_prob' not in losses


# The early mask trains the queries; no prediction reads it.
EARLY_MASK = {f'backbone.dense.mask_{part}': 'the early mask alone' for part in ('norm', 'mlp', 'conv')}


@pytest.mark.parametrize(
    ('change', 'neck', 'allowed'),
    [
        ({}, {}, EARLY_MASK),
        (dict(dense_update=CONV, dense_carry_all=True, early_mlp_layers=2), dict(shared_weights=True), EARLY_MASK),
        (dict(query_places=(1, 2), dense_places=(1,)), dict(query_levels=(1, 2)), EARLY_MASK),
        (dict(dense_channels=0), {}, {}),
        (dict(backbone=RESNET, in_channels=[8, 16, 32]), {}, EARLY_MASK),
    ],
    ids=['released', 'paper', 'some places', 'sparse alone', 'ResNet'],
)
def test_every_part_changes_the_prediction(change, neck, allowed):
    model = segmentor(encoder(**change), fpn(**neck), head())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    effects = part_effects(model, lambda m: m.decode_head(m.extract_feat(x)), depth=4)
    assert len(effects) > 50
    assert not stubs(effects, allowed)


def test_the_perturbation_test_sees_a_stub():
    """Dense queries without places at which they enter the trunk, as they were before, and an unused layer."""
    model = segmentor(encoder(), fpn(), head())
    model.decode_head.idle = nn.Linear(2, 2)
    for project in model.backbone.dense.project_out:
        project.register_forward_hook(lambda *args: torch.zeros_like(args[-1]))
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found = stubs(part_effects(model, lambda m: m.decode_head(m.extract_feat(x)), depth=3), EARLY_MASK)
    assert found.keys() == {
        'decode_head.idle',
        *(f'backbone.dense.{part}' for part in ('project_stem', 'project_in', 'updates', 'project_out')),
    }
    with pytest.raises(AssertionError, match=r'neck\.queries need not be allowed'):
        stubs({'neck.queries': 0.5}, {'neck.queries': 'no reason'})


def test_zero_init_leaves_the_backbone_undisturbed():
    torch.manual_seed(0)
    model = MODELS.build(encoder(zero_init=True))
    x = torch.randn(1, 3, 64, 64)
    outputs = []
    for stage in model.backbone.stages:
        stage[-1].register_forward_hook(lambda _, __, out: outputs.append(out))
    model.init_weights()
    model.eval()
    plain = model.backbone(x)
    outputs.clear()
    model(x)
    for before, after in zip(plain, outputs, strict=True):
        torch.testing.assert_close(after, before)
    nn.init.ones_(model.dense.project_out[0].norm.weight)  # the first update, after the only block of stage 1
    outputs.clear()
    model(x)
    torch.testing.assert_close(outputs[:2], list(plain[:2]))
    assert not torch.allclose(outputs[2], plain[2], atol=1e-3)
    _, unused = train_step(segmentor(encoder(zero_init=True), fpn(), head()))
    assert not unused


def test_queries_meet_features_after_the_stem_and_each_down_sampling():
    """Place by place: what a zeroed projection leaves alone, and what it changes."""
    model = randomize(MODELS.build(encoder(dense_channels=0)))
    x = torch.randn(1, 3, 64, 64)
    seen = []
    for module in (model.backbone.stem, *(stage[0] for stage in model.backbone.stages)):
        module.register_forward_hook(lambda _, inputs, out: seen.append((inputs[0], out)))
    model(x)
    with_queries = list(seen)
    assert not torch.allclose(with_queries[0][1], with_queries[1][0])  # added between stem and first block
    last = model.backbone.stages[2]
    assert len(last) == 2
    inputs = []
    last[1].register_forward_hook(lambda _, given, __: inputs.append(given[0]))
    seen.clear()
    model(x)
    assert not torch.allclose(seen[3][1], inputs[0])  # added inside the stage, before its second block
    nn.init.zeros_(model.sparse.project_out[2].norm.weight)
    nn.init.zeros_(model.sparse.project_out[2].norm.bias)
    model(x)
    torch.testing.assert_close(seen[7][1], inputs[1])


@pytest.mark.parametrize('carry_all', [False, True])
def test_which_dense_queries_are_carried_on(carry_all):
    model = randomize(MODELS.build(encoder(dense_carry_all=carry_all, backbone=REPVIT4, query_places=(1,))))
    taken, made = [], []
    for update in model.dense.updates:
        update.register_forward_hook(lambda _, inputs, out: taken.append(inputs[0]) or made.append(out[0]))
    masks = []
    model.dense.mask_conv.register_forward_hook(lambda _, inputs, __: masks.append(inputs[0]))
    model(torch.randn(1, 3, 32, 32))
    assert len(taken) == 3
    assert taken[1] is made[0]
    assert taken[2] is (made[1] if carry_all else made[0])
    assert masks[0] is made[2]


def test_encoder_outputs():
    model = MODELS.build(encoder(num_queries=3))
    out = model(torch.randn(2, 3, 64, 64))
    assert [tuple(x.shape) for x in out] == [(2, 16, 16, 16), (2, 16, 8, 8), (2, 16, 4, 4)]
    assert out.queries.shape == (2, 3, 16)
    assert out.early_mask.shape == (2, 1, 16, 16)
    assert not torch.equal(out.queries[0], out.queries[1])
    assert not torch.allclose(out.early_mask[0], out.early_mask[1])
    with torch.no_grad():
        assert model.eval()(torch.randn(1, 3, 32, 32)).early_mask is None
    assert model(torch.randn(1, 3, 32, 32)).early_mask is not None
    assert MODELS.build(encoder(dense_channels=0))(torch.randn(2, 3, 32, 32)).early_mask is None


@pytest.mark.parametrize('wrap', [encoder, fpn, head])
def test_checkpointing_changes_memory_alone(wrap):
    parts = {f.__name__: f(dropout=0.0) if f is not head else f() for f in (encoder, fpn, head)}
    model = segmentor(parts['encoder'], parts['fpn'], parts['head'])
    twin = copy.deepcopy(model)
    module = dict(encoder=twin.backbone, fpn=twin.neck, head=twin.decode_head)[wrap.__name__]
    assert module.with_cp is False
    module.with_cp = True
    x, truth = torch.randn(2, 3, 64, 64), samples(2, (64, 64))
    gradients = []
    for m in (model, twin):
        losses = m.loss(x, truth)
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        gradients.append({name: p.grad for name, p in m.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_checkpointed_levels_count_the_batch_once():
    cfg = fpn(dropout=0.0, num_encoder_queries=0, norm_cfg=dict(type='BN'))
    model = MODELS.build(cfg)
    twin = copy.deepcopy(model)
    twin.with_cp = True
    maps = tuple(torch.randn(2, 16, n, n) for n in (16, 8, 4))
    for neck in (model, twin):
        sum(x.mean() for x in neck(maps)).backward()
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(dict(twin.named_buffers())[name], buffer, msg=name)


@pytest.mark.parametrize(
    ('stem_names', 'stage_names', 'backbone'),
    [
        (None, None, RESNET),
        (None, None, RESNET | dict(type='ResNetV1c')),
        (('conv1', 'bn1', 'relu', 'maxpool'), ('layer1', 'layer2', 'layer3'), RESNET),
    ],
)
def test_the_encoder_wraps_mmsegmentations_resnet(stem_names, stage_names, backbone):
    cfg = encoder(backbone=backbone, in_channels=[8, 16, 32], stem_names=stem_names, stage_names=stage_names)
    _, unused = train_step(segmentor(cfg, fpn(), head()))
    assert not unused
    model = MODELS.build(cfg).eval()
    model.init_weights()
    x = torch.randn(1, 3, 64, 64)
    stem, stages = split_stages(model.backbone, stem_names, stage_names)
    y = stem(x)
    for stage, expected in zip(stages, model.backbone(x), strict=True):
        y = stage(y)
        torch.testing.assert_close(y, expected)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(in_channels=[8, 16]), 'widths of the 3 stages of RepViT'),
        (dict(num_queries=0), 'num_queries=0'),
        (dict(query_places=(3,)), r'query_places=\(3,\) must be some of the places 0 to 2'),
        (dict(query_places=()), r'query_places=\(\) must be'),
        (dict(dense_places=(0,)), r'dense_places=\(0,\) must be some of the places 1 to 2'),
        (dict(stage_names=('stages.0', 'stages.1'), in_channels=[8, 16]), 'stage_names without stem_names'),
        (dict(dense_update=DEFORM | dict(num_heads=3)), 'embed_dims=8 is not a multiple of num_heads=3'),
        (dict(stage_names=('stages.0', 'stages.9'), in_channels=[8, 16]), r"no submodule \['stages.9'\]"),
    ],
)
def test_encoder_errors(change, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(encoder(**change))


def test_a_backbone_without_stages_is_refused():
    with pytest.raises(TypeError, match='stages of Conv2d'):
        split_stages(nn.Conv2d(1, 1, 1))


def test_queries_off_entirely():
    """A plain backbone, the plain FPN, a decoder with its own queries."""
    model = segmentor(
        REPVIT,
        dict(type='mmirstd.TinyFPN', in_channels=[8, 16, 24], out_channels=16, norm_cfg=NORM),
        head(query_source='learned', prompt_channels=None, aux_weights={}),
    )
    losses, unused = train_step(model)
    assert not unused
    assert set(losses) == {'decode.loss_bce', 'decode.loss_dice', 'decode.target_prob'}


def test_fpn_queries_without_encoder_queries():
    own = head(num_queries=4, aux_weights=dict(neck=1.0))
    model = segmentor(REPVIT, fpn(in_channels=[8, 16, 24], num_encoder_queries=0), own)
    _, unused = train_step(model)
    assert not unused


def test_the_fast_form():
    """Narrower pyramid than encoder, queries at coarse levels, transformer at a coarse map, mask upscaled."""
    model = segmentor(
        encoder(backbone=REPVIT | dict(stem_strides=(1, 2)), query_places=(1, 2)),
        fpn(out_channels=8, query_channels=16, query_levels=(2,), mask_kernel=1, depthwise=True),
        head(in_channels=8, channels=8, token_index=1, upscale=2),
    )
    _, unused = train_step(model)
    assert not unused
    out = model(torch.randn(1, 3, 64, 64))
    assert out.shape == (1, 1, 64, 64)


def test_the_mask_of_sub_pixels_is_that_of_upscaled_features():
    """Product, then pixel shuffle: the same as the shuffle of all features, then the product."""
    model = randomize(MODELS.build(head(query_source='learned', prompt_channels=None, aux_weights={}, upscale=2)))
    features, weight = [], []
    model.mask_conv.register_forward_hook(lambda _, __, out: features.append(F.gelu(F.pixel_shuffle(out, 2))))
    model.mask_mlp.register_forward_hook(lambda _, __, out: weight.append(out))
    out = model((torch.randn(2, 16, 8, 8),))
    torch.testing.assert_close(out, torch.einsum('bc,bchw->bhw', weight[0], features[0])[:, None])


@pytest.mark.parametrize('upscale', [2, 3])
def test_sub_pixels_begin_alike(upscale):
    """An untrained head makes a mask of blocks of `upscale` x `upscale` equal pixels; trained ones differ."""
    model = MODELS.build(head(query_source='learned', prompt_channels=None, aux_weights={}, upscale=upscale))
    x = (torch.randn(2, 16, 7, 5),)
    out = model(x)
    assert out.shape == (2, 1, 7 * upscale, 5 * upscale)
    assert out.std() > 0
    torch.testing.assert_close(out, F.interpolate(out[..., ::upscale, ::upscale], scale_factor=upscale))
    randomize(model)
    out = model(x)
    assert not torch.allclose(out, F.interpolate(out[..., ::upscale, ::upscale], scale_factor=upscale))


def test_the_logits_begin_at_the_prior():
    """`prior_logit` is added to every logit and is learned."""
    cfg = head(query_source='learned', prompt_channels=None, aux_weights={})
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    torch.manual_seed(0)
    other = MODELS.build(cfg | dict(prior_logit=-4.0))
    x = (torch.randn(2, 16, 8, 8),)
    torch.testing.assert_close(other(x), model(x) - 4)
    other(x).sum().backward()
    assert other.mask_bias.grad == 2 * 8 * 8
    assert 'mask_bias' not in model.state_dict()


@pytest.mark.parametrize('act', [None, dict(type='ReLU', inplace=True)], ids=['GELU', 'ReLU'])
def test_activations_are_an_option(act):
    """Every projection, block and prompt has the activation; the parameters are the same."""
    cfg = encoder(backbone=REPVIT | dict(act_cfg=act), dense_update=CONV, act_cfg=act)
    model = segmentor(cfg, fpn(), head(feature_act=act))
    kind = nn.GELU if act is None else nn.ReLU
    projections = [m for m in model.backbone.modules() if isinstance(m, ConvModule)]
    assert len(projections) == 3 + 6 + 1 + 3 * 2  # maps, sparse in and out, dense of the stem, in, update and out
    assert all(type(m.activate) is kind for m in projections)
    stem, *stages = model.backbone.backbone.stem, *model.backbone.backbone.stages
    assert type(stem[1]) is kind
    assert all(type(block.channel_mixer.act) is kind for stage in stages for block in stage)
    assert type(model.decode_head.feature_act) is type(model.decode_head.prompt[2]) is kind
    plain = segmentor(encoder(dense_update=CONV), fpn(), head())
    assert model.state_dict().keys() == plain.state_dict().keys()
    _, unused = train_step(model)
    assert not unused


@pytest.mark.parametrize('size', [(64, 64), (37, 51)])
def test_the_bottom_up_path_of_the_pyramid(size):
    """It joins the levels up to the named one, leaves the finest and those above alone, and is trained."""
    model = segmentor(encoder(), fpn(bottom_up=1, mask_kernel=None), head(token_index=1))
    _, unused = train_step(model, size)
    assert not unused
    model.eval()
    features = model.backbone(torch.randn(1, 3, *size))
    joined = model.neck(features)
    nn.init.zeros_(model.neck.downsamples[0].norm.weight)
    alone = model.neck(features)
    torch.testing.assert_close(joined[0], alone[0])
    torch.testing.assert_close(joined[2], alone[2])
    assert not torch.allclose(joined[1], alone[1], atol=1e-3)
    assert model.neck.mask_conv(joined[0]) is joined[0]


def test_mmsegmentations_head_stands_behind_simirs_necks():
    uper = dict(type='UPerHead', in_channels=[16] * 3, in_index=[0, 1, 2], channels=16, num_classes=2, out_channels=1)
    uper |= dict(threshold=0.5, norm_cfg=dict(type='BN'), loss_decode=dict(type='mmirstd.BinaryDiceLoss'))
    _, unused = train_step(segmentor(encoder(predict_mask=False), fpn(predict_mask=False), uper))
    assert not unused


def test_simirs_head_stands_behind_mmsegmentations_neck():
    neck = dict(type='FPN', in_channels=[8, 16, 32], out_channels=16, num_outs=3)
    decode_head = head(query_source='learned', prompt_channels=None, aux_weights={})
    _, unused = train_step(segmentor(RESNET, neck, decode_head))
    # The head looks at the finest map; MMSegmentation's FPN makes the others beside it, not on the way to it.
    assert all(name.startswith('neck.fpn_convs') for name in unused)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: segmentor(REPVIT, dict(type='FPN', in_channels=[8, 16, 24], out_channels=16, num_outs=3), head()),
         'QuerySAMHead takes its queries from the features.*plain tuple'),
        (lambda: segmentor(REPVIT, fpn(in_channels=[8, 16, 24]), head()), 'QueryFPN takes its queries'),
        (lambda: segmentor(encoder(), fpn(in_channels=[16, 16]), head()), r'maps of \[16, 16\] channels'),
        (lambda: segmentor(encoder(), fpn(out_channels=8), head(in_channels=8, channels=8)), 'set query_channels=16'),
        (lambda: segmentor(encoder(), fpn(), head(aux_weights=dict(neck=1))), 'the early mask is there'),
        (lambda: segmentor(encoder(dense_channels=0), fpn(), head()), 'the early mask is missing'),
        (lambda: segmentor(encoder(), fpn(predict_mask=False), head()), 'dense prompt needs'),
        (lambda: segmentor(encoder(), fpn(predict_mask=False), head(prompt_channels=None)), 'the neck mask is missing'),
        (lambda: segmentor(encoder(), fpn(out_channels=8, query_channels=16), head(in_channels=8)),
         'carry 8 queries of 8 channels, num_queries=8, channels=16'),
        (lambda: segmentor(encoder(), fpn(), head(num_queries=9)), 'carry 8 queries of 16 channels, num_queries=9'),
        (lambda: segmentor(encoder(num_queries=3), fpn(), head()), 'hands on 3 queries; set num_encoder_queries=3'),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_say_so(build, message):
    with pytest.raises(ValueError, match=message):
        train_step(build())


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: head(query_source='prompt'), "query_source='prompt'"),
        (lambda: head(out_channels=2), 'one target logit'),
        (lambda: head(aux_weights=dict(late=1)), r"unknown masks \['late'\]"),
        (lambda: fpn(num_queries=0), 'num_queries=0'),
        (lambda: fpn(query_levels=(3,)), 'query_levels'),
        (lambda: fpn(bottom_up=3), 'bottom_up=3 is no level from 0 to 2'),
        (lambda: fpn(out_channels=[16, 16]), '2 out_channels for 3 in_channels'),
    ],
)
def test_configs_that_make_no_sense_say_so(make, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(make())


def test_an_unknown_key_is_an_error_that_names_it():
    with pytest.raises(TypeError, match='levles'):
        MODELS.build(fpn(levles=3))


def test_necks_hand_the_attributes_on():
    features = MODELS.build(encoder())(torch.randn(1, 3, 32, 32))
    tiny = dict(type='mmirstd.TinyFPN', in_channels=[16] * 3, out_channels=[4, 8, 16], norm_cfg=dict(type='BN'))
    out = MODELS.build(tiny)(features)
    assert isinstance(out, QueryFeatures)
    assert out.queries is features.queries
    assert out.early_mask is features.early_mask
    assert [x.shape[1] for x in out] == [4, 8, 16]
    out = MODELS.build(fpn(num_queries=5))(features)
    assert out.queries.shape == (1, 9, 16)
    assert out.early_mask is features.early_mask
    assert out.neck_mask.shape == (1, 1, *out[0].shape[2:])


def test_mixed_precision_predicts_in_float32():
    model = segmentor(encoder(), fpn(), head())
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses, unused = train_step(model)
        assert not unused
        model.eval()
        with torch.no_grad():
            logits = model.encode_decode(torch.randn(1, 3, 32, 32), [dict(img_shape=(32, 32))])
    assert logits.dtype == torch.float32
    assert all(torch.isfinite(value) for value in losses.values())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('update', [DEFORM, CONV], ids=['deform', 'conv'])
def test_half_precision_models_predict(dtype, update):
    """All parameters in half precision, no autocast: close to float32, and float32 probabilities."""
    torch.manual_seed(0)
    model = segmentor(encoder(dense_update=update), fpn(), head()).eval()
    x = torch.randn(1, 3, 40, 56)
    with torch.no_grad():
        expected = model.encode_decode(x, [dict(img_shape=(40, 56))])
        model.to(dtype)
        logits = model.encode_decode(x.to(dtype), [dict(img_shape=(40, 56))])
    assert logits.dtype == torch.float32
    assert (logits - expected).norm() < (0.02 if dtype is torch.float16 else 0.1) * expected.norm()


@pytest.mark.parametrize('update', [DEFORM, CONV], ids=['deform', 'conv'])
def test_export_equals_eager(update):
    """The tuple with attributes survives torch.export."""
    torch.manual_seed(0)
    model = segmentor(encoder(dense_update=update), fpn(), head()).eval().requires_grad_(False)
    x = torch.randn(1, 3, 64, 64)
    exported = torch.export.export(model, (x,))
    torch.testing.assert_close(exported.module()(x), model(x), atol=1e-5, rtol=1e-5)
