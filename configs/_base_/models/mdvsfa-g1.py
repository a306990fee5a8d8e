"""The first generator of MDvsFA (Wang et al., ICCV 2019), trained alone: it weighs misses a hundred times."""

_base_ = './mdvsfa-g2.py'
channels = 64
model = dict(
    backbone=dict(
        channels=[channels * factor for factor in (1, 1, 2, 4, 8, 4, 2, 1)],
        dilations=(1, 1, 2, 4, 8, 4, 2, 1),
        skips=False,
    ),
    decode_head=dict(kernel_size=1, loss_decode=dict(miss_weight=100.0, false_alarm_weight=1.0)),
)
