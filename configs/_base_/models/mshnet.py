"""MSHNet (Liu et al., CVPR 2024): a U-Net whose masks of all scales train with the SLS loss."""

_base_ = './_segmentor.py'
channels = [16, 32, 64, 128, 256]
num_blocks = [1, 2, 2, 2, 2]
model = dict(
    backbone=dict(type='mmirstd.ResidualUNetEncoder', channels=channels, num_blocks=num_blocks, stem=True),
    neck=dict(type='mmirstd.ResidualUNetDecoder', in_channels=channels, num_blocks=num_blocks[:-1]),
    decode_head=dict(
        type='mmirstd.SideOutputHead',
        in_channels=channels[:-1],
        fuse_kernel_size=3,
        own_size=True,
        align_corners=True,
        loss_decode=dict(type='mmirstd.ScaleLocationLoss', loss_weight=0.2),
        # Six epochs of NUDT-SIRST: the code counts from 0 up to 5. Nothing is added to the sums there.
        warmup_iters=900,
        loss_warmup=dict(type='mmirstd.SoftIoULoss', smooth=0.0),
    ),
)
