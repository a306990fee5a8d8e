"""ACM (Dai et al., WACV 2021) as a pyramid, in the form of acm-pytorch: RGB, four blocks a stage."""

_base_ = './_segmentor.py'
channels = [16, 32, 64]
model = dict(
    data_preprocessor=dict(size=(480, 480)),
    backbone=dict(type='mmirstd.ACMEncoder', in_channels=3, channels=channels, num_blocks=(4, 4, 4)),
    neck=dict(type='mmirstd.ModulatedPyramid', in_channels=channels, deconv=False),
    decode_head=dict(
        type='mmirstd.ConvHead',
        in_channels=16,
        channels=4,
        num_convs=1,
        dropout_ratio=0.1,
        loss_decode=dict(type='mmirstd.SoftIoULoss'),
    ),
)
