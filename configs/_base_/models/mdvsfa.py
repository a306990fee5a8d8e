"""MDvsFA (Wang et al., ICCV 2019): both generators, whose masks are averaged, and the discriminator."""

_base_ = './_segmentor.py'
channels = 64
_loss = dict(type='mmirstd.MissFalseAlarmLoss', loss_weight=100.0)
model = dict(
    type='mmirstd.AdversarialSegmentor',
    data_preprocessor=dict(mean=[127.5], std=[127.5], bgr_to_rgb=False, size=(128, 128), test_divisor=1),
    backbone=dict(
        type='mmirstd.ParallelBackbones',
        branches=[
            dict(
                type='mmirstd.ContextAggregation',
                channels=[channels * factor for factor in (1, 1, 2, 4, 8, 4, 2, 1)],
                dilations=(1, 1, 2, 4, 8, 4, 2, 1),
                skips=False,
            ),
            dict(type='mmirstd.ContextAggregation', channels=(channels,) * 13),
        ],
    ),
    decode_head=dict(
        type='mmirstd.ClampedHeads',
        in_channels=[channels, channels],
        kernel_sizes=(1, 3),
        loss_decode=[dict(miss_weight=100.0, **_loss), dict(false_alarm_weight=10.0, **_loss)],
    ),
    discriminator=dict(type='mmirstd.MaskDiscriminator'),
    loss_adversarial=dict(type='mmirstd.ClassAdversarialLoss', loss_weight=10.0),
    loss_matching=dict(type='mmirstd.FeatureMatchingLoss'),
    init_cfg=[
        dict(type='Xavier', layer='Conv2d', distribution='normal'),
        dict(type='Xavier', layer='Linear', distribution='uniform'),
        dict(type='Normal', layer=['BatchNorm1d', 'BatchNorm2d'], std=1.0),
    ],
)
