"""ADGFNet (Han et al., 2026): 0.578 M parameters, 7.74 G multiply-adds at 256 x 256. One gray channel."""

_base_ = './_segmentor.py'
channels = [16, 32, 64, 128]
width = 32
model = dict(
    # Mean and deviation are NUDT-SIRST's; a config of another set gives its own.
    data_preprocessor=dict(mean=[107.81], std=[33.02], bgr_to_rgb=False, test_divisor=32, test_pad_mode='constant'),
    backbone=dict(type='mmirstd.ResidualEncoder', in_channels=1, channels=channels),
    neck=dict(type='mmirstd.AnomalyGatedFPN', in_channels=channels, channels=width),
    decode_head=dict(
        type='mmirstd.ConvHead',
        in_channels=width,
        num_refine=2,
        num_convs=1,
        loss_decode=[
            dict(type='mmirstd.BinaryCrossEntropyLoss', loss_weight=1.0),
            dict(type='mmirstd.SoftIoULoss', per_image=False, loss_weight=1.0),
            dict(type='mmirstd.StructureConsistencyLoss', loss_weight=0.2),
        ],
    ),
)
