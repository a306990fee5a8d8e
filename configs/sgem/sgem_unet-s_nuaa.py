_base_ = [
    '../_base_/models/sgem_unet-s.py',
    '../_base_/datasets/nuaa.py',
    '../_base_/schedules/sgem-s.py',
    '../_base_/default_runtime.py',
]
train_pipeline = [
    dict(type='mmirstd.LoadIRImage'),
    dict(type='mmirstd.LoadTargetMask'),
    dict(
        type='RandomResize',
        resize_type='mmirstd.AlignedResize',
        scale=(256, 256),
        ratio_range=(0.7, 1.5),
        keep_ratio=True,
    ),
    dict(type='mmirstd.CopyPasteTargets', prob=0.5),
    dict(type='mmirstd.TargetAwareCrop', crop_size=(128, 128), target_prob=0.5, pad_mode='reflect'),
    # Grey levels differ more from camera to camera than between 191 images.
    dict(type='PhotoMetricDistortion'),
    dict(type='RandomFlip', prob=[0.25, 0.25], direction=['horizontal', 'vertical']),
    dict(type='PackSegInputs', meta_keys={{_base_.meta_keys}}),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
# 191 images: fewer iterations than for the larger sets are still 75 epochs of crops.
max_iters = 900
train_cfg = dict(max_iters=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=100, end=max_iters),
]
