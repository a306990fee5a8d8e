"""SimIR of twenty thousand parameters, for jobs of seconds; its data is given with --data-root."""

_base_ = '../../configs/_base_/default_runtime.py'
custom_imports = dict(imports=['faults'])
allow_overlap = ['odd']  # it trains, validates and tests on the same seven images
meta_keys = ('img_id', 'img_path', 'seg_map_path', 'ori_shape', 'img_shape')
load = [dict(type='mmirstd.LoadIRImage'), dict(type='mmirstd.LoadTargetMask')]
pack = dict(type='PackSegInputs', meta_keys=meta_keys)
crop = dict(type='mmirstd.TargetAwareCrop', crop_size=(32, 32), target_prob=0.5, pad_mode='reflect')
dataset = dict(type='mmirstd.FolderDataset', data_root='data', serialize_data=False)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(**dataset, pipeline=[*load, crop, pack]),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, pipeline=[*load, pack], test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmirstd.IRSTDMetric')
test_evaluator = val_evaluator
small = dict(num_heads=2, feedforward_channels=24)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='mmirstd.IRSTDDataPreProcessor',
        mean=[80.0] * 3,
        std=[40.0] * 3,
        size=(32, 32),
        seg_pad_val=255,
        test_divisor=8,
    ),
    backbone=dict(
        type='mmirstd.QueryEncoder',
        backbone=dict(
            type='mmirstd.RepViT',
            arch=dict(embed_dims=(8, 16, 24), depths=(1, 1, 2)),
            stem_strides=(1, 2),
            out_indices=(0, 1, 2),
        ),
        embed_dims=16,
        **small,
    ),
    neck=dict(
        type='mmirstd.QueryFPN',
        in_channels=[16] * 3,
        out_channels=16,
        norm_cfg=dict(type='GN', num_groups=4),
        dropout=0.0,
        **small,
    ),
    decode_head=dict(
        type='mmirstd.QuerySAMHead',
        in_channels=16,
        channels=16,
        mask_channels=(16, 8),
        loss_decode=dict(type='mmirstd.BinaryCrossEntropyLoss'),
        **small,
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01))
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=20, by_epoch=False)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=4), visualization=dict(draw=False))
custom_hooks = [dict(type='mmirstd.CollapseGuardHook')]
