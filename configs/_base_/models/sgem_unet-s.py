"""The small SGEM U-Net."""

_base_ = './sgem_unet.py'
widths = [16, 32, 64, 128, 128]
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(channels=widths),
    neck=dict(in_channels=widths, narrow=True, sgem=dict(channels=32, num_tokens=32)),
    decode_head=dict(
        in_channels=widths[0],
        # Targets are rare: from even odds, hundreds of iterations would go by until all else is black.
        init_cfg=dict(type='Normal', std=0.01, bias=-4.0, override=dict(name='conv_seg')),
        loss_decode=[
            dict(type='mmirstd.BinaryCrossEntropyLoss', loss_weight=1.0),
            dict(type='mmirstd.SoftIoULoss', per_image=False, loss_weight=1.0),
        ],
    ),
)
