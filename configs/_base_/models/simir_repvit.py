"""SimIR as in the paper and its released code: RepViT-M1.1 with stem strides 1, 256 channels everywhere."""

_base_ = './_segmentor.py'
_point_loss = dict(
    type='mmirstd.PointSampledLoss',
    num_points=12544,
    oversample_ratio=3.0,
    importance_ratio=0.75,
    losses=[
        dict(type='mmirstd.BinaryCrossEntropyLoss', loss_weight=5.0),
        dict(type='mmirstd.BinaryDiceLoss', loss_weight=5.0),
    ],
)
model = dict(
    data_preprocessor=dict(test_divisor=8),
    backbone=dict(
        type='mmirstd.QueryEncoder',
        backbone=dict(type='mmirstd.RepViT', arch='m1_1', stem_strides=(1, 1), with_cp=True),
        embed_dims=256,
        num_queries=4,
        dense_channels=8,
        with_cp=True,
    ),
    neck=dict(
        type='mmirstd.QueryFPN',
        in_channels=[256, 256, 256, 256],
        out_channels=256,
        num_queries=4,
        dropout=0.5,
        with_cp=True,
    ),
    decode_head=dict(
        type='mmirstd.QuerySAMHead',
        in_channels=256,
        channels=256,
        query_source='features',
        prompt_channels=(4, 16),
        mask_channels=(64, 32),
        aux_weights=dict(early=1.0, neck=1.0),
        with_cp=True,
        loss_decode=_point_loss,
    ),
)
