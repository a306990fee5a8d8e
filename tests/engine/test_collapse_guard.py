from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
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


HEADS = {
    'FCNHead': dict(in_channels=4, in_index=0, channels=4, num_convs=1),
    'UPerHead': dict(in_channels=[4, 8], in_index=[0, 1], channels=4, pool_scales=(1,)),
    'mmirstd.ConvHead': dict(in_channels=4, in_index=0),
    'mmirstd.QuerySAMHead': dict(
        in_channels=4, channels=8, in_index=0, num_heads=2, feedforward_channels=8, mask_channels=(8, 4),
        prompt_channels=None, query_source='learned', num_queries=2, aux_weights=dict(),
    ),
}  # fmt: skip


def segmentor(head, logits):
    init_default_scope('mmseg')
    own = {} if 'mmirstd' in head else dict(num_classes=2, out_channels=logits, dropout_ratio=0)
    if logits == 2:
        own['loss_decode'] = dict(type='CrossEntropyLoss')
    else:
        own['loss_decode'] = dict(type='mmirstd.BinaryCrossEntropyLoss')
        own['threshold'] = 0.5
    return MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone=dict(type='mmirstd.UNetEncoder', channels=(4, 8)),
            decode_head=dict(type=head, **HEADS[head], **own),
            train_cfg=dict(),
            test_cfg=dict(mode='whole'),
        )
    )


@pytest.mark.parametrize(('head', 'logits'), [(h, 1) for h in HEADS] + [('FCNHead', 2), ('UPerHead', 2)])
def test_every_head_is_watched(head, logits):
    torch.manual_seed(0)
    model = segmentor(head, logits)
    CollapseGuardHook().before_train(SimpleNamespace(model=model))
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 32, 32, dtype=torch.long)))
    image = torch.randn(2, 3, 32, 32)
    assert 'decode.target_prob' not in model.loss(image, [sample, sample])
    sample.gt_sem_seg.data[0, 8:20, 8:20] = 1
    losses = model.loss(image, [sample, sample])
    with torch.no_grad():  # batch norm sees the same batch
        out = model.decode_head(model.extract_feat(image))
    out = torch.nn.functional.interpolate(out, (32, 32), mode='bilinear', align_corners=False)
    probability = out.sigmoid()[:, 0] if logits == 1 else out.softmax(1)[:, 1]
    assert losses['decode.target_prob'].item() == pytest.approx(probability[:, 8:20, 8:20].mean().item(), rel=1e-5)


def test_a_model_that_cannot_be_watched_is_refused():
    with pytest.raises(ValueError, match='Linear has no decode head'):
        CollapseGuardHook().before_train(SimpleNamespace(model=torch.nn.Linear(1, 1)))
    model = segmentor('FCNHead', 1)
    model.decode_head.out_channels = 3
    with pytest.raises(ValueError, match='FCNHead predicts 3 classes'):
        CollapseGuardHook().before_train(SimpleNamespace(model=model))
