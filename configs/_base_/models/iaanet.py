"""IAANet (Wang et al., TGRS 2022). One gray channel."""

_base_ = './_segmentor.py'
resnet18 = dict(
    type='ResNet',
    depth=18,
    in_channels=1,
    num_stages=3,
    strides=(1, 2, 2),
    dilations=(1, 1, 1),
    out_indices=(2,),
    norm_cfg=dict(type='BN', requires_grad=True),
)
model = dict(
    data_preprocessor=dict(mean=[0.0], std=[255.0], bgr_to_rgb=False, size=(128, 128)),
    backbone=dict(type='mmirstd.InteriorEncoder', in_channels=1, proposals=resnet18),
    decode_head=dict(
        type='mmirstd.InteriorAttentionHead',
        in_channels=[512, 256],
        # One epoch of MDFA.
        warmup_iters=1123,
        loss_decode=dict(type='mmirstd.BinaryCrossEntropyLoss', pos_weight=3.0),
    ),
)
