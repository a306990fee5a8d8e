"""UIUNet (Wu et al., TIP 2023)."""

_base_ = './_segmentor.py'
channels = [64, 128, 256, 512, 512, 512]
masks = [64, *channels[:-2], 512]
model = dict(
    data_preprocessor=dict(size=(288, 288), test_divisor=32),
    backbone=dict(type='mmirstd.UBlockEncoder', channels=channels),
    neck=dict(type='mmirstd.InteractiveUBlockDecoder', in_channels=channels, channels=masks),
    decode_head=dict(
        type='mmirstd.SideOutputHead',
        in_channels=masks,
        kernel_size=3,
        loss_decode=dict(type='mmirstd.BinaryCrossEntropyLoss'),
    ),
)
