"""ISNet (Zhang et al., CVPR 2022). RGB, four blocks a stage."""

_base_ = './_segmentor.py'
channels = [16, 32, 64]
model = dict(
    data_preprocessor=dict(size=(480, 480)),
    backbone=dict(type='mmirstd.GradientEncoder', in_channels=3, channels=channels, num_blocks=(4, 4, 4)),
    neck=dict(type='mmirstd.OrientedPyramid', in_channels=[3, *channels]),
    decode_head=dict(
        type='mmirstd.ShapeHead',
        in_channels=[3, *channels],
        channels=4,
        num_convs=1,
        dropout_ratio=0.1,
        loss_decode=dict(type='mmirstd.SoftIoULoss', smooth=0.0),
        loss_edge=dict(type='mmirstd.MaskGradientLoss'),
    ),
)
