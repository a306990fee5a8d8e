"""The second generator of MDvsFA (Wang et al., ICCV 2019), trained alone: it weighs false alarms ten times."""

_base_ = './_segmentor.py'
channels = 64
model = dict(
    data_preprocessor=dict(mean=[127.5], std=[127.5], bgr_to_rgb=False, size=(128, 128), test_divisor=1),
    backbone=dict(type='mmirstd.ContextAggregation', in_channels=1, channels=(channels,) * 13),
    decode_head=dict(
        type='mmirstd.ClampedHead',
        in_channels=channels,
        kernel_size=3,
        loss_decode=dict(type='mmirstd.MissFalseAlarmLoss', miss_weight=1.0, false_alarm_weight=10.0),
    ),
)
