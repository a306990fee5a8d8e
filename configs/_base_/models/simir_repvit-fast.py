"""SimIR made thin: stem strides (1, 2), a narrow RepViT, a 48-channel pyramid.

Sparse queries exchange where it is cheap: after the down-samplings, and at the two coarsest levels of the pyramid. The
dense queries, at stride 2, are updated by the paper's convolution. The two-way transformer runs at stride 8; its map
joins the stride-2 one in the mask features, which sub-pixel convolution brings to the size of the image.
"""

_base_ = './_segmentor.py'
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        type='mmirstd.QueryEncoder',
        backbone=dict(
            type='mmirstd.RepViT',
            arch=dict(embed_dims=(32, 64, 128, 192), depths=(2, 2, 4, 2)),
            stem_strides=(1, 2),
        ),
        embed_dims=64,
        num_queries=4,
        num_heads=4,
        feedforward_channels=256,
        query_places=(1, 2, 3),
        dense_channels=8,
        dense_update=dict(type='mmirstd.ConvDenseUpdate'),
        dense_carry_all=True,
        early_channels=16,
    ),
    neck=dict(
        type='mmirstd.QueryFPN',
        in_channels=[64, 64, 64, 64],
        out_channels=48,
        num_queries=4,
        query_channels=64,
        query_levels=(2, 3),
        num_heads=4,
        feedforward_channels=256,
        dropout=0.1,
        mask_kernel=1,
        norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(
        type='mmirstd.QuerySAMHead',
        in_channels=48,
        channels=48,
        token_index=2,
        num_heads=4,
        feedforward_channels=256,
        prompt_channels=(4, 16),
        mask_channels=(32, 16),
        upscale=2,
        aux_weights=dict(early=0.3, neck=0.3),
        loss_decode=[
            dict(type='mmirstd.BinaryCrossEntropyLoss', loss_weight=1.0),
            # Over the batch, as IoU is over the set: over an image, a false alarm of any size costs the same.
            dict(type='mmirstd.SoftIoULoss', per_image=False, loss_weight=1.0),
        ],
    ),
)
