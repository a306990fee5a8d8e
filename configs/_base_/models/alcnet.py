"""ALCNet in the form of BasicIRSTD: no local contrast, four blocks a stage, one more transposed convolution."""

_base_ = './_segmentor.py'
channels = [16, 32, 64]
model = dict(
    # Mean and deviation are NUDT-SIRST's; a config of another set gives its own.
    data_preprocessor=dict(mean=[107.81], std=[33.02], bgr_to_rgb=False, test_divisor=32, test_pad_mode='constant'),
    backbone=dict(type='mmirstd.ACMEncoder', in_channels=1, channels=channels, num_blocks=(4, 4, 4)),
    neck=dict(type='mmirstd.ModulatedPyramid', in_channels=channels, last_channels=8),
    decode_head=dict(
        type='mmirstd.ConvHead',
        in_channels=8,
        channels=2,
        num_convs=1,
        dropout_ratio=0.1,
        loss_decode=dict(type='mmirstd.SoftIoULoss', per_image=False),
    ),
)
