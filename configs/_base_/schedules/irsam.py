"""IRSAM's training: AdamW 1e-4 without weight decay, cosine to 0, 4 images of 512 pixels with scale jitter and flips.

9,000 iterations are 50 epochs of IRSTD-1k's 720 training images.
"""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.0),
    # Gate and log k of WPMD are of the order of 1: with steps of 1e-4 they would stay where they start.
    paramwise_cfg=dict(custom_keys={'wpmd': dict(lr_mult=100.0)}),
)
max_iters = 9000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=400)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=False, begin=0, end=max_iters)]
custom_hooks = [dict(type='mmirstd.CollapseGuardHook'), dict(type='mmirstd.SwitchToDeployHook')]
# For the configs to put in place of their dataset's: batch size 4 belongs to it.
irsam_train_pipeline = [
    dict(type='mmirstd.LoadIRImage'),
    dict(type='mmirstd.LoadTargetMask'),
    dict(
        type='RandomResize',
        resize_type='mmirstd.AlignedResize',
        scale=(512, 512),
        ratio_range=(0.8, 1.5),
        keep_ratio=True,
    ),
    dict(type='mmirstd.TargetAwareCrop', crop_size=(512, 512), target_prob=0.0, pad_val=128),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='PackSegInputs',
        meta_keys=(
            'img_id', 'img_path', 'seg_map_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction',
        ),
    ),
]  # fmt: skip
