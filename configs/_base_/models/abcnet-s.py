"""ABCNet (Pan et al., ICME 2023), small: CLFT-S. RGB."""

_base_ = './_segmentor.py'
channels = [16, 32, 64, 128, 256]
side = dict(type='mmirstd.ConvHead', kernel_size=3, loss_decode=dict(type='mmirstd.SoftIoULoss', per_image=False))
model = dict(
    backbone=dict(type='mmirstd.LinearFusionEncoder', channels=channels, image_size=256),
    neck=dict(type='mmirstd.DilatedUNetDecoder', in_channels=channels),
    decode_head=dict(side, kernel_size=1, in_channels=channels[0], in_index=0),
    auxiliary_head=[dict(side, in_channels=width, in_index=i) for i, width in enumerate(channels)],
)
