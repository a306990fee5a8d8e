"""EGPNet (edge-guided perceptual network). RGB."""

_base_ = './_segmentor.py'
channels = 16
widths = [4 * channels, 8 * channels, 8 * channels]
model = dict(
    backbone=dict(type='mmirstd.EdgeGuidedEncoder', channels=channels),
    neck=dict(type='mmirstd.MutualPyramid', in_channels=[*widths, *widths]),
    decode_head=dict(
        type='mmirstd.RegionHead',
        in_channels=2 * channels,
        channels=channels,
        num_convs=1,
        dropout_ratio=0.1,
        loss_decode=dict(type='mmirstd.SoftIoULoss', smooth=0.0),
        loss_edge=dict(type='mmirstd.MaskGradientLoss'),
    ),
)
