"""RDIAN (Sun et al., TGRS 2023). One gray channel; mean and deviation are those of its code."""

_base_ = './_segmentor.py'
model = dict(
    data_preprocessor=dict(mean=[-31.773], std=[278.54], bgr_to_rgb=False, size=(480, 480), test_divisor=2),
    backbone=dict(type='mmirstd.DirectionalEncoder', in_channels=1, channels=(16, 32)),
    neck=dict(type='mmirstd.AdditiveUpsampling', in_channels=(16, 32)),
    decode_head=dict(
        type='mmirstd.ConvHead',
        in_channels=32,
        channels=8,
        num_convs=1,
        dropout_ratio=0.1,
        loss_decode=dict(type='mmirstd.SoftIoULoss'),
    ),
)
