"""SCTransNet (Yuan et al., TGRS 2024). One gray channel."""

_base_ = './_segmentor.py'
channels = [32, 64, 128, 256, 256]
model = dict(
    # Mean and deviation are NUDT-SIRST's; a config of another set gives its own.
    data_preprocessor=dict(mean=[107.81], std=[33.02], bgr_to_rgb=False, test_divisor=32, test_pad_mode='constant'),
    backbone=dict(
        type='mmirstd.ResidualUNetEncoder',
        in_channels=1,
        channels=channels,
        num_blocks=[1, 1, 1, 1, 1],
        attention=False,
        slope=0.01,
    ),
    neck=dict(type='mmirstd.SpatialChannelTransformer', in_channels=channels),
    decode_head=dict(
        type='mmirstd.SideOutputHead',
        in_channels=[channels[0], *channels[:3], channels[4]],
        predict='finest',
        align_corners=True,
        loss_decode=dict(type='mmirstd.BinaryCrossEntropyLoss'),
    ),
    init_cfg=[
        dict(type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in'),
        dict(type='Normal', layer='BatchNorm2d', mean=1.0, std=0.02),
    ],
)
