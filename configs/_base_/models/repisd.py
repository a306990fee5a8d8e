"""RepISD-Net (Wu et al., TGRS 2023). Mean and deviation are those that its code trains NUAA-SIRST with."""

_base_ = './_segmentor.py'
channels = [32, 64, 64]
model = dict(
    data_preprocessor=dict(mean=[90.42, 90.37, 90.6], std=[67.17, 67.12, 67.29], test_divisor=4),
    backbone=dict(type='mmirstd.EdgeCompensationEncoder', channels=channels),
    neck=dict(type='mmirstd.EdgeCompensationDecoder', in_channels=channels),
    decode_head=dict(
        type='mmirstd.ConvHead',
        in_channels=64,
        channels=32,
        num_convs=1,
        dropout_ratio=0.1,
        loss_decode=dict(type='mmirstd.BinaryDiceLoss', squared=True, smooth=0.002),
    ),
    init_cfg=dict(type='Xavier', layer='Conv2d', distribution='normal'),
)
