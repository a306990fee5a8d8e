from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmirstd.engine import CollapseError, CollapseGuardHook
from mmirstd.registry import HOOKS


def feed(hook, probabilities, start=0, **more):
    """Run the hook over iterations, and return the iterations (1-based) at which it warned."""
    warned = []
    for i, p in enumerate(probabilities, start):
        runner = SimpleNamespace(iter=i, logger=mock.Mock())
        outputs = dict(loss=torch.tensor(0.5, requires_grad=True), **more)
        if p is not None:
            outputs['decode.target_prob'] = torch.tensor(p)
        hook.after_train_iter(runner, i, outputs=outputs)
        if runner.logger.warning.called:
            warned.append(i + 1)
            assert f'iteration {i + 1}: the mean predicted' in runner.logger.warning.call_args[0][0]
    return warned


def test_collapse_is_reported_every_interval_after_the_warmup():
    hook = HOOKS.build(dict(type='mmirstd.CollapseGuardHook', interval=10, warmup=25, threshold=0.1))
    assert feed(hook, [0.0] * 50) == [30, 40, 50]


def test_a_living_network_is_left_alone():
    hook = CollapseGuardHook(interval=10, warmup=10, threshold=0.1)
    assert feed(hook, [0.0] * 5 + [0.3] * 45) == []
    # Only the last ten count.
    assert feed(hook, [0.0] * 10, start=50) == [60]


def test_batches_without_targets_do_not_count():
    hook = CollapseGuardHook(interval=10, warmup=10, threshold=0.1)
    assert feed(hook, [None] * 30) == []
    assert feed(hook, [0.5, None, None, None, 0.5] * 10, start=30) == []


def test_the_best_of_several_heads_counts():
    hook = CollapseGuardHook(interval=5, warmup=5, threshold=0.1)
    assert feed(hook, [0.0] * 10, **{'aux.target_prob': torch.tensor(0.4)}) == []


def test_stop():
    hook = CollapseGuardHook(interval=5, warmup=5, threshold=0.1, action='stop')
    with pytest.raises(CollapseError, match=r'iteration 5: .* on target pixels was 0.03 in the last 5 batches'):
        feed(hook, [0.03] * 10)


@pytest.mark.parametrize('value', ['nan', 'inf', '-inf'])
def test_a_loss_that_is_no_number_stops_at_once(value):
    hook = CollapseGuardHook()
    feed(hook, [0.5] * 3)
    with pytest.raises(CollapseError, match=rf'iteration 4: decode.loss_bce={value};'):
        feed(hook, [0.5], start=3, **{'decode.loss_bce': torch.tensor(float(value))})


def test_wrong_action():
    with pytest.raises(ValueError, match="'warn' or 'stop', not 'explode'"):
        CollapseGuardHook(action='explode')


SMALL = dict(in_channels=8, channels=8, in_index=0)
MULTI = dict(in_channels=[8, 8], in_index=[0, 1], channels=8)
BCE = dict(type='mmirstd.BinaryCrossEntropyLoss')
GENERATED = dict(
    type='FCNHead', **SMALL, num_convs=1, concat_input=False, num_classes=2, loss_decode=dict(type='CrossEntropyLoss')
)
UPDATE = dict(
    type='KernelUpdateHead', num_classes=2, num_ffn_fcs=2, num_heads=2, num_mask_fcs=1, feedforward_channels=8,
    in_channels=8, out_channels=8, feat_transform_cfg=dict(conv_cfg=dict(type='Conv2d'), act_cfg=None),
    kernel_updator_cfg=dict(type='KernelUpdator', in_channels=8, feat_channels=8, out_channels=8),
)  # fmt: skip
# Name of a registered head -> its arguments.
HEADS = {
    'ANNHead': MULTI | dict(project_channels=4, key_pool_scales=(1, 2), dropout_ratio=0.1),  # it needs dropout
    'APCHead': SMALL | dict(pool_scales=(1, 2)),
    'ASPPHead': SMALL | dict(dilations=(1, 2)),
    'CCHead': SMALL,
    'DAHead': SMALL | dict(pam_channels=4),
    'DDRHead': dict(in_channels=8, channels=8, loss_decode=[BCE, BCE]),
    'DMHead': SMALL | dict(filter_sizes=(1, 3)),
    'DNLHead': SMALL | dict(reduction=2),
    'DPTHead': dict(in_channels=[8] * 4, in_index=[0, 1, 2, 3], input_transform='multiple_select', channels=8,
                    embed_dims=8, post_process_channels=[4] * 4),
    'DepthwiseSeparableASPPHead': SMALL | dict(in_index=1, dilations=(1, 2), c1_in_channels=8, c1_channels=4),
    'DepthwiseSeparableFCNHead': SMALL | dict(norm_cfg=dict(type='BN')),
    'EMAHead': SMALL | dict(ema_channels=8, num_bases=4, num_stages=2),
    'EncHead': MULTI | dict(num_codes=4),
    'FCNHead': SMALL | dict(num_convs=1),
    'FPNHead': MULTI | dict(feature_strides=[4, 8]),
    'GCHead': SMALL,
    'ISAHead': SMALL | dict(isa_channels=4, down_factor=(2, 2)),
    'IterativeDecodeHead': dict(num_stages=1, kernel_generate_head=GENERATED, kernel_update_head=[UPDATE]),
    'LRASPPHead': dict(in_channels=(8, 8, 8), in_index=(0, 1, 2), channels=8, branch_channels=(4, 4),
                       input_transform='multiple_select'),
    'LightHamHead': MULTI | dict(ham_channels=8, ham_kwargs=dict(MD_R=4)),
    'NLHead': SMALL | dict(reduction=2),
    'OCRHead': SMALL | dict(ocr_channels=4),
    'PIDHead': dict(in_channels=8, channels=8, loss_decode=[BCE] * 4),
    'PSAHead': SMALL | dict(mask_size=(8, 8)),
    'PSPHead': SMALL | dict(pool_scales=(1, 2)),
    'SETRMLAHead': MULTI | dict(mla_channels=4),
    'SETRUPHead': SMALL,
    'SegformerHead': MULTI,
    'SegmenterMaskTransformerHead': SMALL | dict(num_layers=1, num_heads=2, embed_dims=8),
    'UPerHead': MULTI | dict(pool_scales=(1, 2)),
    'mmirstd.ClampedHead': dict(in_channels=8, in_index=0),
    'mmirstd.ClampedHeads': dict(in_channels=[8, 8], kernel_sizes=[1, 1], predict=0, loss_decode=[BCE, BCE]),
    'mmirstd.ConvHead': dict(in_channels=8, in_index=0),
    'mmirstd.GranularityAwareHead': dict(in_channels=8, channels=8, early_channels=8, early_index=0, in_index=1,
                                         num_heads=2, feedforward_channels=8),
    'mmirstd.EfficientSAMHead': dict(fuse='deep', in_channels=8, channels=8, in_index=0,
                                     num_heads=2, feedforward_channels=8),
    'mmirstd.QuerySAMHead': dict(
        in_channels=8, channels=8, in_index=0, num_heads=2, feedforward_channels=8, mask_channels=(8, 4),
        prompt_channels=None, query_source='learned', num_queries=2, aux_weights=dict(),
    ),
    'mmirstd.InteriorAttentionHead': dict(in_channels=(1, 8), pixel_channels=(8,), embed_dims=8, num_layers=1,
                                          num_heads=2, feedforward_channels=8),
    'mmirstd.RegionHead': dict(in_channels=8),
    'mmirstd.ShapeHead': dict(in_channels=[8, 8, 8], edge_channels=8),
    'mmirstd.SideOutputHead': dict(in_channels=[8, 8]),
    'mmirstd.UnfoldingHead': dict(),
}  # fmt: skip
# Heads that take no other number of logits than classes.
OF_TWO = ('DAHead', 'IterativeDecodeHead', 'SegmenterMaskTransformerHead')
# Heads that need another one beside them, and why.
UNWATCHED = {
    'MaskFormerHead': 'computes its losses without a map of logits',
    'Mask2FormerHead': 'computes its losses without a map of logits',
    'PointHead': 'computes its losses without a map of logits',
    'STDCHead': 'predicts boundaries',
    'SideAdapterCLIPHead': 'computes its losses without a map of logits',
    'VPDDepthHead': 'predicts depth',
}
# Their losses do not pass `forward`.
BESIDE_FORWARD = {
    'mmirstd.ClampedHeads',
    'mmirstd.EfficientSAMHead',
    'mmirstd.GranularityAwareHead',
    'mmirstd.InteriorAttentionHead',
    'mmirstd.RegionHead',
    'mmirstd.ShapeHead',
    'mmirstd.SideOutputHead',
}
UNTRAINED = {'mmirstd.ThresholdHead'}  # `mmirstd train` refuses what it stands in


def registered_heads(registry=MODELS, scope=''):
    init_default_scope('mmseg')
    registry.get('FCNHead')  # imports what registers
    for name, cls in registry.module_dict.items():
        if isinstance(cls, type) and issubclass(cls, BaseDecodeHead):
            yield scope + name
    for child in registry.children.values():
        yield from registered_heads(child, f'{child.scope}.')


def test_every_registered_head_is_tested():
    known = HEADS.keys() | UNWATCHED.keys() | UNTRAINED
    assert {name for name in registered_heads() if name.startswith('mmirstd.') or '.' not in name} <= known


def head_of(name, logits=1):
    init_default_scope('mmseg')
    own = {}
    if name.startswith('mmirstd'):
        own = dict(loss_decode=BCE)
    elif name != 'IterativeDecodeHead':
        own = dict(num_classes=2, out_channels=logits, dropout_ratio=0, loss_decode=BCE, threshold=0.5)
        if logits == 2:
            own |= dict(loss_decode=dict(type='CrossEntropyLoss'), threshold=None)
    torch.manual_seed(0)
    try:
        return MODELS.build({'type': name} | own | HEADS[name])
    except (ImportError, RuntimeError) as e:  # CCHead, PSAHead
        if 'mmcv' in str(e):
            pytest.skip(f'mmcv-lite has not the ops of {name}')
        raise


def features(name):
    """What the head takes: maps of stride 4 and 8 of two images of 32 x 32, or what its backbone gives."""
    fine, coarse = torch.randn(2, 8, 8, 8), torch.randn(2, 8, 4, 4)
    if name == 'DDRHead':
        return torch.randn(2, 4, 8, 8), coarse
    if name == 'PIDHead':
        return torch.randn(2, 4, 8, 8), fine, torch.randn(2, 4, 8, 8)
    if name == 'DPTHead':
        return [[torch.randn(2, 8, 2, 2), torch.randn(2, 8)] for _ in range(4)]
    if name == 'LRASPPHead':  # it pools 49 x 49 pixels
        return torch.randn(2, 8, 64, 64), torch.randn(2, 8, 56, 56), torch.randn(2, 8, 50, 50)
    if name == 'mmirstd.UnfoldingHead':  # logits, the image made anew, and the image
        return tuple(torch.randn(2, 1, 32, 32) for _ in range(3))
    if name == 'mmirstd.InteriorAttentionHead':  # images, and cells of 16 x 16 of their pixels
        return torch.randn(2, 1, 32, 32), torch.randn(2, 8, 2, 2)
    if name == 'mmirstd.ShapeHead':
        return torch.randn(2, 8, 32, 32), fine, coarse
    if name == 'mmirstd.RegionHead':
        return fine, torch.randn(2, 8, 8, 8)
    if name == 'SETRMLAHead':
        return fine, torch.randn(2, 8, 8, 8)
    return fine, coarse


@pytest.mark.parametrize(('name', 'logits'), [(h, 1 + (h in OF_TWO)) for h in HEADS] + [('FCNHead', 2)])
def test_every_head_is_watched(name, logits):
    head = head_of(name, logits)
    CollapseGuardHook().before_train(SimpleNamespace(model=torch.nn.ModuleList([head])))
    features_ = features(name)
    before = () if name != 'OCRHead' else (torch.randn(2, 1, 8, 8),)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 32, 32, dtype=torch.long)))
    sample.gt_edge_map = PixelData(data=torch.zeros(1, 32, 32, dtype=torch.long))
    if name == 'mmirstd.InteriorAttentionHead':
        head.eval()  # in training it draws regions
    assert not any('target_prob' in key for key in head.loss(features_, *before, [sample, sample], None))
    sample.gt_sem_seg.data[0, 8:20, 8:20] = 1
    seen = []
    forward = head.forward
    with mock.patch.object(head, 'forward', lambda *args: seen.append(forward(*args)) or seen[-1]):
        losses = head.loss(features_, *before, [sample, sample], None)
    if name in BESIDE_FORWARD:
        seen = [head(features_)]
    out = seen[0] if torch.is_tensor(seen[0]) else seen[0][{'PIDHead': 1, 'IterativeDecodeHead': -1}.get(name, 0)]
    out = torch.nn.functional.interpolate(out, (32, 32), mode='bilinear', align_corners=head.align_corners)
    probability = out.sigmoid()[:, 0] if out.shape[1] == 1 else out.softmax(1)[:, 1]
    first, *others = [key for key in losses if key.endswith('target_prob')]
    assert losses[first].item() == pytest.approx(probability[:, 8:20, 8:20].mean().item(), rel=1e-5)
    assert others == (['mask2.target_prob'] if name == 'mmirstd.ClampedHeads' else [])


def instance(name):
    """A head of a class whose construction needs much else."""
    init_default_scope('mmseg')
    head = MODELS.get(name).__new__(MODELS.get(name))
    torch.nn.Module.__init__(head)
    head.out_channels = 1
    return head


@pytest.mark.parametrize('name', UNWATCHED)
def test_a_head_that_cannot_be_watched_needs_another_beside_it(name):
    if MODELS.get(name) is None or not issubclass(MODELS.get(name), BaseDecodeHead):
        pytest.skip('not a decode head without mmdet')
    head = instance(name)
    with pytest.raises(ValueError, match=f'{name} {UNWATCHED[name]}: there is nothing to watch'):
        CollapseGuardHook().before_train(SimpleNamespace(model=torch.nn.ModuleList([head])))
    CollapseGuardHook().before_train(SimpleNamespace(model=torch.nn.ModuleList([head, head_of('FCNHead')])))


def test_a_model_that_cannot_be_watched_is_refused():
    with pytest.raises(ValueError, match='Linear has no decode head'):
        CollapseGuardHook().before_train(SimpleNamespace(model=torch.nn.Linear(1, 1)))
    head = head_of('FCNHead')
    head.out_channels = 3
    with pytest.raises(ValueError, match='FCNHead predicts 3 classes'):
        CollapseGuardHook().before_train(SimpleNamespace(model=torch.nn.ModuleList([head])))


def test_a_head_that_logs_nothing_is_found_at_the_first_batch_with_targets():
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 4, 4, dtype=torch.long)))
    hook, batch = CollapseGuardHook(), dict(data_samples=[sample])
    outputs = {'loss': torch.tensor(0.5), 'decode.acc_seg': torch.tensor(99.0)}
    hook.after_train_iter(SimpleNamespace(iter=0), 0, batch, outputs)
    sample.gt_sem_seg.data[0, 1, 1] = 1
    with pytest.raises(ValueError, match=r'iteration 2 had targets, .* \(logged were loss, decode\.acc_seg\)'):
        hook.after_train_iter(SimpleNamespace(iter=1), 1, batch, outputs)
    hook.after_train_iter(SimpleNamespace(iter=1), 1, batch, outputs | {'decode.target_prob': torch.tensor(0.5)})
    hook.after_train_iter(SimpleNamespace(iter=2), 2, batch, outputs)  # say, all targets were ignored
