"""SimIR made fast: thin where maps are fine, wide where the mask is made.

On a CPU, time goes into passes over fine maps rather than into multiply-adds. So the trunk runs at stride 2 behind the
stem's first convolution, has one block there, and activates by ReLU in place. Most multiply-adds are 3x3 convolutions
of the pyramid, as in the full size. Sparse queries exchange at the two coarsest places of the trunk and the coarsest
level of the pyramid, with one head. The dense queries, at stride 2, are updated twice, by the paper's convolution. The
two-way transformer runs at stride 8. Its map joins the stride-2 one in the mask features, which sub-pixel convolution
brings to the size of the image. The logits begin at -4: from 0, a short training learns the background and little else.

Queries see the whole image. Of images much larger than those of the training sets, tiles are predicted better.
"""

_base_ = './_segmentor.py'
relu = dict(type='ReLU', inplace=True)
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        type='mmirstd.QueryEncoder',
        backbone=dict(
            type='mmirstd.RepViT',
            arch=dict(embed_dims=(32, 64, 128, 192), depths=(1, 2, 4, 2)),
            stem_strides=(1, 2),
            act_cfg=relu,
        ),
        embed_dims=64,
        out_channels=32,
        num_queries=4,
        num_heads=1,
        feedforward_channels=256,
        query_places=(2, 3),
        dense_channels=8,
        dense_places=(1, 2),
        dense_update=dict(type='mmirstd.ConvDenseUpdate'),
        dense_carry_all=True,
        early_channels=16,
        act_cfg=relu,
    ),
    neck=dict(
        type='mmirstd.QueryFPN',
        in_channels=[32, 32, 32, 32],
        out_channels=48,
        query_channels=64,
        num_queries=4,
        query_levels=(3,),
        num_heads=1,
        feedforward_channels=256,
        dropout=0.1,
        mask_kernel=None,
        norm_cfg=dict(type='BN'),
    ),
    decode_head=dict(
        type='mmirstd.QuerySAMHead',
        in_channels=48,
        channels=48,
        token_index=2,
        num_heads=1,
        feedforward_channels=256,
        prompt_channels=(4, 16),
        mask_channels=(48, 12),
        upscale=2,
        prior_logit=-4.0,
        # From ReLU, all mask features may die in the first steps, and the mask stays empty.
        feature_act=dict(type='LeakyReLU', negative_slope=0.1, inplace=True),
        aux_weights=dict(early=0.3, neck=0.3),
        loss_decode=[
            dict(type='mmirstd.BinaryCrossEntropyLoss', loss_weight=1.0),
            # Over the batch, as IoU is over the set: over an image, a false alarm of any size costs the same.
            dict(type='mmirstd.SoftIoULoss', per_image=False, loss_weight=1.0),
        ],
    ),
    test_cfg=dict(tile=512),
)
