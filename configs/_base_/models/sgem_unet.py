"""The SGEM U-Net of the paper: 8.69 M parameters and 15.92 G multiply-adds at 256 x 256 are published.

Its widths are not. These begin wide, as the paper says of its own, and come within 2 % of both numbers.
"""

_base_ = './_segmentor.py'
model = dict(
    backbone=dict(type='mmirstd.UNetEncoder', in_channels=3, channels=(48, 72, 128, 256, 592)),
    neck=dict(type='mmirstd.SGEM', in_channels=[48, 72, 128, 256, 592], sgem_levels=(2,)),
    decode_head=dict(
        type='mmirstd.ConvHead',
        in_channels=48,
        in_index=0,
        # Equation 4, over the pixels of the batch as IoU is over the set.
        loss_decode=dict(type='mmirstd.SoftIoULoss', per_image=False),
    ),
)
