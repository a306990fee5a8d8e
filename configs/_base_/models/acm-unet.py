"""ACM (Dai et al., WACV 2021) as a U-Net, in the form of BasicIRSTD: one gray channel, three blocks a stage."""

_base_ = './_segmentor.py'
channels = [16, 32, 64]
model = dict(
    # Mean and deviation are NUDT-SIRST's; a config of another set gives its own.
    data_preprocessor=dict(mean=[107.81], std=[33.02], bgr_to_rgb=False, test_divisor=32, test_pad_mode='constant'),
    backbone=dict(type='mmirstd.ACMEncoder', in_channels=1, channels=channels, num_blocks=(3, 3, 3)),
    neck=dict(type='mmirstd.ModulatedPyramid', in_channels=channels, num_blocks=(3, 3)),
    decode_head=dict(
        type='mmirstd.ConvHead',
        in_channels=16,
        channels=4,
        num_convs=1,
        dropout_ratio=0.1,
        loss_decode=dict(type='mmirstd.SoftIoULoss', per_image=False),
    ),
)
